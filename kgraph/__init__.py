"""kgraph: Keras-style models, compiled.

The names below are loaded when they are used first, so `import kgraph` itself costs next to nothing.
"""

from typing import TYPE_CHECKING

from kgraph.lazy_names import lazily

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

__getattr__, __dir__ = lazily(
    __name__,
    {
        "kgraph.execution_mode": "execution",
        "kgraph.gradient_tape": "GradientTape gradients",
        "kgraph.layers": "Input InputSpec Layer",
        "kgraph.models": "Model Sequential",
        "kgraph.variable": "Variable",
        "kgraph.vector_jacobian": "vjp",
    },
    modules=(
        "activations", "backend", "callbacks", "compat", "config", "constraints", "datasets", "errors", "initializers",
        "layers", "losses", "metrics", "models", "ops", "optimizers", "random", "regularizers", "saving", "utils",
    ),
)  # fmt: skip
