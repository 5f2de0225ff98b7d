"""Initializers without randomness against Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kgraph import initializers

WINDOWS: list[dict[str, Any]] = [
    {},
    {"side": "imag", "window": "hamming", "scaling": "spectrum", "periodic": True},
    {"window": "blackman", "scaling": None},
    {"window": "bartlett", "periodic": True},
    {"window": "boxcar", "side": "imag"},
    {"window": None},
    {"window": np.arange(1, 17.0)},
]


@pytest.mark.parametrize("options", WINDOWS, ids=lambda options: str(options.get("window", "default"))[:8])
@pytest.mark.parametrize("frequencies", [9, 17])
def test_stft(options: dict[str, Any], frequencies: int):
    import keras

    expected = np.asarray(keras.initializers.STFT(**options)((16, 1, frequencies)))
    made = initializers.STFT(**options)((16, 1, frequencies))
    np.testing.assert_allclose(made, expected, atol=5e-6)  # Keras takes cos and sin of large angles in float32
