"""Bidirectional: a recurrent layer in both directions."""

from __future__ import annotations

from typing import Any

import kgraph.layers.recurrent.rnn as rnn
from kgraph.errors import ArgumentError
from kgraph.ir.opdef import current_emitter
from kgraph.layers.base import Layer
from kgraph.primitives import composites
from kgraph.serialization import serialize_keras_object

MERGE_MODES = ("concat", "sum", "mul", "ave", None)


class Bidirectional(Layer):
    """Runs a recurrent layer over the steps in both directions and joins the outputs.

    Args:
        layer: a recurrent layer; a copy of it goes forwards, another one backwards.
        merge_mode: "concat", "sum", "mul", "ave", or None to give both outputs.
        weights: initial weights of both, those forwards first.
        backward_layer: used backwards in place of the copy; its `go_backwards` must differ from that of `layer`.

    Call: as of the layer; `initial_state` has the states forwards, then those backwards. Masked steps give zeros in
        the outputs of all steps.
    Output shape: that of the layer, with twice the features for "concat"; with `return_state` also all states.
    Weights: those forwards, then those backwards.
    Raises: ArgumentError.

    >>> from kgraph.layers import LSTM
    >>> Bidirectional(LSTM(4, return_sequences=True))([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]).shape
    (1, 3, 8)
    """

    supports_masking = True

    def __init__(
        self, layer: Any, merge_mode: str | None = "concat", weights: Any = None, backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        for name, given in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(given, rnn.RNN) and (name == "layer" or given is not None):
                raise ArgumentError(f"{self.label}: {name}", expected="a recurrent layer", received=f"{given!r:.60}")
        if merge_mode not in MERGE_MODES:
            expected = ", ".join(map(repr, MERGE_MODES))
            raise ArgumentError(f"{self.label}: merge_mode", expected=expected, received=repr(merge_mode))
        self.merge_mode = merge_mode
        self.forward_layer = rnn.copied(layer, name=f"forward_{layer.name.removeprefix('forward_')}")
        self.backward_layer = backward_layer or rnn.copied(
            layer, name=f"backward_{layer.name.removeprefix('backward_')}", go_backwards=not layer.go_backwards
        )
        self._check_pair()
        for one in (self.forward_layer, self.backward_layer):
            one.zero_output_for_mask = one.return_sequences
        self._first_weights = weights

    def _check_pair(self) -> None:
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            received = f"{backward.go_backwards} in both layers"
            raise ArgumentError(f"{self.label}: go_backwards", expected="different values", received=received)
        for name in ("stateful", "return_sequences", "return_state"):
            values = getattr(forward, name), getattr(backward, name)
            if values[0] != values[1]:
                received = f"{values[0]} and {values[1]}"
                raise ArgumentError(f"{self.label}: {name}", expected="equal values in both layers", received=received)

    @property
    def return_sequences(self) -> bool:
        """Whether the outputs of all steps are given."""
        return bool(self.forward_layer.return_sequences)

    @property
    def return_state(self) -> bool:
        """Whether the last states are given as well."""
        return bool(self.forward_layer.return_state)

    @property
    def stateful(self) -> bool:
        """Whether the states are kept between calls."""
        return bool(self.forward_layer.stateful)

    def check_inputs(self, inputs: Any) -> None:
        """The inputs must fit both layers."""
        self.forward_layer.check_inputs(inputs)

    def build(self, input_shape: Any) -> None:
        """Build both layers."""
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer.build(input_shape)
        if self._first_weights:
            self.set_weights(self._first_weights)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask goes with the outputs of all steps."""
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        kept = mask if self.return_sequences else None
        outputs = [kept] if self.merge_mode else [kept, kept]
        states = 2 * len(self.forward_layer.compute_mask(inputs, mask)[1:]) if self.return_state else 0
        found = [*outputs, *[None] * states]
        return found if len(found) > 1 else found[0]

    def reset_state(self) -> None:
        """Set the states that are kept between calls to zero."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self) -> None:
        """The same as `reset_state`, as Keras called it before."""
        self.reset_state()

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """The joined outputs, and all states if they are wanted."""
        if isinstance(sequences, (list, tuple)):
            sequences, *rest = sequences
            initial_state = rest or initial_state
            mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        given = list(initial_state) if initial_state is not None else []
        halves = (given[: len(given) // 2] or None, given[len(given) // 2 :] or None)
        forward, backward = (
            layer(sequences, initial_state=states, mask=mask, training=training)
            for layer, states in zip((self.forward_layer, self.backward_layer), halves, strict=True)
        )
        states: tuple[Any, ...] = ()
        if self.return_state:
            states = (*forward[1:], *backward[1:])
            forward, backward = forward[0], backward[0]
        if self.return_sequences:
            backward = current_emitter().emit("reverse", backward, axes=(1,))
        output = self._merged(forward, backward)
        if self.merge_mode is None:
            return (*output, *states)
        return (output, *states) if self.return_state else output

    def _merged(self, forward: Any, backward: Any) -> Any:
        match self.merge_mode:
            case "concat":
                return composites.concatenate([forward, backward])
            case "sum":
                return forward + backward
            case "mul":
                return forward * backward
            case "ave":
                return (forward + backward) / 2
            case _:
                return forward, backward

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        layers = {"layer": self.forward_layer, "backward_layer": self.backward_layer}
        return {**super().get_config(), "merge_mode": self.merge_mode, **serialize_keras_object(layers)}
