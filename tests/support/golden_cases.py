"""Reads the golden files that real Keras wrote (tests/golden/README.md explains the arrays)."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@dataclass(frozen=True)
class LayerCase:
    """One model, its inputs and what Keras computed from them."""

    name: str
    arrays: dict[str, np.ndarray]
    names: dict[str, list[str]]

    def series(self, prefix: str) -> list[np.ndarray]:
        """The arrays `prefix0`, `prefix1`, ...; such as "x", "w", "infer_y", "train_gw".

        The indices must be without gaps; where Keras gave no gradient use `indexed`.
        """
        found = self.indexed(prefix)
        assert list(found) == list(range(len(found))), f"{self.name}: {prefix} has gaps: {list(found)}"
        return list(found.values())

    def indexed(self, prefix: str) -> dict[int, np.ndarray]:
        """The arrays named `prefix` and a number, by number, in rising order."""
        ends = [key.removeprefix(prefix) for key in self.arrays if key.startswith(prefix)]
        return {n: self.arrays[f"{prefix}{n}"] for n in sorted(int(end) for end in ends if end.isdigit())}

    @property
    def modes(self) -> list[str]:
        """The modes on file: "infer" and, without dropout, "train"."""
        return [mode for mode in ("infer", "train") if f"{mode}_y0" in self.arrays]

    def build(self, keras_like: Any) -> Any:
        """The model of this case, made with Keras or a drop-in for it; weights are not set."""
        build, _ = _script().CASES[self.name]
        return build(keras_like)[0]


@dataclass(frozen=True)
class OptimizerCase:
    """Ten training steps of a small classifier."""

    name: str
    cls: str
    kwargs: dict[str, Any]
    x: np.ndarray
    y: np.ndarray
    losses: np.ndarray
    initial_weights: list[np.ndarray]
    final_weights: list[np.ndarray]
    slots: dict[str, np.ndarray]


def layer_names() -> list[str]:
    """The layer cases on file."""
    return sorted(path.parent.name for path in GOLDEN.glob("layers/*/io.npz"))


def optimizer_names() -> list[str]:
    """The optimizer cases on file."""
    return sorted(path.stem for path in GOLDEN.glob("optimizers/*.npz"))


def layer_case(name: str) -> LayerCase:
    """The layer case called `name`."""
    folder = GOLDEN / "layers" / name
    return LayerCase(name, _arrays(folder / "io.npz"), json.loads((folder / "names.json").read_text("utf-8")))


def optimizer_case(name: str) -> OptimizerCase:
    """The optimizer case called `name`."""
    arrays = _arrays(GOLDEN / "optimizers" / f"{name}.npz")
    config = json.loads(str(arrays["config"]))
    paths = json.loads(str(arrays["slot_paths"]))
    count = sum(key.startswith("w_") for key in arrays)
    return OptimizerCase(
        name=name,
        cls=config["cls"],
        kwargs=config["kwargs"],
        x=arrays["x"],
        y=arrays["y"],
        losses=arrays["losses"],
        initial_weights=[arrays[f"w0_{i}"] for i in range(count)],
        final_weights=[arrays[f"w_{i}"] for i in range(count)],
        slots={path: arrays[f"slot_{i}"] for i, path in enumerate(paths)},
    )


def losses_and_metrics() -> dict[str, np.ndarray]:
    """Every array of losses_metrics.npz by its key."""
    return _arrays(GOLDEN / "losses_metrics.npz")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {key: file[key] for key in file}


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_model_cases", GOLDEN / "cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
