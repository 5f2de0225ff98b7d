"""Matrix products compiled in this process, for tests and the benchmark."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import llvmlite.binding as llvm
import numpy as np

from kgraph.compiler.codegen.emitter import Function, Module, element_of
from kgraph.compiler.codegen.matmul import Epilogue, MatmulSpec, emit_matmul, scratch_bytes
from kgraph.compiler.codegen.target import Target

Array = np.ndarray
DTYPES = {"float": np.dtype(np.float32), "double": np.dtype(np.float64)}
SIGNATURE = "ptr %a, ptr %b, ptr %s, i64 %m, i64 %n, i64 %k, i64 %lda, i64 %ldb, ptr %c, i64 %ldc"
EXTRA = [("ptr noalias", "c"), ("i64", "ldc")]
GUARD = 64


def store(accumulate: bool) -> Epilogue:
    """An epilogue that stores the sums to C, or adds them to what C holds."""

    def epilogue(f: Function, ty: str, sums: list[str], row: str, column: str, mask: str | None) -> None:
        element = element_of(ty)
        size = DTYPES[element].itemsize
        to = f.gep(element, "%c", f.add(f.mul(row, "%ldc"), column))
        value = sums[0]
        if accumulate:
            old = f.load(ty, to, size) if mask is None else f.masked_load(ty, to, size, mask)
            value = f.binary("fadd", ty, old, value)
        if mask is None:
            f.store(ty, value, to, size)
        else:
            f.masked_store(ty, value, to, size, mask)

    return epilogue


def spec_name(spec: MatmulSpec) -> str:
    """A symbol for a kind of product, such as float_tn."""
    return f"{spec.element}_{'nt'[spec.transpose_a]}{'nt'[spec.transpose_b]}"


def emit(target: Target, specs: Sequence[MatmulSpec], epilogue: Epilogue) -> Module:
    """A module with one product for each spec (extra parameters `EXTRA`) and a public function that calls it."""
    module = Module(target.triple)
    for spec in specs:
        name = spec_name(spec)
        emit_matmul(module, target, f"inner.{name}", spec, EXTRA, epilogue)
        header = f"define void @{name}({SIGNATURE}) {target.function_attributes()}"
        module.functions.append(f"{header} {{\n  call void @inner.{name}({SIGNATURE})\n  ret void\n}}")
    return module


@dataclass
class Products:
    """Compiled products; keep the object while calling them."""

    target: Target
    specs: Sequence[MatmulSpec]
    epilogue: Epilogue
    functions: dict[MatmulSpec, Callable[..., None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        module = llvm.parse_assembly(emit(self.target, self.specs, self.epilogue).text())
        module.verify()
        machine = self.target.machine()
        self._jit = llvm.create_lljit_compiler(machine, use_jit_link=True)
        builder = llvm.JITLibraryBuilder().add_object_img(machine.emit_object(module)).add_current_process()
        for spec in self.specs:
            builder = builder.export_symbol(spec_name(spec))
        self._library = builder.link(self._jit, "products")
        types = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 5 + [ctypes.c_void_p, ctypes.c_int64]
        prototype = ctypes.CFUNCTYPE(None, *types)
        self.functions = {spec: prototype(self._library[spec_name(spec)]) for spec in self.specs}

    def __call__(self, spec: MatmulSpec, a: Array, b: Array, c: Array, k: int) -> None:
        """Multiply: operands as stored, rows contiguous, c of shape [m, n]; checks the ends of the scratch memory."""
        m, n = c.shape
        need = scratch_bytes(self.target, spec, m, n, k)
        scratch = aligned(need + GUARD)
        scratch[:] = 0xFF  # as numbers: NaN
        ld = [x.strides[0] // x.itemsize for x in (a, b, c)]
        addresses = [a.ctypes.data, b.ctypes.data, scratch.ctypes.data]
        self.functions[spec](*addresses, m, n, k, ld[0], ld[1], c.ctypes.data, ld[2])
        assert (scratch[need:] == 0xFF).all()


def aligned(size: int) -> Array:
    """Bytes that start at a multiple of 64."""
    raw = np.empty(size + 64, np.uint8)
    return raw[-raw.ctypes.data % 64 :][:size]
