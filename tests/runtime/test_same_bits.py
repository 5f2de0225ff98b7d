"""`set_random_seed` fixes every bit of a training: in any process, on any threads, with a cache or without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import hashlib
import numpy as np
import kgraph
from kgraph import layers
import kgraph.runtime.sharing as sharing

sharing.LEAST_WORK = 1  # threads take part in all that they can
kgraph.utils.set_random_seed(5)
model = kgraph.Sequential([
    kgraph.Input((8, 8, 3)), layers.Conv2D(6, 3, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.3),
    layers.Reshape((6, 36)), layers.LSTM(12), layers.Dropout(0.2), layers.Dense(3, activation="softmax"),
])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
x, y = np.random.random((40, 8, 8, 3)).astype("float32"), np.random.randint(0, 3, 40)
record = model.fit(x, y, epochs=2, batch_size=16, validation_split=0.2, verbose=0).history
found = hashlib.sha256(repr(record).encode())
for array in [*model.get_weights(), model.predict(x, verbose=0)]:
    found.update(array.tobytes())
print(found.hexdigest())
"""


def bits(cache: Path, threads: int) -> str:
    env = {**os.environ, "KGRAPH_CACHE": str(cache), "KGRAPH_NUM_THREADS": str(threads), "KGRAPH_VERIFY": "0"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_processes_threads_and_the_cache_change_no_bit(tmp_path: Path):
    cold = bits(tmp_path / "first", 1)
    assert [bits(tmp_path / "first", threads) for threads in (1, 2, 3, 4)] == [cold] * 4
    assert bits(tmp_path / "second", 2) == cold
