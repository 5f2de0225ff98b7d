"""What is installed is what is in the tree: every module once, with its data, and nothing else."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from source_tree import FOLDERS, ROOT, Module, project_settings, read_project, third_party

# Files inside the packages that stay in the repository only.
NOT_SHIPPED = {".md"}

# Import name -> distribution name, where they differ.
DISTRIBUTIONS: dict[str, str] = {}


def package_list_faults(listed: list[str], modules: dict[str, Module]) -> list[str]:
    """Differences between the package list of pyproject.toml and the packages in the tree."""
    found = {module.package for module in modules.values()}
    faults = [f"{name} is missing in [tool.setuptools] packages" for name in sorted(found - set(listed))]
    faults += [f"{name} is in [tool.setuptools] packages but has no folder" for name in sorted(set(listed) - found)]
    faults += [f"{name} is in [tool.setuptools] packages twice" for name, n in Counter(listed).items() if n > 1]
    return faults


def packages_without_init(modules: dict[str, Module]) -> list[str]:
    """Folders with modules that have no __init__.py: Python takes them, tools do not."""
    packages = {module.package for module in modules.values()}
    return [f"{name} has no __init__.py" for name in sorted(packages) if name not in modules]


def undeclared_imports(modules: dict[str, Module], requirements: list[str]) -> list[str]:
    """Third-party imports whose distribution is not among the requirements."""
    declared = {re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}
    return [
        f"{module.at(found.line)}: {found.target} is not a dependency in pyproject.toml"
        for module in modules.values()
        for found in third_party(module, modules, sys.stdlib_module_names)
        for name in [found.target.partition(".")[0]]
        if DISTRIBUTIONS.get(name, name).lower() not in declared
    ]


def expected_files(root: Path = ROOT) -> list[str]:
    """Paths that a wheel of the tree under `root` must have."""
    return sorted(
        "/".join([*package.split("."), *path.relative_to(root / folder).parts])
        for package, folder in FOLDERS.items()
        for path in (root / folder).rglob("*")
        if path.is_file()
        and path.suffix not in NOT_SHIPPED
        and "__pycache__" not in path.parts
        and not any(parent.is_symlink() for parent in path.parents)
    )


def wheel_faults(names: list[str], expected: list[str]) -> list[str]:
    """Files that a wheel has too many or too few, compared with the expected ones."""
    counts = Counter(name for name in names if ".dist-info/" not in name)
    faults = [f"{name} is not in the wheel" for name in expected if not counts[name]]
    faults += [f"{name} is in the wheel {n} times" for name, n in counts.items() if n > 1]
    return faults + [f"{name} should not be in the wheel" for name in sorted(counts) if name not in expected]


def setuptools_is_new_enough() -> bool:
    """Whether a wheel can be built without fetching anything."""
    try:
        return int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        return False


def test_the_package_list_is_the_tree():
    settings = project_settings()["tool"]["setuptools"]
    faults = package_list_faults(settings["packages"], read_project())
    assert not faults, "\n".join(faults)
    assert {name: settings["package-dir"][name] for name in FOLDERS} == FOLDERS


def test_every_package_has_an_init_file():
    assert packages_without_init(read_project()) == []


def test_every_third_party_import_is_declared():
    project = project_settings()["project"]
    extras = {name: extra for name, extra in project["optional-dependencies"].items() if name not in ("test", "dev")}
    faults = undeclared_imports(read_project(), sum(extras.values(), project["dependencies"]))
    assert not faults, "\n".join(faults)


def test_the_links_are_relative_and_lead_to_the_folders():
    for link in ("compiler", "runtime"):
        path = ROOT / "kgraph" / link
        if path.is_symlink():  # a checkout without links installs and runs too
            assert path.readlink() == Path("..") / link
            assert path.is_dir()


def test_the_change_log_names_the_version():
    version = project_settings()["project"]["version"]
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{version}]" in text or "## [Unreleased]" in text


@pytest.mark.skipif(not setuptools_is_new_enough(), reason="needs setuptools >= 77, as the extra 'test' installs")
def test_the_wheel_holds_every_file_once(tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for name in ("kgraph", "compiler", "runtime"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; print(build_meta.build_wheel('..'))"
    run = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    faults = wheel_faults(zipfile.ZipFile(wheel).namelist(), expected_files())
    assert not faults, "\n".join(faults)


def test_a_forgotten_package_is_reported(tmp_path: Path):
    for name in ("kgraph/__init__.py", "kgraph/ir/__init__.py", "compiler/passes/fuse.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    modules = read_project(tmp_path)
    assert package_list_faults(["kgraph", "kgraph.ir", "kgraph.ir", "kgraph.old"], modules) == [
        "kgraph.compiler.passes is missing in [tool.setuptools] packages",
        "kgraph.old is in [tool.setuptools] packages but has no folder",
        "kgraph.ir is in [tool.setuptools] packages twice",
    ]
    assert packages_without_init(modules) == ["kgraph.compiler.passes has no __init__.py"]


def test_an_undeclared_import_is_reported(tmp_path: Path):
    (tmp_path / "kgraph").mkdir()
    text = "import json\nimport numpy as np\nfrom scipy.special import erf\nimport kgraph.b"
    (tmp_path / "kgraph" / "a.py").write_text(text)
    (fault,) = undeclared_imports(read_project(tmp_path), ["numpy>=1.26", "h5py"])
    assert "a.py:3: scipy.special is not a dependency" in fault


def test_a_wheel_with_faults_is_reported():
    names = ["kgraph/__init__.py", "kgraph/ir/a.py", "kgraph/ir/a.py", "compiler/x.py", "kgraph-0.1.dist-info/RECORD"]
    assert wheel_faults(names, ["kgraph/__init__.py", "kgraph/ir/a.py", "kgraph/compiler/x.py"]) == [
        "kgraph/compiler/x.py is not in the wheel",
        "kgraph/ir/a.py is in the wheel 2 times",
        "compiler/x.py should not be in the wheel",
    ]
