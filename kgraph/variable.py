"""A variable: an array that programs read, and update in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kgraph.errors import ShapeError
from kgraph.ir.dtypes import DType, dtype_of
from kgraph.ir.opdef import current_emitter, is_tracing
from kgraph.ir.operators import Operators, cast, lift
from kgraph.ir.types import TensorType
from kgraph.nesting import map_structure
from kgraph.runtime.memory import aligned_empty
from kgraph.runtime.states import State, count_change


class Variable(Operators):
    """A weight, optimizer slot, metric state or random state.

    The array stays at one address for the variable's life, so that compiled programs can keep its pointer:
    `assign` copies.

    Args:
        value: first value; copied.
        name: last part of the path, such as "kernel".
        trainable: whether gradients update it.
        path: full path, such as "sequential/dense/kernel"; the name if empty.

    Attributes:
        regularizer: gives a penalty for the value, which training adds to the loss; None for none.
        constraint: gives what the value becomes after each update; None for no change.
        state: the memory as programs know it.

    >>> v = Variable(np.zeros((2, 3), "float32"), "kernel")
    >>> v.shape, v.dtype
    ((2, 3), 'float32')
    """

    def __init__(self, value: npt.ArrayLike, name: str = "variable", trainable: bool = True, path: str = "") -> None:
        first = np.asarray(value)
        dtype_of(first.dtype)
        self._array = aligned_empty(first.shape, first.dtype)
        self._array[...] = first
        self.state = State(self._array)
        self.name = name
        self.trainable = trainable
        self.regularizer: Any = None
        self.constraint: Any = None
        self.path = path or name

    @property
    def array(self) -> npt.NDArray[Any]:
        """The memory itself, to be read: programs update it in place, and who writes into it does so by `assign`."""
        return self.state.view

    @property
    def type(self) -> TensorType:
        """Element type and shape."""
        return TensorType(dtype_of(self._array.dtype), self._array.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self._array.shape

    @property
    def dtype(self) -> str:
        """NumPy's name of the element type."""
        return self._array.dtype.name

    @property
    def ir_dtype(self) -> DType:
        """Element type in the IR."""
        return dtype_of(self._array.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._array.ndim

    @property
    def value(self) -> npt.NDArray[Any]:
        """A copy of the value."""
        return self._array.copy()

    def operate(self, name: str, *operands: Any) -> Any:
        """In a program a part of it; with another symbolic tensor what that one makes of it; else NumPy's result."""
        for operand in operands:
            if isinstance(operand, Operators) and not isinstance(operand, Variable):
                return type(operand).operate(operand, name, *operands)
        if is_tracing():
            return super().operate(name, *operands)
        values = [operand.value if isinstance(operand, Variable) else operand for operand in operands]
        return values[0][values[1]] if name == "get_item" else getattr(np, name)(*values)

    def __bool__(self) -> bool:
        return super().__bool__() if is_tracing() else bool(self._array)

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Any:
        return super().__iter__() if is_tracing() else iter(self.value)

    def __float__(self) -> float:
        return super().__float__() if is_tracing() else float(self._array)

    def __int__(self) -> int:
        return super().__int__() if is_tracing() else int(self._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if is_tracing():
            super().__array__()  # raises an error: an array would be a constant of the program
        return np.array(self._array, dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if is_tracing() or any(isinstance(v, Operators) and not isinstance(v, Variable) for v in inputs):
            return super().__array_ufunc__(ufunc, method, *inputs, **kwargs)
        return getattr(ufunc, method)(*(v.value if isinstance(v, Variable) else v for v in inputs), **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if is_tracing():
            return super().__array_function__(function, types, args, kwargs)
        args, kwargs = map_structure(lambda v: v.value if isinstance(v, Variable) else v, (args, kwargs))
        return function(*args, **kwargs)

    def numpy(self) -> npt.NDArray[Any]:
        """A copy of the value."""
        return self._array.copy()

    def assign(self, value: Any) -> None:
        """Copy `value`, of the variable's shape, into it; in a program that becomes a part of each run."""
        if is_tracing():
            trace: Any = current_emitter()
            trace.assign(self, cast(lift(value, self.ir_dtype), self.ir_dtype))
        else:
            self.set_value(value)

    def set_value(self, value: Any) -> None:
        """Copy an array of the variable's shape into it now, also while a program is traced."""
        new = np.asarray(value)
        if new.shape != self._array.shape:
            raise ShapeError(f"variable '{self.path}'", expected=str(self._array.shape), received=str(new.shape))
        self._array[...] = new
        count_change((self.state,))

    def clear(self) -> None:
        """Set all elements to 0 now, also while a program is traced."""
        self._array.fill(0)
        count_change((self.state,))

    def assign_add(self, value: Any) -> None:
        """Add `value` to the variable."""
        self.assign(self + value)

    def assign_sub(self, value: Any) -> None:
        """Subtract `value` from the variable."""
        self.assign(self - value)

    def __repr__(self) -> str:
        return f"<Variable {self.path} {self.type}>"
