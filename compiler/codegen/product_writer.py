"""What the functions that compute matrix products are written with."""

from __future__ import annotations

from collections.abc import Sequence

from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.parts import PARTS
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.tiles import Tiling

PRODUCT_PARAMS = [
    ("ptr noalias", "a"), ("ptr noalias", "b"), ("ptr noalias", "scratch"),
    ("i64", "m"), ("i64", "n"), ("i64", "k"), ("i64", "lda"), ("i64", "ldb"),
]  # fmt: skip
PLANNED_PARAMS = [
    *PRODUCT_PARAMS, ("ptr", "plan"), ("ptr", "finish"), ("ptr", "context"), *PARTS,
]  # fmt: skip


class ProductWriter:
    """Arithmetic on sizes, fields of the plan, calls of kernels and of the epilogue.

    A plan is a constant of 64-bit fields, numbers and functions; the micro-kernels stand behind them, tallest first.

    Attributes:
        kind: part of the function's name.
        kernels: field of the first micro-kernel.
    """

    kind = ""
    kernels = 0

    def __init__(self, module: Module, target: Target, t: Tiling) -> None:
        self.t = t
        self.name = f"matmul.{self.kind}.{t.name}"
        self.f = Function(module, self.name, PLANNED_PARAMS, attributes=target.function_attributes())

    def _field(self, ty: str, index: int | str) -> str:
        return self.f.load(ty, self.f.gep("i64", "%plan", str(index)), 8)

    def _min(self, a: str, b: str) -> str:
        return self.f.intrinsic("smin", "i64", a, b)

    def _max(self, a: str, b: str) -> str:
        return self.f.intrinsic("smax", "i64", a, b)

    def _sub(self, a: str, b: str) -> str:
        return a if b == "0" else self.f.binary("sub", "i64", a, b)

    def _is(self, relation: str, a: str, b: str) -> str:
        return self.f.binary(f"icmp {relation}", "i64", a, b)

    def _both(self, a: str, b: str) -> str:
        return self.f.binary("and", "i1", a, b)

    def _pick(self, cond: str, a: str, b: str, ty: str = "i64") -> str:
        return self.f.select("i1", cond, ty, a, b)

    def _at(self, base: str, index: str) -> str:
        return self.f.gep(self.t.element, base, index)

    def _tallest(self, rest: str, most: str = "", in_pairs: bool = False) -> tuple[str, str]:
        """Height and micro-kernel of the next tile where `rest` rows are left, of at most `most` rows.

        It is the lowest one that holds them, else the tallest; or, where tiles may start at any row, the second one if
        two of that hold them (`in_pairs`).
        """
        heights = self.t.heights
        height, number = str(heights[-1]), str(self.kernels + len(heights) - 1)
        for i in range(len(heights) - 2, -1, -1):
            wanted = self._is("sgt", rest, str(heights[i + 1]))
            if in_pairs and i == 0 and 2 * heights[1] > heights[0]:
                two = self._is("ult", self._sub(rest, str(heights[0] + 1)), str(2 * heights[1] - heights[0]))
                wanted = self._both(wanted, self.f.binary("xor", "i1", two, "true"))
            if most:
                wanted = self._both(wanted, self._is("sge", most, str(heights[i])))
            height = self._pick(wanted, str(heights[i]), height)
            number = self._pick(wanted, str(self.kernels + i), number)
        return height, self._field("ptr", number)

    def _call(self, function: str, types: Sequence[str], values: Sequence[str]) -> None:
        arguments = ", ".join(f"{ty} {value}" for ty, value in zip(types, values, strict=True))
        self.f.line(f"call void {function}({arguments})")

    def _finish(self, sums: str, *sizes: str) -> None:
        """Hand sums over; `sizes` are stride, row, rows, column, columns."""
        self._call("%finish", ["ptr", *["i64"] * 5, "ptr"], [sums, *sizes, "%context"])
