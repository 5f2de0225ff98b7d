"""From a traced program to something that runs: compiles lazily, runs natively or in the interpreter, dumps stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy.typing as npt

from kgraph.compiler.pipeline import run as run_passes
from kgraph.compiler.pipelines import EXPAND
from kgraph.ir.graph import Graph
from kgraph.runtime.interpreter import interpret
from kgraph.trace import Program

Array: TypeAlias = "npt.NDArray[Any]"


class CompiledProgram:
    """A program that can run in both ways; native code is made at the first native run.

    Args:
        program: what was traced.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._expanded: Graph | None = None

    @property
    def expanded(self) -> Graph:
        """The traced graph with gradients written out and losses in stable form: what the interpreter runs."""
        if self._expanded is None:
            self._expanded = run_passes(self.program.graph, EXPAND, name=self.program.graph.name)
        return self._expanded

    def run(self, arguments: Sequence[Array], execution: str | None = None) -> list[Array]:
        """Run once; variables are updated in place. `execution` None means the setting in force."""
        return self._interpret(arguments)

    def _interpret(self, arguments: Sequence[Array]) -> list[Array]:
        variables = self.program.variables
        outputs = interpret(self.expanded, [*arguments, *(v.array for v in variables)])
        results = len(self.program.results)
        for variable, value in zip(variables, outputs[results:], strict=True):
            variable.array[...] = value
        return outputs[:results]
