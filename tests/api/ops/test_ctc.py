"""CTC against sums over all alignments, written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import kgraph
from kgraph import losses, ops
from kgraph.errors import ArgumentError, ShapeError

STEPS, CLASSES = 5, 4


def collapsed(path, blank):
    """The labels that a path of classes stands for."""
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def every_labelling(logits, blank):
    """Probability of each sequence of labels: the sum over all paths that stand for it."""
    exact = logits.astype(np.float64)
    chances = np.exp(exact) / np.exp(exact).sum(-1, keepdims=True)
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        labels = collapsed(path, blank)
        found[labels] = found.get(labels, 0.0) + np.prod([chances[t, c] for t, c in enumerate(path)])
    return found


@pytest.fixture
def logits():
    return np.random.default_rng(4).standard_normal((4, STEPS, CLASSES)).astype("float32")


@pytest.mark.parametrize("blank", [0, 3])
@pytest.mark.parametrize("way", ["interpreter", "native"])
def test_loss_is_the_sum_over_all_alignments(logits, blank, way):
    labels = np.array([[1, 2, 1], [2, 2, 1], [1, 1, 1], [2, 1, 2]])
    counts, steps = np.array([3, 2, 1, 0]), np.array([5, 4, 5, 3])
    with kgraph.execution(way):
        got = ops.ctc_loss(labels, logits, counts, steps, mask_index=blank)
    for row in range(4):
        chance = every_labelling(logits[row, : steps[row]], blank)[tuple(labels[row, : counts[row]])]
        assert got[row] == pytest.approx(-np.log(chance), rel=2e-5)


def test_slopes_are_differences(logits):
    arrays = [np.array([[1, 2], [2, 2]], "int32"), logits[:2].astype("float64"), np.array([2, 2], "int32"),
              np.array([5, 4], "int32")]  # fmt: skip
    inputs = [kgraph.Input(a.shape[1:], dtype=str(a.dtype)) for a in arrays]
    model = kgraph.Model(inputs, ops.ctc_loss(*inputs))
    slope = kgraph.vjp(model, arrays, [np.ones(2)])[1][1]
    direction = np.random.default_rng(1).standard_normal(slope.shape)
    labels, x, *counts = arrays
    ahead, behind = (ops.ctc_loss(labels, x + h * direction, *counts).sum() for h in (1e-5, -1e-5))
    assert (ahead - behind) / 2e-5 == pytest.approx((slope * direction).sum(), rel=1e-6)


def test_beams_find_the_likeliest_labels(logits):
    paths, scores = ops.ctc_decode(logits, [5, 5, 4, 3], strategy="beam_search", beam_width=400, top_paths=2)
    for row, steps in enumerate([5, 5, 4, 3]):
        best = sorted(every_labelling(logits[row, :steps], 0).items(), key=lambda item: -item[1])[:2]
        for place, (labels, chance) in enumerate(best):
            assert paths[place, row].tolist() == [*labels, *[-1] * (STEPS - len(labels))]
            assert scores[row, place] == pytest.approx(np.log(chance), rel=1e-5)


def test_greedy_takes_the_best_of_each_step(logits):
    paths, scores = ops.ctc_decode(logits, [5, 4, 5, 0])
    for row, steps in enumerate([5, 4, 5, 0]):
        labels = collapsed(logits[row, :steps].argmax(-1), 0)
        assert paths[0, row].tolist() == [*labels, *[-1] * (STEPS - len(labels))]
        assert scores[row, 0] == pytest.approx(-logits[row, :steps].max(-1).sum() if steps else 0, rel=1e-6)
    kept = ops.ctc_decode([[[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]], [3], merge_repeated=False)[0]
    assert kept.tolist() == [[[1, 1, -1]]]


def test_a_model_learns_labels_without_their_places():
    kgraph.utils.set_random_seed(3)
    x = np.random.default_rng(0).standard_normal((16, 6, 3)).astype("float32")
    y = np.random.default_rng(1).integers(1, 4, (16, 2))
    model = kgraph.Sequential([kgraph.Input((6, 3)), kgraph.layers.Dense(16, "tanh"), kgraph.layers.Dense(4)])
    model.compile(kgraph.optimizers.Adam(0.02), losses.CTC())
    history = model.fit(x, y, epochs=15, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
    whole = ops.ctc_loss(y, model.predict(x, verbose=0), np.full(16, 2), np.full(16, 6)).mean()
    assert model.evaluate(x, y, batch_size=16, verbose=0) == pytest.approx(whole, rel=1e-5)


def test_what_does_not_fit_is_said(logits):
    with pytest.raises(ShapeError, match=r"ctc_loss.*labels \(batch, labels\)"):
        ops.ctc_loss(np.ones(4, int), logits, [1], [1])
    with pytest.raises(ArgumentError, match="'greedy' or 'beam_search', received 'best'"):
        ops.ctc_decode(logits, [5] * 4, strategy="best")
    with pytest.raises(ArgumentError, match="expected arrays, received a symbolic tensor"):
        ops.ctc_decode(kgraph.Input((STEPS, CLASSES)), [5], strategy="beam_search")
