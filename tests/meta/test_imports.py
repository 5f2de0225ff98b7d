"""`import kgraph` stays light, and no file of the project can be loaded under two names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import ROOT, read_project

HEAVY = ("llvmlite", "h5py", "networkx", "PIL", "tqdm.notebook", "IPython", "matplotlib")


def heavy_packages_loaded_by(statement: str, folder: Path = ROOT) -> list[str]:
    """The heavy packages that a fresh interpreter has loaded after `statement`, run in `folder`."""
    script = f"import sys\n{statement}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_importing_kgraph_loads_no_heavy_package():
    assert heavy_packages_loaded_by("import kgraph") == []


@pytest.mark.parametrize("package", ["llvmlite", "h5py", "networkx"])
def test_a_heavy_import_would_be_seen(package: str, tmp_path: Path):
    (tmp_path / "planted.py").write_text(f"import {package}\n")
    assert package in heavy_packages_loaded_by("import planted", tmp_path)


def test_every_module_can_be_imported_first():
    """No module needs another one to have been imported before it, and importing prints nothing."""
    names = sorted(name for name in read_project() if name != "kgraph.__main__")
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    for loaded in [m for m in sys.modules if m.partition('.')[0] == 'kgraph']:\n"
        "        del sys.modules[loaded]\n"
        "    importlib.import_module(name)\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *names], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""


@pytest.mark.parametrize("folder", ["compiler", "runtime"])
def test_a_folder_refuses_its_short_name(folder: str):
    run = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert run.returncode != 0
    assert f"this folder is the package 'kgraph.{folder}', not '{folder}'" in run.stderr
