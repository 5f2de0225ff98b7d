"""What a layer's constructor is told about its weights: initializer, regularizer and constraint of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.constraints import FAMILY as CONSTRAINTS
from kgraph.initializers import FAMILY as INITIALIZERS
from kgraph.regularizers import FAMILY as REGULARIZERS
from kgraph.variable import Variable

_FAMILIES = {"initializer": INITIALIZERS, "regularizer": REGULARIZERS, "constraint": CONSTRAINTS}


class WeightOptions:
    """Keeps these arguments as attributes, makes weights from them, and gives them back for the configuration.

    `Layer` inherits it. A layer with a weight "kernel" calls ``keep_weight_options("kernel", ...)`` in its constructor,
    which sets `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`, and ``make_weight("kernel", shape)``
    in `build`; `weight_options` gives the three for `get_config`.
    """

    _weights_with_options: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How messages call the layer."""
        raise NotImplementedError

    def add_weight(self, *args: Any, **kwargs: Any) -> Variable:
        """A new weight; see `Layer.add_weight`."""
        raise NotImplementedError

    def keep_weight_options(
        self, weight: str, initializer: Any, regularizer: Any = None, constraint: Any = None
    ) -> None:
        """Check and keep the arguments for the weight of that name."""
        for what, given in zip(_FAMILIES, (initializer, regularizer, constraint), strict=True):
            argument = f"{weight}_{what}"
            setattr(self, argument, _FAMILIES[what].get(given, f"{self.label}: {argument}"))
        self._weights_with_options = (*self._weights_with_options, weight)

    def make_weight(self, weight: str, shape: Sequence[int], name: str = "", **options: Any) -> Variable:
        """The weight that the kept arguments describe.

        Args:
            weight: as given to `keep_weight_options`.
            shape: sizes.
            name: last part of the path; `weight` if empty.
            options: further arguments of `add_weight`, or others in place of the kept ones.
        """
        kept = {what: getattr(self, f"{weight}_{what}") for what in _FAMILIES}
        return self.add_weight(tuple(shape), name=name or weight, **(kept | options))

    def weight_options(self) -> dict[str, Any]:
        """The kept arguments, as a layer's configuration has them."""
        return {
            f"{weight}_{what}": family.serialize(getattr(self, f"{weight}_{what}"))
            for weight in self._weights_with_options
            for what, family in _FAMILIES.items()
        }
