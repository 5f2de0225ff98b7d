"""Assembly of generated code: its innermost loops, and the vectors that LLVM moves through the stack."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import llvmlite.binding as llvm

from kgraph.compiler.codegen.target import Target

# LLVM's own comments tell a spill from other uses of the stack; pairs of d registers are what an ARM function saves.
_SPILL = re.compile(r"[#/] (?:16|32|48|64)-byte (?:Folded )?(?:Spill|Reload)")
_SAVED = re.compile(r"\s(?:stp|ldp|str|ldr)\s+[dx]\d+")
_LABEL = re.compile(r"([\w.$@\"]+):")
_BRANCH = re.compile(r"\s+(?:j\w+|b(?:\.\w+)?|cbn?z|tbn?z)\s+(?:.*,\s*)?(\.L\w+)")


def assembly_of(text: str, target: Target) -> list[str]:
    """The lines of the assembly of an LLVM module, with LLVM's comments."""
    machine = target.machine()
    machine.set_asm_verbosity(True)
    lines: list[str] = machine.emit_assembly(llvm.parse_assembly(text)).splitlines()
    return lines


def vector_spills(lines: Sequence[str]) -> list[str]:
    """The lines that move a whole vector between a register and the stack because there are too few registers."""
    return [line.strip() for line in lines if _SPILL.search(line) and not _SAVED.match(line)]


def innermost_loops(lines: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """(function, lines) of each loop that has no other inside: what lies between a label and a branch back to it."""
    labels: dict[str, int] = {}
    found: list[tuple[int, int, str]] = []
    function = ""
    for number, line in enumerate(lines):
        if label := _LABEL.match(line):
            labels[label[1]] = number
            function = function if label[1].startswith(".L") else label[1].strip('"')
        elif (branch := _BRANCH.match(line)) and branch[1] in labels:
            found.append((labels[branch[1]], number, function))
    for start, stop, name in found:
        if not any((a, b) != (start, stop) and start <= a and b <= stop for a, b, _ in found):
            yield name, lines[start : stop + 1]
