"""ConvLSTM: an LSTM whose maps are convolutions, over sequences of images."""

from __future__ import annotations

import inspect
from typing import Any

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import product
from kgraph.ir.opdef import current_emitter
from kgraph.layers.recurrent.lstm import LSTMCell
from kgraph.layers.recurrent.rnn import CellLayer
from kgraph.layers.spatial import FORMATS, one_of, per_axis
from kgraph.nesting import map_structure
from kgraph.primitives import composites, window_padding


class ConvLSTMCell(LSTMCell):
    """One step of `ConvLSTM`, on images with the channels last.

    Args:
        rank: number of spatial axes.
        filters, kernel_size, strides, padding, dilation_rate: of the convolution of the inputs, as in `ConvLSTM`.
        kwargs: arguments of `LSTMCell`.
    """

    def __init__(
        self, rank: int, filters: int, kernel_size: Any, strides: Any, padding: str, dilation_rate: Any, **kwargs: Any
    ) -> None:
        super().__init__(filters, **kwargs)
        self.kernel_size = per_axis(self.label, "kernel_size", kernel_size, rank)
        self.strides = per_axis(self.label, "strides", strides, rank)
        self.dilation_rate = per_axis(self.label, "dilation_rate", dilation_rate, rank)
        self.padding = one_of(self.label, "padding", padding, ("valid", "same"))
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            received = f"{self.strides} and {self.dilation_rate}"
            raise ArgumentError(f"{self.label}: strides or dilation_rate", expected="one of them 1", received=received)

    def runs_whole(self) -> bool:
        """Images have no op for whole sequences."""
        return False

    def window(self) -> tuple[int, ...]:
        """The window of the kernels."""
        return self.kernel_size

    def build(self, input_shape: Any) -> None:
        """Make the weights; the sizes of the images must be known."""
        if None in input_shape[1:]:
            raise ShapeError(self.label, expected="images of known size", received=str(tuple(input_shape)))
        super().build(input_shape)

    def state_shape(self) -> tuple[int, ...]:
        """Shape of a state without the batch: what the convolution of the inputs gives."""
        sizes = self._input_shape[:-1]
        low, high = self._amounts(self.padding, sizes, self.strides, self.dilation_rate)
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation_rate, strict=True)]
        padded = [sum(parts) for parts in zip(sizes, low, high, strict=True)]
        whole = zip(padded, spans, self.strides, strict=True)
        return (*((size - span) // step + 1 for size, span, step in whole), self.units)

    def _amounts(self, padding: str, sizes: Any, strides: Any, dilation: Any) -> Any:
        return window_padding.amounts(self.label, sizes, padding, self.kernel_size, strides, dilation)

    def of_inputs(self, inputs: Any, kernel: Any) -> Any:
        """The convolution of the inputs of a step, or of all steps at once."""
        shape = current_emitter().type_of(inputs).shape
        lead = shape[: len(shape) - len(self._input_shape)]
        images = composites.reshape(inputs, (product(lead), *self._input_shape))
        found = self._convolved(images, kernel, self.padding, self.strides, self.dilation_rate)
        return composites.reshape(found, (*lead, *current_emitter().type_of(found).shape[1:]))

    def of_state(self, state: Any, kernel: Any) -> Any:
        """The convolution of a state, which keeps its size."""
        ones = (1,) * len(self.kernel_size)
        return self._convolved(state, kernel, "same", ones, ones)

    def _convolved(self, x: Any, kernel: Any, padding: str, strides: Any, dilation: Any) -> Any:
        emitter = current_emitter()
        low, high = self._amounts(padding, emitter.type_of(x).shape[1:-1], strides, dilation)
        attrs = {"strides": strides, "low": low, "high": high, "dilation": dilation, "groups": 1}
        return emitter.emit("conv", x, kernel, **attrs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        return {
            "filters": config.pop("units"),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            **config,
        }


class ConvLSTM(CellLayer):
    """An LSTM whose maps of inputs and state are convolutions.

    Args:
        filters: channels of states and output; int >= 1.
        kernel_size: taps of the windows; an int or one per spatial axis.
        strides, dilation_rate: of the convolution of the inputs; that of the state has 1.
        padding: "valid" or "same", of the convolution of the inputs; the state keeps its size.
        data_format: "channels_last" or "channels_first"; None means channels_last.
        kwargs: the other arguments of `LSTM`.

    Input shape: ``(batch, steps, *spatial, channels)``, sizes known. Output shape: ``(batch, *spatial, filters)``, or
        ``(batch, steps, *spatial, filters)``; and the states.
    Weights: kernel ``(*kernel_size, channels, 4 * filters)``, recurrent_kernel
        ``(*kernel_size, filters, 4 * filters)``, bias ``(4 * filters,)``.
    Source: Shi et al. (2015).
    """

    cell_class = ConvLSTMCell
    spatial = 0

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", data_format: str | None = None,
        dilation_rate: Any = 1, activation: Any = "tanh", recurrent_activation: Any = "sigmoid", **kwargs: Any,
    ) -> None:  # fmt: skip
        of_cell = inspect.signature(LSTMCell).parameters.keys()
        cell = {
            "rank": self.spatial, "filters": filters, "kernel_size": kernel_size, "strides": strides,
            "padding": padding, "dilation_rate": dilation_rate, "activation": activation,
            "recurrent_activation": recurrent_activation, **{k: v for k, v in kwargs.items() if k in of_cell},
        }  # fmt: skip
        super().__init__(cell, **{k: v for k, v in kwargs.items() if k not in of_cell})
        self.data_format = one_of(self.label, "data_format", data_format or "channels_last", FORMATS)

    def rank(self) -> int:
        """Number of axes of the sequences."""
        return self.spatial + 3

    def channels_axis(self) -> int:
        """Where the sequences have their channels."""
        return -1 if self.data_format == "channels_last" else 2

    def build(self, input_shape: Any) -> None:
        """Build the cell for images with the channels last."""
        shape = input_shape[0] if isinstance(input_shape[0], (list, tuple)) else input_shape
        super().build(shape if self.channels_axis() == -1 else (*shape[:2], *shape[3:], shape[2]))

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """The last output or those of all steps, and the last states if they are wanted."""
        if self.channels_axis() == -1:
            return super().call(sequences, initial_state, mask, training)
        images, states = map_structure(self._channels_last, (sequences, initial_state))
        return map_structure(self._channels_first, super().call(images, states, mask, training))

    def _channels_last(self, x: Any) -> Any:
        rank = 0 if x is None else current_emitter().type_of(x).rank
        at = rank - 1 - self.spatial
        return composites.transpose(x, (*range(at), *range(at + 1, rank), at)) if rank else None

    def _channels_first(self, x: Any) -> Any:
        rank = current_emitter().type_of(x).rank
        at = rank - 1 - self.spatial
        return composites.transpose(x, (*range(at), rank - 1, *range(at, rank - 1)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "data_format": self.data_format}


class ConvLSTM1D(ConvLSTM):
    """`ConvLSTM` over sequences of lines, ``(batch, steps, length, channels)``."""

    spatial = 1


class ConvLSTM2D(ConvLSTM):
    """`ConvLSTM` over sequences of images, ``(batch, steps, height, width, channels)``.

    >>> import numpy as np
    >>> ConvLSTM2D(2, 3, padding="same")(np.zeros((1, 4, 6, 6, 3))).shape
    (1, 6, 6, 2)
    """

    spatial = 2


class ConvLSTM3D(ConvLSTM):
    """`ConvLSTM` over sequences of volumes, ``(batch, steps, depth, height, width, channels)``."""

    spatial = 3
