"""Object code into this process: linked by LLVM's JIT, freed when dropped."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kgraph.errors import InternalError


class LoadedCode:
    """Machine code in memory; it stays as long as this object lives."""

    def __init__(self, jit: Any, tracker: Any, symbols: Sequence[str]) -> None:
        self._jit = jit
        self._tracker = tracker
        self._symbols = tuple(symbols)

    def address(self, symbol: str) -> int:
        """Address of one of the symbols asked for when loading."""
        if symbol not in self._symbols:
            raise InternalError("symbol", expected=f"one of {', '.join(self._symbols)}", received=symbol)
        return int(self._tracker[symbol])

    def function(self, symbol: str, parameters: int = 2) -> Callable[..., None]:
        """A function that takes that many pointers, such as a program's entry point; runs without the GIL.

        The function keeps this code in memory.
        """
        entry = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * parameters)(self.address(symbol))
        entry.keeps = self  # type: ignore[attr-defined]
        return entry


def load(object_code: bytes, symbols: Sequence[str]) -> LoadedCode:
    """Link an object file for this machine and find `symbols` in it; InternalError if that fails."""
    from llvmlite.binding.orcjit import JITLibraryBuilder

    builder = JITLibraryBuilder().add_object_img(object_code)
    for symbol in symbols:
        builder.export_symbol(symbol)
    jit, numbers = _jit()
    try:
        tracker = builder.link(jit, f"program{next(numbers)}")
    except RuntimeError as error:
        raise InternalError("object code cannot be loaded", received=str(error)) from error
    return LoadedCode(jit, tracker, symbols)


@functools.cache
def _jit() -> tuple[Any, Iterator[int]]:
    """The one JIT of the process, in which each program is a library of its own, and numbers for their names."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(reloc="pic", codemodel="small")
    return llvm.create_lljit_compiler(machine, use_jit_link=True), itertools.count()
