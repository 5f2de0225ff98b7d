"""The benchmark scripts run: what they print is not looked at, only that each system and each pass gets a figure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.parametrize("command, printed", [
    (["convolution.py", "--only", "7x7x64", "--runs", "1"], ["forward", "input", "weights"]),
    (["run.py", "--systems", "kgraph", "--workloads", "one_row", "--runs", "1"], ["kgraph"]),
], ids=lambda value: value[0])  # fmt: skip
def test_scripts_print_their_tables(command, printed, tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / command[0]), *command[1:]],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    for name in printed:
        assert any(name in words and any(word[0].isdigit() for word in words[1:]) for words in lines), done.stdout
