"""The runner of passes: checks, dumps and blames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from kgraph.compiler.pipelines import PASSES, Pass
from kgraph.config import settings
from kgraph.errors import ArgumentError, InternalError, KgraphError
from kgraph.ir.graph import Graph
from kgraph.ir.printer import to_text
from kgraph.ir.verify import verify

# Called with the name of the pipeline, the name of the pass and the graph after it.
Observer: TypeAlias = "Callable[[str, str, Graph], None]"


def run(
    graph: Graph, passes: Sequence[Pass], *, name: str, observer: Observer | None = None, limit: int | None = None
) -> Graph:
    """Apply passes in order.

    With the setting `verify`, the graph is checked after each pass that changed it. A fault of kgraph in a pass
    carries a note with the name of the pass and the text of the graph before it; an error about what the user did
    stays as it is.

    Args:
        graph: where to start.
        passes: what to apply.
        name: name of the pipeline, for the observer and for notes.
        observer: called after every pass.
        limit: how many passes to run; None for all. The first limit with a wrong result names the guilty pass.
    """
    for apply in passes[:limit]:
        before = graph
        try:
            graph = apply(before)
            if settings().verify and graph is not before:
                verify(graph)
        except Exception as error:
            users = graph is before and isinstance(error, KgraphError) and not isinstance(error, InternalError)
            if not users:
                error.add_note(f"in pass {pass_name(apply)} of {name}, graph before it:\n{to_text(before)}")
            raise
        if observer is not None:
            observer(name, pass_name(apply), graph)
    return graph


def pass_name(apply: Pass) -> str:
    """The name of a pass: that of its function, or of its class where it has options."""
    return getattr(apply, "__name__", type(apply).__name__)


def parse_passes(text: str) -> tuple[Pass, ...]:
    """Passes by name, separated by commas.

    >>> [pass_name(p) for p in parse_passes("fold, dce")]
    ['fold', 'dce']

    Raises:
        ArgumentError: a name is not a pass.
    """
    known = {pass_name(apply): apply for apply in PASSES}
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ArgumentError("pass", expected=f"one of {', '.join(known)}", received=repr(name))
    return tuple(known[name] for name in names)
