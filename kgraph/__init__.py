"""kgraph: Keras-style models, compiled.

The names below are loaded when they are used first, so `import kgraph` itself costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import kgraph.activations as activations
    import kgraph.backend as backend
    import kgraph.callbacks as callbacks
    import kgraph.compat as compat
    import kgraph.config as config
    import kgraph.constraints as constraints
    import kgraph.datasets as datasets
    import kgraph.errors as errors
    import kgraph.initializers as initializers
    import kgraph.layers as layers
    import kgraph.losses as losses
    import kgraph.metrics as metrics
    import kgraph.models as models
    import kgraph.ops as ops
    import kgraph.optimizers as optimizers
    import kgraph.random as random
    import kgraph.regularizers as regularizers
    import kgraph.saving as saving
    import kgraph.utils as utils
    from kgraph.execution_mode import execution
    from kgraph.gradient_tape import GradientTape, gradients
    from kgraph.layers import Input, InputSpec, Layer
    from kgraph.models import Model, Sequential
    from kgraph.variable import Variable
    from kgraph.vector_jacobian import vjp

__all__ = [
    "GradientTape",
    "Input",
    "InputSpec",
    "Layer",
    "Model",
    "Sequential",
    "Variable",
    "activations",
    "backend",
    "callbacks",
    "compat",
    "config",
    "constraints",
    "datasets",
    "errors",
    "execution",
    "gradients",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "random",
    "saving",
    "regularizers",
    "utils",
    "vjp",
]

# Where the names come from that are not modules themselves. No module may bear such a name: importing it would put the
# module in the place of the name.
_HOMES = {
    "GradientTape": "gradient_tape",
    "Input": "layers",
    "InputSpec": "layers",
    "Layer": "layers",
    "Model": "models",
    "Sequential": "models",
    "Variable": "variable",
    "execution": "execution_mode",
    "gradients": "gradient_tape",
    "vjp": "vector_jacobian",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'kgraph' has no attribute {name!r}")
    module = importlib.import_module(f"kgraph.{_HOMES.get(name, name)}")
    value: object = getattr(module, name) if name in _HOMES else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
