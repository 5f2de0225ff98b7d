"""`import kgraph` stays light, and no file of the project can be loaded under two names."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from source_tree import ROOT, read_project

import kgraph

HEAVY = ("llvmlite", "h5py", "networkx", "PIL", "tqdm.notebook", "IPython", "matplotlib")


def heavy_packages_loaded_by(statement: str, folder: Path = ROOT, heavy: Sequence[str] = HEAVY) -> list[str]:
    """The packages of `heavy` that a fresh interpreter has loaded after `statement`, run in `folder`."""
    script = f"import sys\n{statement}\nprint(*(name for name in {tuple(heavy)!r} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_importing_kgraph_loads_next_to_nothing():
    assert heavy_packages_loaded_by("import kgraph", heavy=[*HEAVY, "numpy", "kgraph.layers"]) == []


def test_making_a_model_loads_no_heavy_package_and_no_compiler():
    statement = "import kgraph\nkgraph.Sequential([kgraph.Input((3,)), kgraph.layers.Dense(2)])"
    unused = ["kgraph.layers.pooling", "kgraph.layers.recurrent", "kgraph.losses.regression", "kgraph.metrics.accuracy"]
    unused += ["kgraph.ops.fourier", "kgraph.optimizers.adam", "kgraph.callbacks.tensorboard"]
    heavy = [*HEAVY, *unused, "urllib.request", "kgraph.compiler", "kgraph.models"]
    assert heavy_packages_loaded_by(statement, heavy=heavy) == ["kgraph.models"]


LAZY_PACKAGES = [
    "kgraph", "kgraph.callbacks", "kgraph.layers", "kgraph.losses", "kgraph.metrics", "kgraph.ops", "kgraph.optimizers",
]  # fmt: skip


def listed_for_type_checkers(package: str) -> dict[str, str]:
    """The module that each name of a lazy package is imported from under `TYPE_CHECKING`, with its name there."""
    tree = read_project()[package].tree
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    names = {}
    for statement in block.body:
        if isinstance(statement, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{statement.module}:{alias.name}" for alias in statement.names}
        elif isinstance(statement, ast.Import):
            names |= {alias.asname: f"{alias.name}:" for alias in statement.names if alias.asname}
    return names


@pytest.mark.parametrize("package", LAZY_PACKAGES)
def test_lazy_names_are_those_that_type_checkers_see(package: str):
    module = importlib.import_module(package)
    listed = listed_for_type_checkers(package)
    assert sorted(listed) == sorted(module.__all__)
    for name, place in listed.items():
        home, _, there = place.partition(":")
        wanted = importlib.import_module(home)
        assert getattr(module, name) is (getattr(wanted, there) if there else wanted), name
        assert name in dir(module)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Dnse'"):
        _ = module.Dnse


@pytest.mark.parametrize("package", LAZY_PACKAGES)
def test_no_module_takes_the_place_of_a_lazy_name(package: str):
    """Importing a module makes it an attribute of its package, whatever the package calls by that name."""
    modules = {name for name in read_project() if name.rpartition(".")[0] == package}
    taken = {name for name, place in listed_for_type_checkers(package).items() if f"{package}.{name}" in modules}
    assert all(listed_for_type_checkers(package)[name] == f"{package}.{name}:" for name in taken), taken


LOAD_EVERY_MODULE = (
    "for module in pkgutil.iter_modules(kgraph.__path__):\n"
    "    if not module.name.startswith('_'):\n"
    "        importlib.import_module(f'kgraph.{module.name}')\n"
)


@pytest.mark.parametrize("loaded", ["before", "after"])
def test_public_names_do_not_depend_on_what_else_is_loaded(loaded: str):
    """A module of the same name would take the place of a function or class."""
    first, last = (LOAD_EVERY_MODULE, "") if loaded == "before" else ("", LOAD_EVERY_MODULE)
    script = (
        f"import importlib, pkgutil, kgraph\n{first}"
        f"names = {kgraph.__all__!r}\nassert set(names) <= set(dir(kgraph))\n"
        f"found = [getattr(kgraph, name) for name in names]\n{last}"
        "assert all(getattr(kgraph, name) is value for name, value in zip(names, found))\n"
        "print(*(name for name, value in zip(names, found) if not isinstance(value, type(kgraph))))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    names = ["GradientTape", "Input", "InputSpec", "Layer", "Model", "Sequential", "Variable", "execution"]
    names += ["gradients", "vjp"]
    assert run.stdout.split() == names, run.stderr


def test_a_misspelt_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'kgraph' has no attribute 'Modle'"):
        _ = kgraph.Modle


def test_the_digits_are_one_import_away():
    script = "import kgraph\nprint(kgraph.datasets.digits.load_data()[0][0].shape)"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == ["(1437,", "8,", "8)"], run.stderr


@pytest.mark.parametrize("package", ["llvmlite", "h5py", "networkx"])
def test_a_heavy_import_would_be_seen(package: str, tmp_path: Path):
    (tmp_path / "planted.py").write_text(f"import {package}\n")
    assert package in heavy_packages_loaded_by("import planted", tmp_path)


def test_what_users_import_can_be_imported_first(tmp_path: Path):
    """No package or module right below kgraph needs another one before it, and importing prints nothing.

    That the modules inside packages form no circles is checked in their text (test_layers_of_code.py).
    """
    modules = read_project().values()
    names = sorted(m.name for m in modules if m.path.name == "__init__.py" or m.name.count(".") == 1)
    script = (
        "import importlib, sys\n"
        f"sys.dont_write_bytecode, sys.pycache_prefix = False, {str(tmp_path)!r}\n"
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
