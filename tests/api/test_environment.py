"""Settings from the environment: wrong values give one line; code for other machines can be looked at, not run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kgraph import config
from kgraph.compiler.codegen.target import host
from kgraph.errors import ArgumentError, StateError
from kgraph.layers import Dense
from kgraph.models import Sequential


@pytest.fixture
def process_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The settings of the process are read again in this test."""
    monkeypatch.setattr(config, "_process", None)
    return monkeypatch


def model() -> Sequential:
    made = Sequential([Dense(4, activation="relu", input_dim=3), Dense(1)])
    made.compile("sgd", "mse")
    return made


def test_the_environment_is_read_when_a_setting_is_asked_for(process_settings: pytest.MonkeyPatch):
    for name, value in {"EXECUTION": "interpreter", "TARGET_CPU": "x86-64", "DUMP": "folder", "VERIFY": "0"}.items():
        process_settings.setenv(f"KGRAPH_{name}", value)
    found = config.settings()
    assert (found.execution, found.target_cpu, found.dump, found.verify) == ("interpreter", "x86-64", "folder", False)


@pytest.mark.parametrize(("name", "value", "words"), (
    ("KGRAPH_EXECUTION", "natve", "KGRAPH_EXECUTION: expected native or interpreter, received 'natve'"),
    ("KGRAPH_VERIFY", "maybe", "KGRAPH_VERIFY: expected 0 or 1, received 'maybe'"),
    *(("KGRAPH_NUM_THREADS", value,
       rf"KGRAPH_NUM_THREADS: expected a number of threads, 0 \(all\) to 1024, received '{value[:40]}(\.\.\.)?'")
      for value in ("two", "-1", "1025", "²", "9" * 5000)),
))  # fmt: skip
def test_a_wrong_value_names_the_variable(process_settings: pytest.MonkeyPatch, name: str, value: str, words: str):
    process_settings.setenv(name, value)
    with pytest.raises(ArgumentError, match=f"^{words}$"):
        config.settings()


def test_the_command_shows_a_wrong_value_as_one_line():
    run = subprocess.run(
        [sys.executable, "-c", "import sys; from kgraph.cli import main; sys.exit(main(['demo']))"],
        env={**os.environ, "KGRAPH_EXECUTION": "natve"}, cwd=Path(__file__).resolve().parents[2],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr == "kgraph: KGRAPH_EXECUTION: expected native or interpreter, received 'natve'\n"


def test_an_unknown_target_names_the_known_ones():
    with config.override(target_cpu="pentium"), pytest.raises(ArgumentError, match=r"^KGRAPH_TARGET_CPU: .*x86-64-v3"):
        model().dump("asm", "predict")


def test_code_for_another_machine_can_be_looked_at_but_not_run():
    other = "x86-64" if host().isa == "neon" else "aarch64"
    net, x = model(), np.ones((2, 3), "float32")
    with config.override(target_cpu=other):
        assert "fmla" in net.dump("asm", "predict") or other != "aarch64"
        with pytest.raises(StateError, match="received code for "):
            net.predict(x, verbose=0)
    assert model().predict(x, verbose=0).shape == (2, 1)


@pytest.mark.skipif(host().isa == "avx512", reason="this machine runs AVX-512")
def test_vectors_that_this_machine_lacks_are_refused():
    with config.override(target_cpu="x86-64-v4"), pytest.raises(StateError, match=r"received code (that needs|for )"):
        model().train_on_batch(np.ones((2, 3)), np.ones(2))


def test_a_dump_folder_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    net = model()
    with config.override(dump=str(tmp_path / "file")), pytest.raises(ArgumentError, match=r"^KGRAPH_DUMP: .*$"):
        net.predict(np.ones((2, 3)), verbose=0)
