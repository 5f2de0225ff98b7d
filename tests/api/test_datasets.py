"""The data sets that come with the package are the published ones."""

import numpy as np

from kgraph.datasets import digits

# Images of each class 0..9 in the published test part (optdigits.tes) of the UCI data set.
PUBLISHED_CLASS_COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]

# The first row of optdigits.tes: 64 pixel counts and the class.
PUBLISHED_FIRST_IMAGE = [
    [0, 0, 5, 13, 9, 1, 0, 0],
    [0, 0, 13, 15, 10, 15, 5, 0],
    [0, 3, 15, 2, 0, 11, 8, 0],
    [0, 4, 12, 0, 0, 8, 8, 0],
    [0, 5, 8, 0, 0, 9, 8, 0],
    [0, 4, 11, 0, 1, 12, 7, 0],
    [0, 2, 14, 5, 10, 12, 0, 0],
    [0, 0, 6, 13, 10, 0, 0, 0],
]


def test_digits_have_the_documented_shapes_and_types():
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    assert (x_train.shape, y_train.shape) == ((1437, 8, 8), (1437,))
    assert (x_test.shape, y_test.shape) == ((360, 8, 8), (360,))
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert x_train.min() == x_test.min() == 0
    assert x_train.max() == x_test.max() == 16


def test_digits_hold_every_published_image_of_each_class():
    (_, y_train), (_, y_test) = digits.load_data()
    assert np.bincount(np.concatenate([y_train, y_test])).tolist() == PUBLISHED_CLASS_COUNTS


def test_each_class_has_its_share_in_both_parts():
    _, (_, y_test) = digits.load_data()
    shares = np.bincount(y_test) / PUBLISHED_CLASS_COUNTS
    assert np.all(np.abs(shares - 360 / 1797) < 0.01)


def test_images_and_labels_belong_together():
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    images, labels = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    (where,) = np.nonzero((images == PUBLISHED_FIRST_IMAGE).all(axis=(1, 2)))
    assert labels[where].tolist() == [0]


def test_no_image_stands_in_both_parts():
    (x_train, _), (x_test, _) = digits.load_data()
    assert not {image.tobytes() for image in x_train} & {image.tobytes() for image in x_test}


def test_a_change_to_loaded_arrays_does_not_reach_the_next_call():
    (first, _), _ = digits.load_data()
    first[:] = 0
    assert digits.load_data()[0][0].any()
