"""LLVM text to machine code, without any LLVM pass over the text: it is written as it should run."""

from __future__ import annotations

from typing import Any

from kgraph.compiler.codegen.binding import llvm
from kgraph.compiler.codegen.target import Target
from kgraph.errors import InternalError


def to_object(text: str, target: Target) -> bytes:
    """Object file of an LLVM module; InternalError if the text is not valid."""
    machine = target.machine()
    code: bytes = machine.emit_object(_parse(text, machine))
    return code


def to_assembly(text: str, target: Target) -> str:
    """Assembly of an LLVM module; InternalError if the text is not valid."""
    machine = target.machine()
    assembly: str = machine.emit_assembly(_parse(text, machine))
    return assembly


def _parse(text: str, machine: Any) -> Any:
    # A context of its own: what LLVM keeps for a module goes away with it.
    try:
        module = llvm().parse_assembly(text, context=llvm().create_context())
        module.verify()
    except RuntimeError as error:
        raise InternalError("generated LLVM text is not valid", received=str(error)) from error
    module.data_layout = str(machine.target_data)
    return module
