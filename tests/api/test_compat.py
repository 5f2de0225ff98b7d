"""Scripts for Keras with kgraph in its place: modules old and new, what is missing, the command `kgraph run`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import kgraph
from kgraph.backend import get_value, image_data_format, set_image_data_format
from kgraph.cli import main
from kgraph.compat import MOVED, install, uninstall
from kgraph.errors import StateError


@pytest.fixture
def lent() -> Iterator[None]:
    install()
    yield
    uninstall()


def run(code: str) -> dict[str, object]:
    scope: dict[str, object] = {"__name__": "script"}
    exec(compile(code, "script.py", "exec"), scope)
    return scope


@pytest.mark.parametrize("code", [
    "import keras; thing = keras.layers.Dense",
    "import keras.layers; thing = keras.layers.Dense",
    "from keras import layers; thing = layers.Dense",
    "from keras.layers import *; thing = Dense",
    "from keras.layers.core import Dense as thing",
    "from keras.engine.topology import Dense as thing",
    "import tensorflow as tf; thing = tf.keras.layers.Dense",
    "from tensorflow import keras; thing = keras.layers.Dense",
    "from tensorflow.keras.layers import Dense as thing",
    "import tensorflow.keras.layers as layers; thing = layers.Dense",
    "from tensorflow.python.keras.layers import Dense as thing",
    "from tf_keras.layers import Dense as thing",
])  # fmt: skip
def test_imports_of_scripts(lent: None, code: str):
    assert run(code)["thing"] is kgraph.layers.Dense


@pytest.mark.parametrize("old, name", [
    ("layers.normalization", "BatchNormalization"), ("layers.convolutional", "MaxPooling2D"),
    ("layers.core", "Flatten"), ("layers.pooling", "GlobalAveragePooling2D"),
    ("layers.advanced_activations", "LeakyReLU"),
    ("layers.merge", "concatenate"), ("layers.noise", "GaussianNoise"), ("layers.embeddings", "Embedding"),
    ("utils.np_utils", "to_categorical"), ("models", "Input"), ("engine.training", "Model"),
    ("callbacks", "Callback"), ("optimizers", "SGD"), ("saving", "custom_object_scope"),
])  # fmt: skip
def test_modules_of_older_keras(lent: None, old: str, name: str):
    scope = run(f"from keras.{old} import {name} as thing")
    home = MOVED.get(old, old)
    assert scope["thing"] is getattr(getattr(kgraph, home), name)


def test_the_backend(lent: None):
    scope = run("from keras import backend as K\nimport tensorflow as tf\nother = tf.keras.backend")
    K = scope["K"]
    assert isinstance(K, ModuleType)
    assert (K.backend(), K.image_data_format(), K.floatx()) == ("kgraph", "channels_last", "float32")
    assert K.epsilon() == scope["other"].epsilon() == 1e-7
    np.testing.assert_array_equal(K.pow(np.array([2.0]), 3), [8])
    np.testing.assert_array_equal(K.mean(np.array([[1.0, 3.0]]), axis=-1), [2])
    assert (K.int_shape(kgraph.Input((3,))), K.ndim(np.ones((2, 2)))) == ((None, 3), 2)
    with pytest.raises(AttributeError, match="no attribute 'men'"):
        kgraph.backend.men  # noqa: B018
    dense = kgraph.layers.Dense(2, weights=[np.ones((3, 2)), np.zeros(2)], input_shape=(3,))
    assert kgraph.Sequential([dense]).count_params() == 8
    np.testing.assert_array_equal(get_value(dense.kernel), 1)


def test_layers_take_the_format_of_images_that_is_set():
    try:
        set_image_data_format("channels_first")
        assert image_data_format() == "channels_first"
        assert kgraph.layers.Conv2D(4, 3)(kgraph.Input((2, 8, 8))).shape == (None, 4, 6, 6)
    finally:
        set_image_data_format("channels_last")
    assert kgraph.layers.Conv2D(4, 3)(kgraph.Input((8, 8, 2))).shape == (None, 6, 6, 4)


@pytest.mark.parametrize("code, error, words", [
    ("import keras.nothing", ImportError, "^kgraph has no module keras.nothing$"),
    ("from keras.layers import Dens", ImportError, "cannot import name 'Dens' from 'keras.layers'"),
    ("import keras; keras.layers.Dens", AttributeError, r"^kgraph has no keras.layers.Dens. Did you mean 'Dense'\?$"),
    ("import keras; keras.nothing", AttributeError, "^kgraph has no keras.nothing"),
    ("import tensorflow as tf; tf.constant(1)", AttributeError,
     "^kgraph has no tensorflow.constant: of TensorFlow only keras and GradientTape are there. Use kgraph.ops$"),
    ("import tensorflow.data", ImportError, "^kgraph has no module tensorflow.data$"),
])  # fmt: skip
def test_what_is_missing_is_said_in_one_line(lent: None, code: str, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        run(code)


def test_nothing_is_left_behind_and_other_packages_are_not_hidden(monkeypatch: pytest.MonkeyPatch):
    install()
    install()
    run("import keras, tensorflow.keras.layers")
    uninstall()
    assert not [name for name in sys.modules if name.partition(".")[0] in ("keras", "tensorflow")]
    uninstall()
    monkeypatch.setitem(sys.modules, "keras", ModuleType("keras"))
    with pytest.raises(StateError, match="keras was imported already, from elsewhere"):
        install()


SCRIPT = """
import sys
from beside import units
from keras.models import Sequential
from keras.layers.core import Dense
print(Sequential([Dense(units, input_dim=2)]).count_params(), sys.argv[1:], __name__)
"""


def test_the_command_runs_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "beside.py").write_text("units = 4\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "kgraph.cli", "run", str(tmp_path / "script.py"), "--verbose", "x"]
    code = "import sys, kgraph.cli; sys.exit(kgraph.cli.main(sys.argv[1:]))"
    done = subprocess.run([*command[:1], "-c", code, *command[3:]], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "12 ['--verbose', 'x'] __main__\n", "")
    assert main(["run", str(tmp_path / "scrip.py")]) == 1
    assert "scrip.py'. Did you mean 'script.py'?" in capsys.readouterr().err
    (tmp_path / "wrong.py").write_text("from keras.layers import Dense\nDense(-1)\n")
    path = sys.path[:]
    with pytest.raises(ValueError, match="units: expected an int >= 1"):
        main(["run", str(tmp_path / "wrong.py")])
    assert sys.path == path
    assert "keras" not in sys.modules
