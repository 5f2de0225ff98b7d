"""What decides how a program is compiled, besides the program: the compiler itself, LLVM, and this machine."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import platform
import time
from pathlib import Path

import kgraph.ir.artifact
from kgraph.digest import digest

# The packages whose code decides what a graph is compiled to.
_PACKAGES = ("ir", "primitives", "compiler")
_CPU_FILE = Path("/proc/cpuinfo")
# How the lines of that file begin that say what the processor can do, and which it is.
_CAN = ("flags", "Features")  # on x86, on ARM
_IS = ("vendor_id", "cpu family", "model", "stepping", "CPU ")
_LOADED = time.time()


@functools.cache
def fingerprint() -> str | None:
    """Text that is the same as long as the same graph is compiled to the same code; None if that cannot be said.

    Files count by size and times, the one at which the file system last touched them among those: it also changes
    when a file with an old date takes the place of another. LLVM comes with llvmlite, and changes with it. A process
    that runs while files change may have loaded either of them, and says nothing.
    """
    processor = _processor()
    llvmlite = importlib.util.find_spec("llvmlite")
    root = Path(kgraph.ir.artifact.__file__).parents[1]
    files = sorted(path for package in _PACKAGES for path in _python_files(str(root / package)))
    if not processor or not files or llvmlite is None or llvmlite.origin is None:
        return None
    parts = [platform.machine(), processor]
    for path in [*files, llvmlite.origin]:
        info = os.stat(path)
        if max(info.st_mtime, info.st_ctime) > _LOADED:
            return None
        parts.append(f"{path} {info.st_size} {info.st_mtime_ns} {info.st_ctime_ns}")
    return digest(["\n".join(parts).encode()]).hex()


def _python_files(folder: str) -> list[str]:
    """The Python files in a folder and those below it; none if there is no such folder, as in an archive."""
    return [
        os.path.join(place, name) for place, _, names in os.walk(folder) for name in names if name.endswith(".py")
    ]


def _processor() -> str:
    """What the first processor is and can do; empty on systems that do not say so in a file."""
    lines = []
    try:
        with open(_CPU_FILE, encoding="utf-8", errors="replace") as file:
            for line in itertools.takewhile(str.strip, file):
                if line.startswith(_CAN + _IS):
                    lines.append(line)
    except OSError:
        return ""
    return "".join(lines) if any(line.startswith(_CAN) for line in lines) else ""
