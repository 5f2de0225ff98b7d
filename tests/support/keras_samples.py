"""Code samples of Keras articles, as printed there, and a way to run them with kgraph in the place of Keras."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CLASSIFIER = """
from keras.models import Sequential
from keras.layers import Dense

# define the neural network architecture
model = Sequential()
model.add(Dense(units=64, activation='relu', input_dim=input_shape[1]))
model.add(Dense(units=num_classes, activation='softmax'))
"""

LIST = """
from keras.models import Sequential
from keras.layers import Dense, Activation

# create a sequential model
model = Sequential([
    Dense(units=64, activation='relu'),
    Dense(units=32, activation='relu'),
    Dense(units=num_classes, activation='softmax')
])
"""

FROM_ROOT = """
from keras import Sequential
from keras.layers import Dense, Activation

model = Sequential()
model.add(Dense(units=64, input_dim=100)) # 添加全连接层
model.add(Activation('relu'))            # 添加激活函数层
model.add(Dense(units=10))               # 添加另一个全连接层
model.add(Activation('softmax'))         # 添加softmax激活函数
"""

TWO_LAYERS = """
from keras.models import Sequential
from keras.layers import Dense

model = Sequential()
model.add(Dense(units=32, input_dim=784))
model.add(Dense(units=10, activation='softmax'))
"""


@contextmanager
def kgraph_as_keras() -> Iterator[None]:
    """Inside the block `import keras` and its submodules give kgraph."""
    package = importlib.import_module("kgraph")
    for name in package.__all__:  # public names load when they are used first; a second copy must not be loaded
        getattr(package, name)
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "kgraph"}
    aliases = {"keras" + name.removeprefix("kgraph"): module for name, module in modules.items()}
    before = {name: sys.modules.get(name) for name in aliases}
    sys.modules.update(aliases)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def run(code: str, **names: Any) -> dict[str, Any]:
    """The names that `code` defines, where `names` are known and Keras is kgraph."""
    scope: dict[str, Any] = {"__name__": "sample", **names}
    with kgraph_as_keras():
        exec(compile(code, "sample.py", "exec"), scope)
    return scope
