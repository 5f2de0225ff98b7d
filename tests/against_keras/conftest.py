"""The tests of this folder need Keras with its JAX backend; where they are absent nothing is collected."""

from __future__ import annotations

import importlib.util
import os

import pytest

PRESENT = all(importlib.util.find_spec(name) is not None for name in ("keras", "jax"))
collect_ignore_glob = [] if PRESENT else ["test_*.py"]
os.environ["KERAS_BACKEND"] = "jax"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings of the peers are not ours."""
    for item in items:
        if "against_keras" in item.nodeid:
            item.add_marker(pytest.mark.filterwarnings("default"))
