"""The golden fixtures compare what they say they compare."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from golden_cases import layer_case, layer_names, losses_and_metrics, optimizer_case, optimizer_names
from source_tree import ROOT

TEST = "def test_text(golden_text):\n    golden_text('fold/case.kg', {text!r})\n"


def run_golden_test(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run one test that compares `text` with its golden file, in a project of its own."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder / "conftest.py")
    (folder / "test_text.py").write_text(TEST.format(text=text))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_golden_text_fails_without_a_file_and_on_a_difference(tmp_path: Path):
    missing = run_golden_test(tmp_path, "one\n")
    assert missing.returncode == 1
    assert "no golden file" in missing.stdout
    assert run_golden_test(tmp_path, "one\n", "--update-golden").returncode == 0
    assert (tmp_path / "golden" / "fold" / "case.kg").read_bytes() == b"one\n"
    assert run_golden_test(tmp_path, "one\n").returncode == 0
    different = run_golden_test(tmp_path, "two\n")
    assert different.returncode == 1
    assert "case.kg differs" in different.stdout


def test_every_golden_file_reads():
    assert {"dense", "mlp_seed", "two_inputs", "multi_output"} <= set(layer_names())
    for name in layer_names():
        case = layer_case(name)
        assert case.modes == ["infer", "train"] or (name == "seed_cnn" and case.modes == ["infer"])  # it has dropout
        assert len(case.series("w")) == len(case.names["path_names"])
        for mode in case.modes:
            assert len(case.series(f"{mode}_c")) == len(case.series(f"{mode}_y"))
            floats = [n for n, x in enumerate(case.series("x")) if x.dtype.kind == "f"]  # ids have no gradient
            assert list(case.indexed(f"{mode}_gx")) == floats
            assert len(case.series(f"{mode}_gw")) == len(case.names["trainable"])
    for name in optimizer_names():
        run = optimizer_case(name)
        assert run.losses.shape == (10,)
        for weights in (run.initial_weights, run.final_weights):
            assert [w.shape for w in weights] == [(6, 8), (8,), (8, 3), (3,)]
    assert "sample_weight" in losses_and_metrics()


def test_series_are_in_order():
    case = layer_case("dense")
    (x,), (kernel, bias) = case.series("x"), case.series("w")
    np.testing.assert_allclose(np.maximum(x @ kernel + bias, 0), case.series("infer_y")[0], rtol=1e-5, atol=1e-6)
