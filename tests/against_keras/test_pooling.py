"""Pooling layers against Keras."""

from __future__ import annotations

import pytest
from keras_comparison import Case, compare

LINE, IMAGE, VOLUME = (11, 4), (9, 8, 3), (5, 6, 4, 2)

CASES = [
    *(Case(f"{kind}Pooling1D({arguments})", [LINE])
      for kind in ("Max", "Average")
      for arguments in ("2", "3, strides=1", "4, strides=3, padding='same'")),
    *(Case(f"{kind}Pooling2D({arguments})", [IMAGE])
      for kind in ("Max", "Average")
      for arguments in ("(2, 3)", "3, strides=(1, 2), padding='same'", "2, strides=3", "5, padding='same'")),
    *(Case(f"{kind}Pooling{arguments}, data_format='channels_first')", [shape])
      for kind in ("Max", "Average")
      for arguments, shape in (
          ("1D(4, strides=3, padding='same'", (4, 11)), ("2D(2", (3, 9, 8)),
          ("2D(3, strides=2, padding='same'", (3, 9, 8)),
          ("3D((1, 3, 2), strides=2, padding='same'", (2, 5, 6, 4)),
      )),
    *(Case(f"{kind}Pooling3D({arguments})", [VOLUME])
      for kind in ("Max", "Average")
      for arguments in ("2", "(1, 3, 2), strides=2, padding='same'")),
    *(Case(f"Global{kind}Pooling{rank}D({arguments})", [shape])
      for kind in ("Max", "Average")
      for rank, shape in ((1, LINE), (2, IMAGE), (3, VOLUME))
      for arguments in ("", "keepdims=True, data_format='channels_first'")),
]  # fmt: skip


@pytest.mark.parametrize("execution", ["interpreter", "native"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case: Case, execution: str):
    compare(case, execution)
