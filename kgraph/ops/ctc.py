"""Connectionist temporal classification: the loss of unaligned labels, and how labels are read out of a model.

Source: Graves, Fernandez, Gomez and Schmidhuber, "Connectionist Temporal Classification" (2006).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.eager import operation
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dtypes import i32
from kgraph.ir.operators import Operators, broadcast_to
from kgraph.ir.operators import cast as convert
from kgraph.ops.control_flow import scan
from kgraph.ops.promotion import emit, floating, type_of
from kgraph.primitives import composites

# Stands for the logarithm of 0: far below that of every path, and still a number.
_NEVER = -1e5


@operation("target", "output", "target_length", "output_length")
def ctc_loss(target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0) -> Any:
    """-log of the probability of all alignments of labels with steps, for each row of the batch.

    Args:
        target: integer labels ``(batch, labels)``.
        output: logits ``(batch, steps, classes)``.
        target_length, output_length: how many labels and steps of each row count, ``(batch,)``.
        mask_index: the class that stands for no label.

    A row whose labels do not fit into its steps has a loss of about 1e5.
    """
    scores = composites.log_softmax(floating(output), -1)
    kind = type_of(scores)
    labels = convert(target, i32)
    if kind.rank != 3 or type_of(labels).rank != 2 or not isinstance(type_of(labels).shape[1], int):
        received = f"{type_of(target).shape} and {kind.shape}"
        expected = "labels (batch, labels), a known number of them, and logits (batch, steps, classes)"
        raise ShapeError("target, output", expected=expected, received=received)
    states = _with_blanks(labels, mask_index)
    batch, count = type_of(states).shape
    places = broadcast_to(composites.expand_dims(states, 1), (batch, kind.shape[1], count))
    emitted = composites.transpose(composites.take_along_axis(scores, places, 2), (1, 0, 2))
    skips = _may_skip(states, mask_index)
    number = emit("iota", shape=(kind.shape[1],), axis=0, dtype=i32)
    steps = composites.expand_dims(convert(output_length, i32), -1)

    def advance(paths: Any, step: Any) -> tuple[Any, None]:
        score, at = step
        after = _sum_of_logs(paths, _moved(paths, 1), composites.where(skips, _moved(paths, 2), _NEVER)) + score
        return composites.where(broadcast_to(at < steps, (batch, count)), after, paths), None

    first = composites.concatenate(
        [composites.full((batch, 1), 0.0, kind.dtype), composites.full((batch, count - 1), _NEVER, kind.dtype)]
    )
    paths, _ = scan(advance, first, (emitted, number))
    last = composites.expand_dims(convert(target_length, i32) * 2, -1)
    # Paths end in the last label or in the blank behind it; without labels there is the blank only.
    ends = [composites.take_along_axis(paths, last, 1), composites.take_along_axis(paths, last - 1, 1)]
    ends[1] = composites.where(last > 0, ends[1], _NEVER)
    return -composites.squeeze(_sum_of_logs(*ends), -1)


def _with_blanks(labels: Any, blank: int) -> Any:
    """Labels with a blank before, between and after them: the states of the alignment."""
    batch, count = type_of(labels).shape
    blanks = composites.full((batch, count, 1), blank, i32)
    pairs = composites.concatenate([blanks, composites.expand_dims(labels, -1)])
    ends = composites.full((batch, 1), blank, i32)
    return composites.concatenate([composites.reshape(pairs, (batch, 2 * count)), ends])


def _may_skip(states: Any, blank: int) -> Any:
    """Where a path may come from two states before: the blank between two different labels may be left out."""
    shape = type_of(states).shape
    none = composites.full(shape, blank, i32)
    return emit("logical_and", emit("ne", states, _moved(states, 2, blank)), emit("ne", states, none))


def _moved(states: Any, places: int, first: float = _NEVER) -> Any:
    """What stands so many states before; `first` where there is none."""
    (batch, count), dtype = type_of(states).shape, type_of(states).dtype
    assert isinstance(count, int)
    places = min(places, count)
    start = composites.full((batch, places), first, dtype)
    return composites.concatenate([start, composites.part(states, 1, 0, count - places)])


def _sum_of_logs(*terms: Any) -> Any:
    """log(sum(exp(terms))) without overflow."""
    most = terms[0]
    for term in terms[1:]:
        most = composites.maximum(most, term)
    total = emit("exp", terms[0] - most)
    for term in terms[1:]:
        total = total + emit("exp", term - most)
    return most + emit("log", total)


def ctc_decode(
    inputs: Any, sequence_lengths: Any, strategy: str = "greedy", beam_width: int = 100, top_paths: int = 1,
    merge_repeated: bool = True, mask_index: int = 0,
) -> Any:  # fmt: skip
    """The labels that a model names, and their scores.

    Args:
        inputs: logits ``(batch, steps, classes)``.
        sequence_lengths: how many steps of each row count.
        strategy: "greedy" takes the best class of each step; "beam_search" (on arrays only) keeps the likeliest
            prefixes.
        beam_width: how many prefixes are kept.
        top_paths: how many sequences of each row are given, the likeliest first.
        merge_repeated: for "greedy", whether equal classes of neighbouring steps are one label.
        mask_index: the class that stands for no label.

    Returns:
        Labels ``(paths, batch, steps)`` (int32; -1 behind the last), and scores: for "greedy" ``(batch, 1)``, minus the
        sum of the logits taken, else ``(batch, paths)``, logarithms of probabilities.
    """
    if strategy == "greedy":
        return _greedy(inputs, sequence_lengths, merge_repeated, mask_index)
    if strategy != "beam_search":
        raise ArgumentError("ctc_decode(strategy)", expected="'greedy' or 'beam_search'", received=repr(strategy))
    if isinstance(inputs, Operators):
        raise ArgumentError("ctc_decode(strategy='beam_search')", expected="arrays", received="a symbolic tensor",
                            fix="Use it on what predict gives, or strategy='greedy'")  # fmt: skip
    logits, lengths = np.asarray(inputs, "float64"), np.asarray(sequence_lengths)
    found = [_beam(_log_softmax(row[:n]), beam_width, mask_index)[:top_paths] for row, n in zip(logits, lengths)]
    paths = np.full((top_paths, len(logits), logits.shape[1]), -1, "int32")
    scores = np.full((len(logits), top_paths), -np.inf, "float32")
    for row, best in enumerate(found):
        for place, (prefix, score) in enumerate(best):
            paths[place, row, : len(prefix)], scores[row, place] = prefix, score
    return paths, scores


@operation("inputs", "sequence_lengths")
def _greedy(inputs: Any, sequence_lengths: Any, merge_repeated: bool, mask_index: int) -> Any:
    logits = floating(inputs)
    batch, steps, _ = type_of(logits).shape
    shape = (batch, steps)
    best, scores = composites.argmax(logits, -1), composites.max(logits, -1)
    number = broadcast_to(emit("iota", shape=(steps,), axis=0, dtype=i32), shape)
    counts = emit("lt", number, broadcast_to(composites.expand_dims(convert(sequence_lengths, i32), -1), shape))
    blank = composites.full(shape, mask_index, i32)
    best = composites.where(counts, best, blank)
    kept = emit("ne", best, blank)
    if merge_repeated:
        nothing = composites.full((batch, 1), -1, i32)
        before = composites.concatenate([nothing, composites.part(best, 1, 0, steps - 1)])
        kept = emit("logical_and", kept, emit("ne", best, before))
    order = composites.argsort(composites.where(kept, number, composites.full(shape, np.iinfo("int32").max, i32)), -1)
    labels = composites.take_along_axis(composites.where(kept, best, composites.full(shape, -1, i32)), order, -1)
    total = -composites.sum(composites.where(counts, scores, 0.0), -1)
    return composites.expand_dims(labels, 0), composites.expand_dims(total, -1)


def _log_softmax(row: np.ndarray) -> np.ndarray:
    shifted = row - row.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _beam(scores: np.ndarray, width: int, blank: int) -> list[tuple[tuple[int, ...], float]]:
    """The likeliest label sequences of one row, best first, with the logarithms of their probabilities.

    Each prefix carries two: of the paths that end in a blank, and of those that end in its last label.
    """
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}
    for step in scores:
        following: dict[tuple[int, ...], tuple[float, float]] = {}

        def add(prefix: tuple[int, ...], in_blank: float, in_label: float, to: dict[Any, Any] = following) -> None:
            old = to.get(prefix, (-np.inf, -np.inf))
            to[prefix] = float(np.logaddexp(old[0], in_blank)), float(np.logaddexp(old[1], in_label))

        for prefix, (in_blank, in_label) in beams.items():
            either = float(np.logaddexp(in_blank, in_label))
            add(prefix, either + step[blank], -np.inf)
            for label in range(len(step)):
                if label == blank:
                    continue
                if prefix and prefix[-1] == label:
                    add(prefix, -np.inf, in_label + step[label])
                    add((*prefix, label), -np.inf, in_blank + step[label])
                else:
                    add((*prefix, label), -np.inf, either + step[label])
        best = sorted(following.items(), key=lambda item: -np.logaddexp(*item[1]))[:width]
        beams = dict(best)
    return [(prefix, float(np.logaddexp(*pair))) for prefix, pair in beams.items()]
