"""Object code into this process, freed when dropped: linked here on x86-64 Linux, elsewhere by LLVM's JIT."""

from __future__ import annotations

import ctypes
import functools
import itertools
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kgraph.errors import InternalError, StateError
from kgraph.runtime.elf import Region, link


class LoadedCode:
    """Machine code in memory; it stays as long as this object lives.

    Args:
        symbols: addresses by name.
        keeps: what keeps the memory.
    """

    def __init__(self, symbols: Mapping[str, int], keeps: object) -> None:
        self._symbols = symbols
        self._keeps = keeps

    def address(self, symbol: str) -> int:
        """Address of one of the symbols asked for when loading."""
        if symbol not in self._symbols:
            raise InternalError("symbol", expected=f"one of {', '.join(self._symbols)}", received=symbol)
        return self._symbols[symbol]

    def function(self, symbol: str, parameters: int = 2) -> Callable[..., None]:
        """A function that takes that many pointers, such as a program's entry point; runs without the GIL.

        The function keeps this code in memory.
        """
        entry = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * parameters)(self.address(symbol))
        entry.keeps = self  # type: ignore[attr-defined]
        return entry


def check_target(target: str) -> None:
    """StateError unless this machine can run code for `target`, an `Artifact.target`: a triple, then its features."""
    triple, _, features = target.partition(" ")
    here, has = _machine()
    wanted = [feature.removeprefix("+") for feature in features.split(",") if feature.startswith("+")]
    lacking = [feature for feature in wanted if not has.get(feature)]
    fix = "Code for other machines can be looked at with dump, not run; unset KGRAPH_TARGET_CPU"
    if _family(triple) != _family(here):
        raise StateError("native code", expected=f"code for {_family(here)}", received=f"code for {_family(triple)}",
                         fix=fix)  # fmt: skip
    if lacking:
        raise StateError("native code", expected="code that this machine can run",
                         received=f"code that needs {', '.join(lacking)}", fix=fix)  # fmt: skip


def _family(triple: str) -> str:
    """The processor family of a triple; some systems call aarch64 arm64."""
    return triple.partition("-")[0].replace("arm64", "aarch64")


@functools.cache
def _machine() -> tuple[str, dict[str, bool]]:
    """Triple and feature map of this machine."""
    import llvmlite.binding as llvm

    return llvm.get_process_triple(), dict(llvm.get_host_cpu_features())


def load(object_files: Sequence[bytes], symbols: Sequence[str]) -> LoadedCode:
    """Link object files for this machine and find `symbols` in them; InternalError if that fails.

    A file may use symbols of those after it.
    """
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        return _load_elf(object_files, symbols)
    return _load_by_llvm(object_files, symbols)


def _load_elf(object_files: Sequence[bytes], symbols: Sequence[str]) -> LoadedCode:
    regions: list[Region] = []
    known: dict[str, int] = {}
    for code in reversed(object_files):
        regions.append(link(code, known))
        known |= regions[-1].symbols
    missing = [symbol for symbol in symbols if symbol not in known]
    if missing:
        raise InternalError("object code cannot be loaded", received=f"none of the name {', '.join(missing)}")
    return LoadedCode({symbol: known[symbol] for symbol in symbols}, regions)


def _load_by_llvm(object_files: Sequence[bytes], symbols: Sequence[str]) -> LoadedCode:
    from llvmlite.binding.orcjit import JITLibraryBuilder

    builder = JITLibraryBuilder()
    for code in object_files:
        builder.add_object_img(code)
    for symbol in symbols:
        builder.export_symbol(symbol)
    jit, numbers = _jit()
    try:
        tracker = builder.link(jit, f"program{next(numbers)}")
        return LoadedCode({symbol: int(tracker[symbol]) for symbol in symbols}, tracker)
    except RuntimeError as error:
        raise InternalError("object code cannot be loaded", received=str(error)) from error


@functools.cache
def _jit() -> tuple[Any, Iterator[int]]:
    """The one JIT of the process, in which each program is a library of its own, and numbers for their names."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(reloc="pic", codemodel="small")
    return llvm.create_lljit_compiler(machine, use_jit_link=True), itertools.count()
