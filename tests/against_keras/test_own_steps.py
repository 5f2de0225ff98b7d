"""Training steps of a model's own against Keras with TensorFlow: the same history and weights after ten steps."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import steps_of_guides

import kgraph

pytestmark = pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")
Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def of_keras(tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    """What Keras makes of all steps; in a process of its own, since this one has the JAX backend."""
    path = tmp_path_factory.mktemp("steps") / "found.npz"
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    made = subprocess.run(
        [sys.executable, steps_of_guides.__file__, path], env=environment, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr[-2000:]
    return dict(np.load(path))


@pytest.mark.parametrize("step", steps_of_guides.STEPS, ids=lambda step: step.__name__)
def test_steps_of_guides(step: Callable[[Any, Any], Arrays], of_keras: Arrays):
    expected = {
        key.removeprefix(f"{step.__name__}: "): value
        for key, value in of_keras.items()
        if key.startswith(f"{step.__name__}: ")
    }
    found = step(kgraph, kgraph.GradientTape)
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
