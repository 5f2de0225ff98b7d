"""Fixtures for all tests: reproducible random numbers and golden text files."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# Before anything imports kgraph.config, which reads it once: in tests the verifier runs after every pass.
os.environ["KGRAPH_VERIFY"] = "1"
# And no test, nor a process that a test starts, reads or writes the user's own cache.
_CACHE = tempfile.TemporaryDirectory(prefix="kgraph-test-cache-")
os.environ["KGRAPH_CACHE"] = _CACHE.name


def pytest_unconfigure() -> None:
    """Delete the cache."""
    _CACHE.cleanup()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --update-golden."""
    parser.addoption("--update-golden", action="store_true", help="write golden text files instead of comparing")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers of this test alone: the same on every run, whatever other tests run."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture
def golden_text(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """A function `check(name, text)` that compares text with the file `golden/<name>` beside the test's own file.

    With --update-golden it writes the file; look at the difference before you commit it.
    """
    folder: Path = request.path.parent / "golden"
    update = request.config.getoption("--update-golden")

    def check(name: str, text: str) -> None:
        path = folder / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", newline="\n")
        assert path.exists(), f"no golden file {path}; write it with pytest --update-golden"
        assert text == path.read_text("utf-8"), f"{path} differs; if the change is wanted: pytest --update-golden"

    return check
