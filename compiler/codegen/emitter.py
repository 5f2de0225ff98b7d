"""A checked writer of LLVM text: modules, functions, loops and single instructions.

llvmlite's own IR builder refuses string attributes (needed for the vector width) and is slower than plain text.
A wrong intrinsic signature makes LLVM abort the process, so intrinsics are declared from one table only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

# Names of overloaded intrinsics that take n operands of one type and return that type.
SAME_TYPE_INTRINSICS = {
    "fma": 3, "sqrt": 1, "fabs": 1, "floor": 1, "ceil": 1, "trunc": 1, "rint": 1, "roundeven": 1,
    "minnum": 2, "maxnum": 2, "minimum": 2, "maximum": 2, "copysign": 2,
    "smin": 2, "smax": 2, "umin": 2, "umax": 2,
}  # fmt: skip


def vector_of(element: str, lanes: int) -> str:
    """The LLVM type of `lanes` elements; the element type itself for one lane."""
    return element if lanes == 1 else f"<{lanes} x {element}>"


def element_of(ty: str) -> str:
    """The element type of a vector type; a scalar type itself."""
    return ty.split(" x ")[1].rstrip(">") if ty.startswith("<") else ty


def lanes_of(ty: str) -> int:
    """Number of lanes of a type; 1 for a scalar."""
    return int(ty[1:].split(" ")[0]) if ty.startswith("<") else 1


def float_literal(value: float, element: str) -> str:
    """An LLVM literal of type float or double with exactly this value (rounded to float first for `float`)."""
    if element == "float":
        value = struct.unpack("<f", struct.pack("<f", value))[0]
    return "0x" + struct.pack(">d", value).hex().upper()


def splat(ty: str, literal: str) -> str:
    """A constant operand of type `ty` whose every lane is `literal`."""
    if not ty.startswith("<"):
        return literal
    return f"splat ({element_of(ty)} {literal})"


@dataclass(eq=False, repr=False)
class Module:
    """An LLVM module under construction."""

    triple: str
    declarations: dict[str, str] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    globals: list[str] = field(default_factory=list)

    def declare(self, name: str, signature: str) -> None:
        """Declare an external function once; `signature` is the whole text after 'declare'."""
        self.declarations.setdefault(name, signature)

    def constant(self, name: str, fields: Sequence[str]) -> str:
        """Add a constant record of these typed fields; gives its name."""
        types = ", ".join(field.split()[0] for field in fields)
        self.globals.append(f"@{name} = internal constant {{ {types} }} {{ {', '.join(fields)} }}")
        return name

    def text(self) -> str:
        """The module as LLVM text."""
        parts = [f'target triple = "{self.triple}"', *self.globals]
        parts += [f"declare {signature}" for signature in self.declarations.values()]
        return "\n".join(parts + self.functions) + "\n"


@dataclass(eq=False, repr=False)
class Loop:
    """A counted loop being written: its index, the values carried round it, and after `end` their last values."""

    index: str
    carried: list[str]
    results: list[str] = field(default_factory=list)
    next: list[str] | None = None


class Function:
    """An LLVM function under construction; instructions go to the current block."""

    def __init__(
        self,
        module: Module,
        name: str,
        params: Sequence[tuple[str, str]],
        *,
        attributes: str = "nounwind",
        linkage: str = "internal",
        returns: str = "void",
    ) -> None:
        """Start a function; `params` are (type with attributes, name without %)."""
        self.module = module
        self.name = name
        args = ", ".join(f"{ty} %{param}" for ty, param in params)
        self._header = f"define {linkage} {returns} @{name}({args}) {attributes} {{"
        self._lines: list[str] = ["entry:"]
        self._count = 0
        self._label = "entry"

    # --- plain instructions -----------------------------------------------------------------------------------
    def fresh(self, hint: str = "t") -> str:
        """A register name not used before."""
        self._count += 1
        return f"%{hint}{self._count}"

    def assign(self, rhs: str, hint: str = "t") -> str:
        """Write `%new = rhs` and return the new register."""
        name = self.fresh(hint)
        self._lines.append(f"  {name} = {rhs}")
        return name

    def line(self, text: str) -> None:
        """Write an instruction without a result."""
        self._lines.append("  " + text)

    def binary(self, op: str, ty: str, a: str, b: str) -> str:
        """A two-operand instruction such as 'fadd', 'mul', 'icmp slt'."""
        return self.assign(f"{op} {ty} {a}, {b}")

    def add(self, a: str, b: str) -> str:
        """i64 sum; folds a zero operand."""
        if a == "0":
            return b
        return a if b == "0" else self.binary("add", "i64", a, b)

    def mul(self, a: str, b: str) -> str:
        """i64 product; folds operands zero and one."""
        if a == "0" or b == "0":
            return "0"
        if a == "1":
            return b
        return a if b == "1" else self.binary("mul", "i64", a, b)

    def select(self, cond_ty: str, cond: str, ty: str, a: str, b: str) -> str:
        """`a` where `cond`, else `b`."""
        return self.assign(f"select {cond_ty} {cond}, {ty} {a}, {ty} {b}")

    def cast(self, op: str, from_ty: str, value: str, to_ty: str) -> str:
        """A conversion instruction such as 'sitofp', 'zext', 'bitcast'."""
        return self.assign(f"{op} {from_ty} {value} to {to_ty}")

    def gep(self, element: str, base: str, index: str) -> str:
        """Address of element `index` of an array of `element` at `base`."""
        return base if index == "0" else self.assign(f"getelementptr inbounds {element}, ptr {base}, i64 {index}", "p")

    def load(self, ty: str, pointer: str, align: int) -> str:
        """Load a value of type `ty`."""
        return self.assign(f"load {ty}, ptr {pointer}, align {align}")

    def store(self, ty: str, value: str, pointer: str, align: int) -> None:
        """Store a value of type `ty`."""
        self.line(f"store {ty} {value}, ptr {pointer}, align {align}")

    def prefetch(self, pointer: str, level: int = 1) -> None:
        """Ask for the cache line at an address, which need not exist: into the caches from this level on."""
        self.module.declare("llvm.prefetch.p0", "void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.line(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 0, i32 {4 - level}, i32 1)")

    def splat_value(self, ty: str, scalar: str) -> str:
        """A vector of type `ty` whose every lane is the scalar register or literal."""
        if not ty.startswith("<"):
            return scalar
        element = element_of(ty)
        first = self.assign(f"insertelement {ty} poison, {element} {scalar}, i64 0")
        return self.assign(f"shufflevector {ty} {first}, {ty} poison, <{lanes_of(ty)} x i32> zeroinitializer")

    # --- calls ------------------------------------------------------------------------------------------------
    def intrinsic(self, name: str, ty: str, *args: str) -> str:
        """Call an intrinsic of `SAME_TYPE_INTRINSICS`, such as fma or sqrt."""
        if len(args) != SAME_TYPE_INTRINSICS[name]:
            raise AssertionError(f"llvm.{name} takes {SAME_TYPE_INTRINSICS[name]} operands, got {len(args)}")
        full = f"llvm.{name}.{self._suffix(ty)}"
        self.module.declare(full, f"{ty} @{full}({', '.join([ty] * len(args))})")
        return self.assign(f"call {ty} @{full}({', '.join(f'{ty} {a}' for a in args)})")

    def fma(self, ty: str, a: str, b: str, c: str) -> str:
        """a * b + c with one rounding."""
        return self.intrinsic("fma", ty, a, b, c)

    def multiply_add(self, ty: str, a: str, b: str, c: str, *, fused: bool) -> str:
        """a * b + c; in one instruction if the target has one (`fused`), since llvm.fma would be a library call."""
        if fused:
            return self.fma(ty, a, b, c)
        return self.binary("fadd", ty, self.binary("fmul", ty, a, b), c)

    def masked_load(self, ty: str, pointer: str, align: int, mask: str) -> str:
        """Lanes of memory where `mask` is set, zero elsewhere; memory of unset lanes is not touched."""
        full = f"llvm.masked.load.{self._suffix(ty)}.p0"
        mask_ty = vector_of("i1", lanes_of(ty))
        self.module.declare(full, f"{ty} @{full}(ptr, {mask_ty}, {ty})")
        return self.assign(f"call {ty} @{full}(ptr align {align} {pointer}, {mask_ty} {mask}, {ty} zeroinitializer)")

    def masked_store(self, ty: str, value: str, pointer: str, align: int, mask: str) -> None:
        """Store the lanes where `mask` is set; other memory is not touched."""
        full = f"llvm.masked.store.{self._suffix(ty)}.p0"
        mask_ty = vector_of("i1", lanes_of(ty))
        self.module.declare(full, f"void @{full}({ty}, ptr, {mask_ty})")
        self.line(f"call void @{full}({ty} {value}, ptr align {align} {pointer}, {mask_ty} {mask})")

    @staticmethod
    def _suffix(ty: str) -> str:
        short = {"float": "f32", "double": "f64"}.get(element_of(ty), element_of(ty))
        return short if lanes_of(ty) == 1 else f"v{lanes_of(ty)}{short}"

    # --- control flow -----------------------------------------------------------------------------------------
    def label(self, hint: str) -> str:
        """A block label not used before."""
        self._count += 1
        return f"{hint}{self._count}"

    def start_block(self, label: str) -> None:
        """Continue writing in the block `label`."""
        self._lines.append(f"{label}:")
        self._label = label

    def branch(self, label: str) -> None:
        """Jump."""
        self.line(f"br label %{label}")

    def branch_if(self, cond: str, yes: str, no: str) -> None:
        """Jump to `yes` where the i1 `cond` is set, else to `no`."""
        self.line(f"br i1 {cond}, label %{yes}, label %{no}")

    @contextmanager
    def when(self, cond: str) -> Iterator[None]:
        """Write a body that runs only if the i1 `cond` is set; it may not define values used after it."""
        body, after = self.label("then"), self.label("join")
        self.branch_if(cond, body, after)
        self.start_block(body)
        yield
        self.branch(after)
        self.start_block(after)

    @contextmanager
    def loop(
        self, start: str, stop: str, step: str = "1", carried: Sequence[tuple[str, str]] = (),
        condition: Callable[[], str] | None = None,
    ) -> Iterator[Loop]:  # fmt: skip
        """Write `for index = start; index < stop; index += step` (i64, signed; may run zero times).

        `carried` are (type, first value). The body sets `loop.next` to the values for the next round;
        after the block `loop.results` holds the last values. `condition` writes, without further blocks, an i1 that
        must be set for another round.
        """
        head, body, done = self.label("head"), self.label("body"), self.label("done")
        before = self._label
        self.branch(head)
        self.start_block(head)
        index, following = self.fresh("i"), self.fresh("n")
        phis = [(ty, first, self.fresh("c")) for ty, first in carried]
        mark = len(self._lines)
        loop = Loop(index, [name for _, _, name in phis], [name for _, _, name in phis])
        go = self.assign(f"icmp slt i64 {index}, {stop}")
        if condition is not None:
            go = self.binary("and", "i1", go, condition())
        self.branch_if(go, body, done)
        self.start_block(body)
        yield loop
        self.line(f"{following} = add nsw i64 {index}, {step}")
        last = self._label
        self.branch(head)
        values = loop.next if loop.next is not None else []
        if len(values) != len(phis):
            raise AssertionError(f"loop carries {len(phis)} values but the body gave {len(values)}")
        lines = [f"  {index} = phi i64 [ {start}, %{before} ], [ {following}, %{last} ]"]
        for (ty, first, name), value in zip(phis, values, strict=True):
            lines.append(f"  {name} = phi {ty} [ {first}, %{before} ], [ {value}, %{last} ]")
        self._lines[mark:mark] = lines
        self.start_block(done)

    def repeat(
        self, count: str, copies: int, carried: Sequence[tuple[str, str]], body: Callable[[int, list[str]], list[str]]
    ) -> list[str]:
        """Write `count` rounds of a body (i64, may be none), whose code stands `copies` times in the loop.

        `carried` are (type, first value). `body(copy, values)` writes a round and returns the values after it. The loop
        is left after whichever copy was the last: no round needs code of its own. The result are the last values.
        """
        before, done = self._label, self.label("done")
        blocks = [self.label("copy") for _ in range(copies)]
        phis = [(ty, first, self.fresh("c"), self.fresh("r")) for ty, first in carried]
        values, rest = [name for _, _, name, _ in phis], self.fresh("n")
        self.branch_if(self.binary("icmp sgt", "i64", count, "0"), blocks[0], done)
        head, left, exits = len(self._lines) + 1, rest, [(before, [first for _, first in carried])]
        for number, block in enumerate(blocks):
            self.start_block(block)
            values, left = body(number, values), self.add(left, "-1")
            exits.append((self._label, values))
            self.branch_if(self.binary("icmp ne", "i64", left, "0"), blocks[(number + 1) % copies], done)
        lines = [f"  {rest} = phi i64 [ {count}, %{before} ], [ {left}, %{self._label} ]"]
        for (ty, first, name, _), value in zip(phis, values, strict=True):
            lines.append(f"  {name} = phi {ty} [ {first}, %{before} ], [ {value}, %{self._label} ]")
        self._lines[head:head] = lines
        self.start_block(done)
        for n, (ty, _, _, result) in enumerate(phis):
            self.line(f"{result} = phi {ty} " + ", ".join(f"[ {some[n]}, %{block} ]" for block, some in exits))
        return [result for _, _, _, result in phis]

    def finish(self, value: str = "void") -> None:
        """Return `value` ('type value' or 'void') and add the function to its module."""
        self.line(f"ret {value}")
        self.module.functions.append("\n".join([self._header, *self._lines, "}"]))
