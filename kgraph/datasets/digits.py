"""Handwritten digits, 8x8 pixels: a real data set small enough to be part of the package."""

from __future__ import annotations

from importlib import resources

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def load_data() -> tuple[tuple[Bytes, Bytes], tuple[Bytes, Bytes]]:
    """Load the 1,797 handwritten digits, split into 1,437 for training and 360 for testing.

    The images count the pixels that were on in each 4x4 block of a 32x32 scan, so their values reach from 0 to 16;
    divide by 16 for the range [0, 1]. The split is the same on every call: each class has its share in both parts, in
    random order. Writers were not kept apart: accuracy on digits of unseen writers would be lower.

    Data: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    https://doi.org/10.24432/C50P49, CC BY 4.0.

    Returns:
        `(x_train, y_train), (x_test, y_test)`. `x` is uint8 of shape (n, 8, 8) with values 0..16; `y` is uint8 of shape
        (n,) with values 0..9. The arrays are new on each call.

    Example:

    >>> (x_train, y_train), (x_test, y_test) = load_data()
    >>> x_train.shape, y_train.shape, x_test.shape, y_test.shape
    ((1437, 8, 8), (1437,), (360, 8, 8), (360,))
    """
    with (resources.files("kgraph.datasets") / "digits.npz").open("rb") as file, np.load(file) as arrays:
        return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
