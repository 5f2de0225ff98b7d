"""Kernels as text that `kgraph.ir.loop_parser` reads back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

import numpy as np

from kgraph.ir.dims import Dim
from kgraph.ir.dtypes import DType, bool_
from kgraph.ir.lexer import heading, title
from kgraph.ir.loops import Accumulate, Contract, For, Init, Kernel, Let, Matrix, Ranges, Stmt, Store, Window
from kgraph.ir.scalar import Call, Const, Expr, IndexValue, Load, Local

# Scalar function -> its sign and how strongly it binds.
INFIX: dict[str, tuple[str, int]] = {"add": ("+", 1), "sub": ("-", 1), "mul": ("*", 2), "div": ("/", 2)}
# Combine of an Accumulate -> how it is written.
COMBINES: dict[str, str] = {"add": "+=", "mul": "*=", "max": "max=", "min": "min=", "or": "or=", "and": "and="}


def kernel_to_text(kernel: Kernel) -> str:
    """The text of a kernel; `kgraph.ir.loop_parser.parse_kernel` reads it back."""
    return "\n".join(kernel_lines(kernel)[0]) + "\n"


def kernel_lines(kernel: Kernel) -> tuple[list[str], dict[int, int]]:
    """The lines of a kernel's text, and the line (from 0) at which each statement starts, by the statement's `id`."""
    writer = _Writer()
    buffers = [f"%{b.name}: {b.dtype}[{_commas(b.shape)}] {b.role}" for b in kernel.buffers]
    sizes = f" sizes({', '.join(kernel.sizes)})" if kernel.sizes else ""
    head = heading(f"kernel {title(kernel.name)}", buffers, "")
    writer.lines += f"{head}{sizes} {{".split("\n")
    writer.block(kernel.body, "  ", {})
    writer.lines.append("}")
    return writer.lines, writer.starts


def expr_to_text(expr: Expr, locals: Mapping[str, DType], binds: int = 0) -> str:
    """An expression; it stands in parentheses if it binds less strongly than `binds`.

    `locals` gives the types of the locals in scope: others show their type. Sums and products are infix, all else is
    a call: `cast(x, f32)`, `index(2*i+1, u32)`, `exp(x)`; a literal shows its type, as in `0.5:f32`.
    """
    match expr:
        case Load():
            return f"%{expr.buffer.name}[{_commas(expr.index)}]"
        case Local():
            return expr.name if locals.get(expr.name) is expr.dtype else f"{expr.name}:{expr.dtype}"
        case Const():
            return _literal(expr)
        case IndexValue():
            return f"index({expr.index}, {expr.dtype})"
        case Call():
            if expr.function in INFIX and len(expr.args) == 2:
                sign, own = INFIX[expr.function]
                left, right = expr_to_text(expr.args[0], locals, own), expr_to_text(expr.args[1], locals, own + 1)
                return f"({left} {sign} {right})" if own < binds else f"{left} {sign} {right}"
            words = [expr_to_text(arg, locals) for arg in expr.args]
            if expr.function == "cast":
                words.append(str(expr.dtype))
            return f"{expr.function}({', '.join(words)})"
        case _:
            assert_never(expr)


def _literal(const: Const) -> str:
    value = const.value
    if isinstance(value, (bool, np.bool_)):
        word = "true" if value else "false"
        return word if const.dtype is bool_ else f"{word}:{const.dtype}"
    if isinstance(value, (float, np.floating)):
        return f"{float.__repr__(float(value))}:{const.dtype}"
    return f"{int(value)}:{const.dtype}"


def _commas(dims: Sequence[Dim]) -> str:
    return ", ".join(map(str, dims))


class _Writer:
    """Collects the lines of one kernel."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.starts: dict[int, int] = {}

    def block(self, body: Sequence[Stmt], indent: str, outer: Mapping[str, DType]) -> None:
        """The statements of one body; the locals they start end with it."""
        locals = dict(outer)
        for stmt in body:
            self.starts.setdefault(id(stmt), len(self.lines))
            self.stmt(stmt, indent, locals)

    def stmt(self, stmt: Stmt, indent: str, locals: dict[str, DType]) -> None:
        """One statement with what is inside it."""
        match stmt:
            case For():
                kind = "" if stmt.kind == "serial" else f"{stmt.kind} "
                self.lines.append(f"{indent}{kind}for {stmt.var} in 0..{stmt.extent} {{")
                self.block(stmt.body, indent + "  ", locals)
                self.lines.append(indent + "}")
            case Let() | Init():
                word = "let" if isinstance(stmt, Let) else "init"
                value = expr_to_text(stmt.value, locals)
                self.lines.append(f"{indent}{word} {stmt.name}: {stmt.value.dtype} = {value}")
                locals[stmt.name] = stmt.value.dtype
            case Accumulate():
                sign = COMBINES.get(stmt.combine, f"{stmt.combine}=")
                self.lines.append(f"{indent}{stmt.name} {sign} {expr_to_text(stmt.value, locals)}")
            case Store():
                place = f"%{stmt.buffer.name}[{_commas(stmt.index)}]"
                self.lines.append(f"{indent}store {place} = {expr_to_text(stmt.value, locals)}")
            case Contract():
                rows = f"{stmt.row} as ({_ranges(stmt.rows)})" if stmt.rows else f"{stmt.row} in 0..{stmt.m}"
                ranges = f"{rows}, {stmt.col} in 0..{stmt.n}"
                over = f"({_ranges(stmt.over)})" if stmt.over else f"0..{stmt.k}"
                product = f"{_matrix(stmt.a)} @ {_matrix(stmt.b)} over {over}"
                memory = f"%{stmt.scratch.name}" + (f", packed %{stmt.packed.name}" if stmt.packed else "")
                self.lines.append(f"{indent}contract {stmt.acc}[{ranges}] = {product} using {memory} {{")
                self.block(stmt.body, indent + "  ", {**locals, stmt.acc: stmt.dtype})
                self.lines.append(indent + "}")
            case _:
                assert_never(stmt)


def _ranges(ranges: Ranges) -> str:
    return ", ".join(f"{var} in 0..{extent}" for var, extent in ranges)


def _matrix(matrix: Matrix | Window) -> str:
    if isinstance(matrix, Window):
        return f"window(%{matrix.buffer.name}[{_commas(matrix.index)}])"
    text = f"%{matrix.buffer.name}[{_commas(matrix.batch)}]"
    return f"transpose({text})" if matrix.transposed else text
