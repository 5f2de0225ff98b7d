"""Where a node comes from: the layer that made it and the user's source line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from kgraph.record import record


@record
class Location:
    """Origin of a node.

    Attributes:
        layer: path of layer names, such as "model/dense_1"; empty outside layers.
        file: the user's source file; empty if unknown.
        line: line in that file; 0 if unknown.
    """

    layer: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        source = f"{Path(self.file).name}:{self.line}" if self.file else ""
        return " ".join(part for part in (self.layer, source) if part) or "unknown"


UNKNOWN = Location()
_current: ContextVar[Location] = ContextVar("kgraph_location", default=UNKNOWN)


def current_location() -> Location:
    """The location that new nodes get."""
    return _current.get()


@contextmanager
def layer_scope(name: str, source: Location = UNKNOWN) -> Iterator[None]:
    """Append `name` to the layer path inside the block; `source` is where the user made the layer."""
    outer = _current.get()
    path = f"{outer.layer}/{name}" if outer.layer else name
    token = _current.set(Location(path, source.file or outer.file, source.line or outer.line))
    try:
        yield
    finally:
        _current.reset(token)


def user_location() -> Location:
    """The nearest caller outside the kgraph package: what the user wrote."""
    package = str(Path(__file__).resolve().parent.parent)
    beside = (package, str(Path(package).parent / "compiler"), str(Path(package).parent / "runtime"))
    frame = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(beside) and "importlib" not in frame.f_code.co_filename:
            return Location("", frame.f_code.co_filename, frame.f_lineno)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return UNKNOWN
