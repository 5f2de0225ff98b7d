"""Whole compiled programs on disk, so that a graph that was compiled once starts without the compiler."""

from __future__ import annotations

from collections.abc import Iterator

from kgraph.digest import digest
from kgraph.ir.artifact import Artifact
from kgraph.ir.artifact_bytes import from_bytes, to_bytes
from kgraph.ir.graph import Graph
from kgraph.ir.opdef import Array
from kgraph.ir.printer import to_text
from kgraph.runtime.cache import ObjectCache
from kgraph.runtime.fingerprint import fingerprint


class StoredProgram:
    """The place of one program in the cache on disk; object files have places of their own.

    Args:
        cache: None to keep nothing.
        graph: as it was traced.
        states: how many of its inputs are updated in place.
        target: the setting that says what machine code is for.

    Attributes:
        found: the artifact comes from the cache, where only code goes that this machine has loaded.
    """

    def __init__(self, cache: ObjectCache | None, graph: Graph, states: int, target: str) -> None:
        surroundings = None if cache is None else fingerprint()
        self._cache = None if surroundings is None else cache
        self._key = "" if surroundings is None else _key(graph, f"{surroundings} {states} {target}")
        self.found = False

    def get(self) -> Artifact | None:
        """The artifact; None if it is not there."""
        data = None if self._cache is None else self._cache.get(self._key)
        artifact = None if data is None or self._cache is None else from_bytes(data, self._cache.get)
        self.found = artifact is not None
        return artifact

    def put(self, artifact: Artifact) -> None:
        """Keep an artifact that was just compiled, whose code this machine has loaded."""
        if self._cache is not None and not self.found:
            self._cache.put(self._key, to_bytes(artifact))


def _key(graph: Graph, rest: str) -> str:
    """Digest of everything that decides the artifact of a graph."""
    arrays: dict[str, Array] = {}
    text = f"program\0{rest}\0{to_text(graph, constants=arrays)}"

    def parts() -> Iterator[bytes]:
        yield text.encode()
        for name, array in arrays.items():
            yield f"\0{name} {array.dtype.str} {array.shape}\0".encode()
            yield array.tobytes()

    return digest(parts()).hex()
