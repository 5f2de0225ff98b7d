"""Settings of the process: the only reader of KGRAPH_* environment variables."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator
from contextvars import ContextVar

from kgraph.errors import ArgumentError
from kgraph.record import record

MAX_THREADS = 1024
EXECUTIONS = ("native", "interpreter")


@record
class Settings:
    """Everything a user can set for the whole process.

    Attributes:
        execution: how models run: "native" or "interpreter" (`KGRAPH_EXECUTION`).
        target_cpu: what code is generated for: host, x86-64, x86-64-v3, x86-64-v4, aarch64 (`KGRAPH_TARGET_CPU`).
        dump: folder that receives every stage and pass of every compilation; empty for none (`KGRAPH_DUMP`).
        verify: check the graph after every pass (`KGRAPH_VERIFY=1`; always on in the tests).
        cache: folder that keeps compiled code, or "off"; empty for `kgraph` in the user's cache folder, which is
            $XDG_CACHE_HOME or ~/.cache (`KGRAPH_CACHE`).
        floatx: element type of new layers, "float32" or "float64".
        image_data_format: where images have their channels unless a layer is told: "channels_last" or "channels_first".
        num_threads: threads of native code; 0 for as many as this process may use (`KGRAPH_NUM_THREADS`).
        epsilon: the small number Keras calls epsilon; clips probabilities in losses.
    """

    execution: str = "native"
    target_cpu: str = "host"
    dump: str = ""
    verify: bool = False
    cache: str = ""
    floatx: str = "float32"
    image_data_format: str = "channels_last"
    epsilon: float = 1e-7
    num_threads: int = 0

    def __post_init__(self) -> None:
        _check_execution("execution", self.execution)
        if self.floatx not in ("float32", "float64"):
            raise ArgumentError("floatx", expected="'float32' or 'float64'", received=repr(self.floatx))
        if not 0 <= self.num_threads <= MAX_THREADS:
            expected = f"0 (all) to {MAX_THREADS}"
            raise ArgumentError("num_threads", expected=expected, received=repr(self.num_threads))


def _check_execution(name: str, value: str) -> None:
    if value not in EXECUTIONS:
        raise ArgumentError(name, expected=" or ".join(EXECUTIONS), received=repr(value))


def _from_environment() -> Settings:
    env = os.environ
    execution, verify = env.get("KGRAPH_EXECUTION") or "native", env.get("KGRAPH_VERIFY", "")
    _check_execution("KGRAPH_EXECUTION", execution)
    if verify not in ("", "0", "1"):
        raise ArgumentError("KGRAPH_VERIFY", expected="0 or 1", received=repr(verify))
    return Settings(
        execution=execution,
        target_cpu=env.get("KGRAPH_TARGET_CPU") or "host",
        dump=env.get("KGRAPH_DUMP", ""),
        verify=verify == "1",
        num_threads=_threads("KGRAPH_NUM_THREADS", env.get("KGRAPH_NUM_THREADS") or "0"),
        cache=env.get("KGRAPH_CACHE", ""),
    )


def _threads(name: str, text: str) -> int:
    with contextlib.suppress(ValueError):
        if 0 <= (count := int(text)) <= MAX_THREADS:
            return count
    received = repr(text if len(text) <= 40 else f"{text[:40]}...")
    raise ArgumentError(name, expected=f"a number of threads, 0 (all) to {MAX_THREADS}", received=received)


_settings: ContextVar[Settings | None] = ContextVar("kgraph_settings", default=None)
_process: Settings | None = None  # read from the environment when first asked for, where the error can be caught
_compilations = itertools.count(1)
_compiled = 0


def settings() -> Settings:
    """The settings in force here."""
    return _settings.get() or _of_process()


def _of_process() -> Settings:
    global _process
    if _process is None:
        _process = _from_environment()
    return _process


@contextlib.contextmanager
def override(**changes: object) -> Iterator[Settings]:
    """Change settings inside a `with` block, for this thread only.

    >>> with override(floatx="float64"):
    ...     settings().floatx
    'float64'
    """
    token = _settings.set(dataclasses.replace(settings(), **changes))  # type: ignore[arg-type]
    try:
        yield settings()
    finally:
        _settings.reset(token)


def floatx() -> str:
    """Element type of new layers and of data that arrive as floats."""
    return settings().floatx


def set_floatx(value: str) -> None:
    """Set the element type of new layers: "float32" or "float64"."""
    global _process
    _process = dataclasses.replace(_of_process(), floatx=value)


def epsilon() -> float:
    """The small number that clips probabilities in losses."""
    return settings().epsilon


def set_epsilon(value: float) -> None:
    """Set the small number that clips probabilities in losses."""
    global _process
    _process = dataclasses.replace(_of_process(), epsilon=float(value))


def image_data_format() -> str:
    """Where images have their channels: "channels_last" or "channels_first"."""
    return settings().image_data_format


def set_image_data_format(value: str) -> None:
    """Set what layers over images take if they are not told."""
    global _process
    if value not in ("channels_last", "channels_first"):
        expected = "'channels_last' or 'channels_first'"
        raise ArgumentError("set_image_data_format", expected=expected, received=repr(value))
    _process = dataclasses.replace(_of_process(), image_data_format=value)


def compilation_count() -> int:
    """How many programs this process has made native code for so far, or found it in the cache on disk."""
    return _compiled


def count_compilation() -> None:
    """Note one more compiled program."""
    global _compiled
    _compiled = next(_compilations)
