"""Activation functions under Keras' names; they take tensors inside programs, symbolic tensors, and arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kgraph.config import floatx
from kgraph.eager import anywhere
from kgraph.errors import ArgumentError, DTypeError, ShapeError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.lookup import find
from kgraph.primitives import composites
from kgraph.registration import get_registered_name, get_registered_object

# Constants of Klambauer et al. (2017): fixed point of mean 0 and variance 1.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def _emit(op: str, x: Any) -> Any:
    return current_emitter().emit(op, x)


def _floating(x: Any) -> Any:
    """`x` as a float tensor: integers and bools are cast to `floatx`."""
    return x if current_emitter().type_of(x).dtype.is_float else cast(x, dtype_of(floatx()))


@anywhere
def linear(x: Any) -> Any:
    """The input itself."""
    return x


@anywhere
def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """``max(x, 0)``; with options: slope below the threshold, value kept above it, upper limit.

    Args:
        x: tensor.
        negative_slope: ``negative_slope * (x - threshold)`` below the threshold.
        max_value: largest result; None for no limit.
        threshold: below it a value counts as negative.
    """
    if negative_slope and max_value is None and not threshold:
        return leaky_relu(x, negative_slope)
    below = _emit("relu", threshold - x) if negative_slope else None
    y = composites.where(x > threshold, x, 0) if threshold else _emit("relu", x)
    y = y if max_value is None else composites.clip(y, 0, max_value)
    return y if below is None else y - negative_slope * below


@anywhere
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """``x`` where positive, ``negative_slope * x`` elsewhere."""
    return composites.leaky_relu(_floating(x), negative_slope)


@anywhere
def relu6(x: Any) -> Any:
    """``min(max(x, 0), 6)``."""
    return composites.relu6(x)


@anywhere
def elu(x: Any, alpha: float = 1.0) -> Any:
    """``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere. Source: Clevert et al. (2016)."""
    return composites.elu(_floating(x), alpha)


@anywhere
def celu(x: Any, alpha: float = 1.0) -> Any:
    """``x`` where positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere. Source: Barron (2017)."""
    x = _floating(x)
    return composites.where(x > 0, x, alpha * _emit("expm1", composites.minimum(x, 0) / alpha))


@anywhere
def selu(x: Any) -> Any:
    """``scale * elu(x, alpha)`` with the constants of Klambauer et al. (2017)."""
    return _SELU_SCALE * composites.elu(_floating(x), _SELU_ALPHA)


@anywhere
def gelu(x: Any, approximate: bool = False) -> Any:
    """``x * P(N(0, 1) <= x)``, with erf or its tanh approximation. Source: Hendrycks and Gimpel (2016)."""
    return composites.gelu(_floating(x), approximate)


@anywhere
def sigmoid(x: Any) -> Any:
    """``1 / (1 + exp(-x))``."""
    return _emit("sigmoid", _floating(x))


@anywhere
def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return _emit("tanh", _floating(x))


@anywhere
def softmax(x: Any, axis: int | Sequence[int] = -1) -> Any:
    """``exp(x) / sum(exp(x))`` along an axis, or over several together, without overflow."""
    return composites.softmax(_floating(x), axis)


@anywhere
def log_softmax(x: Any, axis: int | Sequence[int] = -1) -> Any:
    """Logarithm of `softmax`, without overflow."""
    return composites.log_softmax(_floating(x), axis)


@anywhere
def softplus(x: Any) -> Any:
    """``log(1 + exp(x))``, without overflow."""
    return _emit("softplus", _floating(x))


@anywhere
def softsign(x: Any) -> Any:
    """``x / (1 + |x|)``."""
    x = _floating(x)
    return x / (1 + abs(x))


@anywhere
def silu(x: Any) -> Any:
    """``x * sigmoid(x)``, also called swish."""
    x = _floating(x)
    return x * _emit("sigmoid", x)


@anywhere
def mish(x: Any) -> Any:
    """``x * tanh(softplus(x))``. Source: Misra (2019)."""
    x = _floating(x)
    return x * _emit("tanh", _emit("softplus", x))


@anywhere
def exponential(x: Any) -> Any:
    """``exp(x)``."""
    return _emit("exp", _floating(x))


@anywhere
def hard_sigmoid(x: Any) -> Any:
    """``x / 6 + 1/2`` cut to [0, 1]."""
    return composites.clip(_floating(x) / 6 + 0.5, 0, 1)


@anywhere
def hard_silu(x: Any) -> Any:
    """``x * hard_sigmoid(x)``."""
    x = _floating(x)
    return x * composites.clip(x / 6 + 0.5, 0, 1)


@anywhere
def hard_tanh(x: Any) -> Any:
    """``x`` cut to [-1, 1]."""
    return composites.clip(x, -1, 1)


@anywhere
def tanh_shrink(x: Any) -> Any:
    """``x - tanh(x)``."""
    x = _floating(x)
    return x - _emit("tanh", x)


@anywhere
def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """``x`` moved towards 0 by `threshold`, and 0 within it."""
    x = _floating(x)
    return composites.where(abs(x) > threshold, x - threshold * _emit("sign", x), 0.0)


@anywhere
def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """``x`` where ``|x| > threshold``, 0 elsewhere."""
    x = _floating(x)
    return composites.where(abs(x) > threshold, x, 0.0)


@anywhere
def log_sigmoid(x: Any) -> Any:
    """``log(sigmoid(x)) = -softplus(-x)``."""
    return -_emit("softplus", -_floating(x))


@anywhere
def squareplus(x: Any, b: float = 4) -> Any:
    """``(x + sqrt(x^2 + b)) / 2``. Source: Barron (2021)."""
    x = _floating(x)
    return (x + _emit("sqrt", x * x + b)) / 2


@anywhere
def sparse_plus(x: Any) -> Any:
    """0 up to -1, ``(x + 1)^2 / 4`` up to 1, ``x`` beyond."""
    x = _floating(x)
    middle = composites.where(x < 1, (x + 1) * (x + 1) / 4, x)
    return composites.where(x <= -1, 0.0, middle)


@anywhere
def sparse_sigmoid(x: Any) -> Any:
    """``(x + 1) / 2`` cut to [0, 1]."""
    return composites.clip((_floating(x) + 1) / 2, 0, 1)


@anywhere
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """``x`` where ``x > threshold``, `default_value` elsewhere."""
    return composites.where(x > threshold, x, default_value)


@anywhere
def glu(x: Any, axis: int = -1) -> Any:
    """``a * sigmoid(b)``, a and b the halves of ``x`` along an axis. Source: Dauphin et al. (2017)."""
    x = _floating(x)
    shape = current_emitter().type_of(x).shape
    place = composites.axis_of(axis, len(shape))
    size = shape[place]
    if not isinstance(size, int) or size % 2:
        raise ShapeError("glu", expected=f"an even size along axis {axis}", received=str(size))
    a, b = (composites.part(x, place, start, start + size // 2) for start in (0, size // 2))
    return a * _emit("sigmoid", b)


@anywhere
def sparsemax(x: Any, axis: int = -1) -> Any:
    """The point of the probability simplex nearest to ``x`` along an axis. Source: Martins and Astudillo (2016).

    An element belongs to the support if ``1 + n * x > s``, where n elements are at least as large and s is their sum.
    """
    x = _floating(x)
    last = -1 if axis == -1 else current_emitter().type_of(x).rank - 1
    x = composites.swapaxes(x, axis, last)
    each, others = composites.expand_dims(x, -1), composites.expand_dims(x, -2)
    larger = composites.cast(others >= each, current_emitter().type_of(x).dtype)
    n, s = composites.sum(larger, -1), composites.sum(larger * others, -1)
    support = 1.0 + n * x > s
    count = composites.sum(composites.cast(support, current_emitter().type_of(x).dtype), -1, keepdims=True)
    cut = (composites.sum(composites.where(support, x, 0.0), -1, keepdims=True) - 1.0) / count
    return composites.swapaxes(_emit("relu", x - cut), axis, last)


FUNCTIONS: tuple[Callable[..., Any], ...] = (
    celu, elu, exponential, gelu, glu, hard_shrink, hard_sigmoid, hard_silu, hard_tanh, leaky_relu, linear, log_sigmoid,
    log_softmax, mish, relu, relu6, selu, sigmoid, silu, soft_shrink, softmax, softplus, softsign, sparse_plus,
    sparse_sigmoid, sparsemax, squareplus, tanh, tanh_shrink, threshold,
)  # fmt: skip

BY_NAME: dict[str, Callable[..., Any]] = {f.__name__: f for f in FUNCTIONS} | {"swish": silu, "hard_swish": hard_silu}
swish, hard_swish = silu, hard_silu


def get(identifier: Any, argument: str = "activation") -> Callable[..., Any]:
    """The function that a name or callable means; None is `linear`.

    >>> get("relu").__name__
    'relu'
    """
    if identifier is None:
        return linear
    if isinstance(identifier, (str, dict)):
        name = identifier["config"] if isinstance(identifier, dict) else identifier
        own: Callable[..., Any] | None = get_registered_object(name)
        if own is None and isinstance(identifier, dict):
            own = get_registered_object(identifier.get("registered_name"))
        return find(argument, name, BY_NAME) if own is None else own
    if callable(identifier):
        function: Callable[..., Any] = identifier
        return function
    raise DTypeError(argument, expected="a name, a callable or None", received=repr(identifier))


def serialize(activation: Callable[..., Any]) -> Any:
    """The name of one of these functions; a function of the user's own as Keras writes it.

    >>> serialize(relu)
    'relu'
    """
    name = getattr(activation, "__name__", "")
    if BY_NAME.get(name) is activation:
        return name
    if not name.isidentifier():
        fix = "Use a function with a name, and register_keras_serializable"
        raise ArgumentError("activations.serialize", expected="a named function", received=repr(activation), fix=fix)
    registered = get_registered_name(activation)
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": registered}


def deserialize(config: Any) -> Callable[..., Any]:
    """The function of that name (or of the dictionary in which newer Keras files keep it)."""
    return get(config)
