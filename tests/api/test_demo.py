"""The demonstration and its command: what is shown, and how it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kgraph import cli, demo


def test_the_demo_trains_checks_and_writes_dumps(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    started = time.perf_counter()
    assert cli.main(["demo", "--dump", str(tmp_path)]) == 0
    assert time.perf_counter() - started < 15
    out = capsys.readouterr().out
    assert re.search(r"\d+ ops -> \d+ kernels,\s+[\d,]+ bytes of code, [\d,]+ bytes of workspace", out)
    accuracy = re.search(r"accuracy (\d\.\d+) \(wanted", out)
    assert accuracy is not None
    assert float(accuracy[1]) >= 0.95
    assert "us a step" in out
    assert "all within tolerance" in out
    assert str(tmp_path) in out
    assert out.count("Epoch ") == demo.EPOCHS
    stages = {path.stem for path in tmp_path.glob("*_train/stage_*.txt")}
    assert stages == {f"stage_{name}" for name in ("traced", "optimized", "fused", "loops", "plan", "llvm", "asm")}


def test_too_little_accuracy_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo, "EPOCHS", 1)
    assert cli.main(["demo", "--dump", str(tmp_path)]) == 1


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("")
    assert cli.main(["demo", "--dump", str(tmp_path / "file")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("kgraph: ")
    assert len(err.splitlines()) == 1


def test_ctrl_c_ends_without_a_traceback(tmp_path: Path):
    code = f"import sys; from kgraph.cli import main; sys.exit(main(['demo', '--dump', {str(tmp_path)!r}]))"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    while "Epoch 1/" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "interrupted"


def test_a_missing_command_is_explained(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert ended.value.code == 2
    assert "demo" in capsys.readouterr().err
