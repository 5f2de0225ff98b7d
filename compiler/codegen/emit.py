"""LLVM text to machine code, without any LLVM pass over the text: it is written as it should run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kgraph.compiler.codegen.binding import llvm, versions
from kgraph.compiler.codegen.target import Target
from kgraph.digest import digest
from kgraph.errors import InternalError

_NO_LSR = "-disable-lsr"


def object_key(text: str, target: Target) -> str:
    """Digest of everything that decides the object file of a module, in hexadecimal digits.

    The text is all that kgraph has to say about the code, so its own version does not matter.
    """
    parts = (text, versions(), str(target), str(target.codegen()), _NO_LSR)
    return digest(["\0".join(parts).encode()]).hex()


def to_object(text: str, target: Target, *, check: bool = True) -> bytes:
    """Object file of an LLVM module; InternalError if the text is not valid, as far as parsing or, if asked, a check
    finds."""
    machine = target.machine()
    module = _parse(text, machine, check)
    with _quick(target):
        code: bytes = machine.emit_object(module)
    return code


def to_assembly(text: str, target: Target) -> str:
    """Assembly of an LLVM module; InternalError if the text is not valid."""
    machine = target.machine()
    module = _parse(text, machine, True)
    with _quick(target):
        assembly: str = machine.emit_assembly(module)
    return assembly


@contextmanager
def _quick(target: Target) -> Iterator[None]:
    """Leave out LLVM's loop strength reduction on x86: indices are written out of the loops already.

    Measured: 30 % less compile time, smaller code, and no slower. On AArch64, whose addresses are simpler, matrix
    kernels need it to keep all vectors in registers. The option is LLVM's for the whole process, so it is taken back.
    """
    if not target.is_x86:
        yield
        return
    llvm().set_option("kgraph", _NO_LSR)
    try:
        yield
    finally:
        llvm().set_option("kgraph", f"{_NO_LSR}=false")


def _parse(text: str, machine: Any, check: bool) -> Any:
    # A context of its own: what LLVM keeps for a module goes away with it.
    try:
        module = llvm().parse_assembly(text, context=llvm().create_context())
        if check:
            module.verify()
    except RuntimeError as error:
        raise InternalError("generated LLVM text is not valid", received=str(error)) from error
    module.data_layout = str(machine.target_data)
    return module
