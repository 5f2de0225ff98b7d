"""The second level of the IR: loop nests over buffers, as data.

    kernel  := Kernel(name, buffers, sizes, body)
    stmt    := For | Let | Init | Accumulate | Store | Contract
    index   := a polynomial over loop variables, sizes and integer Lets (`kgraph.ir.dims`)

Meaning, in one paragraph: `For` runs its body for var = 0 .. extent-1. `Let` names a value; `Init` starts a mutable
local, `Accumulate` combines a value into it. The name of an integer `Let` may stand in the indices and extents after
it (an id that was loaded); in a vector loop it must have one value for all iterations. A loop of kind "vector" runs
several neighbouring iterations at once: its body may hold Lets, Stores, Inits with their Accumulates, and serial
loops, and may accumulate into locals started outside it, in an order fixed by the target's vector width. Iterations of
a vector or parallel loop do not depend on each other but for that. `Contract` is a whole matrix product on packed
register tiles: for every row < m and col < n it computes acc = sum over p < k of a[row, p] * b[p, col] and then runs
its body once with `acc` a local.
A product whose operands are `Window`s (a convolution) has rows and reduced indices of several parts: `row` is then
the mixed-radix number of the variables in `rows`, the last one fastest, and p that of the variables in `over`.
A second operand may also stand in memory of its own in the order in which the tiles read it (`packed`): the meaning is
the same, as are the numbers.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from kgraph.ir.dims import Dim
from kgraph.ir.dtypes import DType
from kgraph.ir.scalar import Buffer, Expr
from kgraph.record import record

LoopKind: TypeAlias = Literal["serial", "parallel", "vector", "unroll"]
Ranges: TypeAlias = "tuple[tuple[str, Dim], ...]"
Combine: TypeAlias = Literal["add", "mul", "max", "min", "or", "and"]


@record(eq=False)
class For:
    """Run `body` for `var` = 0 .. `extent` - 1; an extent is never negative."""

    var: str
    extent: Dim
    kind: LoopKind
    body: tuple[Stmt, ...]


@record(eq=False)
class Let:
    """Name a value until the end of the enclosing body."""

    name: str
    value: Expr


@record(eq=False)
class Init:
    """Start a mutable local with a value."""

    name: str
    value: Expr


@record(eq=False)
class Accumulate:
    """Combine a value into a mutable local: name = name <combine> value."""

    name: str
    combine: Combine
    value: Expr


@record(eq=False)
class Store:
    """Write one element of a buffer."""

    buffer: Buffer
    index: tuple[Dim, ...]
    value: Expr


@record(eq=False)
class Matrix:
    """One matrix operand: the last two axes of `buffer` at `batch` (indices of the axes before them).

    `transposed` means that the buffer holds the transpose of the operand.
    """

    buffer: Buffer
    batch: tuple[Dim, ...]
    transposed: bool


@record(eq=False)
class Window:
    """A matrix operand whose element is `buffer[index]`, or 0 where the index lies outside the buffer.

    `index` holds polynomials over sizes, loop variables and the product's own variables: for the first operand those
    of `rows` and `over`, for the second one those of `over` and `col`; the second one may not lead outside.
    """

    buffer: Buffer
    index: tuple[Dim, ...]


@record(eq=False)
class Contract:
    """Matrix product with an epilogue; see the module's docstring.

    Attributes:
        row, col: loop variables of the body.
        m, n, k: sizes.
        a, b: operands of shapes (m, k) and (k, n).
        acc: name of the local that holds the finished sum in the body.
        scratch: private memory for packed operands.
        body: runs once for each (row, col); Lets and Stores only.
        rows: variables and extents whose mixed-radix number `row` is; the body may use them.
        over: variables and extents of the reduced index. Both are empty if the operands are of class `Matrix`.
        packed: None, or a buffer with the elements of b, [column // width, p, column % width] in an array of shape
            (panels, k, width); those of the last panel from column n on may be anything finite.
    """

    row: str
    col: str
    m: Dim
    n: Dim
    k: Dim
    a: Matrix | Window
    b: Matrix | Window
    acc: str
    scratch: Buffer
    body: tuple[Stmt, ...]
    rows: Ranges = ()
    over: Ranges = ()
    packed: Buffer | None = None

    @property
    def dtype(self) -> DType:
        """Element type of the accumulator."""
        return self.a.buffer.dtype


Stmt: TypeAlias = "For | Let | Init | Accumulate | Store | Contract"


@record(eq=False)
class Kernel:
    """A function over buffers and sizes.

    Attributes:
        name: symbol of the generated function.
        buffers: parameters, in order.
        sizes: names of the symbolic sizes it needs, in order.
        body: statements.
    """

    name: str
    buffers: tuple[Buffer, ...]
    sizes: tuple[str, ...]
    body: tuple[Stmt, ...]
