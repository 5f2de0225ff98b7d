"""Imports point downwards only: no circles, no late imports, heavy packages in their one place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest
from source_tree import Module, imports, read_project, third_party

# Rank of each layer; a module imports its own layer and layers of a lower rank. Equal ranks are siblings: neither
# imports the other. Everything else in kgraph is the API, on top.
RANKS = {
    "kgraph.errors": 0,
    "kgraph.digest": 0,
    "kgraph.lazy_names": 0,
    "kgraph.record": 0,
    "kgraph.config": 1,
    "kgraph.ir": 2,
    "kgraph.primitives": 3,
    "kgraph.compiler": 4,
    "kgraph.runtime": 4,
}
API_RANK = 5

# The only places that may import these packages at all; a name stands for the module and everything below it.
HOMES = {
    "llvmlite": ("kgraph.compiler.codegen", "kgraph.runtime.loader"),
    "h5py": ("kgraph.saving", "kgraph.weights_h5"),
    "networkx": ("kgraph.compiler.analysis",),
    "tensorboardX": ("kgraph.callbacks.tensorboard",),
}

# (module, package) that may be imported inside a function: heavy packages, the compiler, which only models that run
# need, and what only messages and rare choices need but takes a millisecond or more to load (shutil: every compression;
# logging and concurrent.futures: each other and traceback). A name stands for the module and everything below it.
LAZY: frozenset[tuple[str, str]] = frozenset(
    {
        ("kgraph.compiler.codegen.binding", "llvmlite"),
        ("kgraph.runtime.loader", "llvmlite"),
        ("kgraph.engine", "kgraph.compiler"),
        ("kgraph.weights_h5", "h5py"),
        ("kgraph.callbacks.tensorboard", "tensorboardX"),
        ("kgraph.callbacks.records", "urllib.request"),
        ("kgraph.data.py_dataset", "kgraph.data.workers"),
        ("kgraph.ir.lexer", "difflib"),
        ("kgraph.lookup", "difflib"),
        ("kgraph.models.summary", "shutil"),
        ("kgraph.runtime.cache", "logging"),
    }
)

Check = Callable[[dict[str, Module]], list[str]]


def layer_of(name: str) -> str:
    """The layer that a module belongs to; "kgraph" for the API."""
    return next((layer for layer in RANKS if within(name, layer)), "kgraph")


def within(name: str, package: str) -> bool:
    """Whether `name` is `package` or stands below it."""
    return name == package or name.startswith(package + ".")


def upward_imports(modules: dict[str, Module]) -> list[str]:
    """Imports of a higher layer or of a sibling."""
    faults = []
    for module in modules.values():
        own = layer_of(module.name)
        for found in imports(module, modules):
            if not within(found.target, "kgraph") or found.target == "kgraph":
                continue
            other = layer_of(found.target)
            if other != own and RANKS.get(other, API_RANK) >= RANKS.get(own, API_RANK):
                faults.append(f"{module.at(found.line)}: {own} must not import {other}: {found.statement}")
    return faults


def imports_of_the_root(modules: dict[str, Module]) -> list[str]:
    """`from kgraph import X`, `import kgraph` and relative imports: the full module name is wanted."""
    return [
        f"{module.at(found.line)}: import the full module: {found.statement}"
        for module in modules.values()
        for found in imports(module, modules)
        if found.target == "kgraph" or found.relative or found.statement.startswith("from kgraph import")
    ]


def circles(modules: dict[str, Module]) -> list[str]:
    """Groups of modules that import each other, directly or not.

    Importing `a.b.c` also runs `a.b`, so that counts as imported too, unless the importer stands inside `a.b`.
    """
    graph = nx.DiGraph()
    for module in modules.values():
        for found in imports(module, modules):
            parts = found.target.split(".")
            for end in range(2, len(parts) + 1):
                target = ".".join(parts[:end])
                if target in modules and (end == len(parts) or not within(module.name, target)):
                    graph.add_edge(module.name, target)
    groups = [group for group in nx.strongly_connected_components(graph) if len(group) > 1]
    loops = [node for node in graph if graph.has_edge(node, node)]
    return [f"import circle: {', '.join(sorted(group))}" for group in [*groups, *([n] for n in loops)]]


def late_imports(modules: dict[str, Module]) -> list[str]:
    """Imports inside functions, except those that keep a heavy package lazy."""
    return [
        f"{module.at(found.line)}: import at the top of the file: {found.statement}"
        for module in modules.values()
        for found in imports(module, modules)
        if found.late and not any(module.name == home and within(found.target, lazy) for home, lazy in LAZY)
    ]


def heavy_imports_elsewhere(modules: dict[str, Module]) -> list[str]:
    """Imports of a heavy package outside its home."""
    faults = []
    for module in modules.values():
        for found in third_party(module, modules, sys.stdlib_module_names):
            package = found.target.partition(".")[0]
            homes = HOMES.get(package)
            if homes is not None and not any(within(module.name, home) for home in homes):
                faults.append(f"{module.at(found.line)}: {package} belongs in {' and '.join(homes)}: {found.statement}")
    return faults


CHECKS: list[Check] = [upward_imports, imports_of_the_root, circles, late_imports, heavy_imports_elsewhere]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_project_keeps_the_rule(check: Check):
    faults = check(read_project())
    assert not faults, "\n".join(faults)


def test_every_entry_of_the_lazy_table_is_used():
    modules = read_project()
    late = [(module.name, i.target) for module in modules.values() for i in imports(module, modules) if i.late]
    unused = {(home, lazy) for home, lazy in LAZY if not any(m == home and within(t, lazy) for m, t in late)}
    assert not unused, f"not used: {unused}"


PLANTED = [
    (
        upward_imports,
        {"kgraph/ir/graph.py": "from kgraph.primitives.math import add"},
        "kgraph.ir must not import kgraph.primitives",
    ),
    (
        upward_imports,
        {"kgraph/primitives/math.py": "import kgraph.layers.core"},
        "kgraph.primitives must not import kgraph:",
    ),
    (upward_imports, {"kgraph/errors.py": "from kgraph.config import settings"}, "must not import kgraph.config"),
    (upward_imports, {"compiler/a.py": "from kgraph.runtime.b import c"}, "must not import kgraph.runtime"),
    (upward_imports, {"runtime/b.py": "def f():\n    import kgraph.compiler.a"}, "must not import kgraph.compiler"),
    (
        upward_imports,
        {"runtime/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from kgraph.compiler import a"},
        "must not import kgraph.compiler",
    ),
    (imports_of_the_root, {"kgraph/trace.py": "from kgraph import ops"}, "full module"),
    (imports_of_the_root, {"kgraph/a.py": "from kgraph import layers", "kgraph/layers/__init__.py": ""}, "full module"),
    (imports_of_the_root, {"kgraph/trace.py": "import kgraph"}, "full module"),
    (imports_of_the_root, {"kgraph/layers/core.py": "from .base import Layer"}, "full module"),
    (circles, {"kgraph/ir/a.py": "import kgraph.ir.b", "kgraph/ir/b.py": "from kgraph.ir import a"}, "a, kgraph.ir.b"),
    (
        circles,
        {
            "kgraph/layers/__init__.py": "from kgraph.layers.core import Dense",
            "kgraph/layers/core.py": "from kgraph.models.model import Model",
            "kgraph/layers/base.py": "",
            "kgraph/models/model.py": "from kgraph.layers.base import Layer",
        },
        "kgraph.layers, kgraph.layers.core, kgraph.models.model",
    ),
    (circles, {"kgraph/ir/a.py": "import kgraph.ir.a"}, "import circle: kgraph.ir.a"),
    (late_imports, {"kgraph/trace.py": "class A:\n    def f(self):\n        import json"}, "import json"),
    (late_imports, {"kgraph/trace.py": "def f():\n    from kgraph.ir.graph import Graph"}, "top of the file"),
    (late_imports, {"kgraph/engine.py": "def f():\n    import kgraph.trace"}, "top of the file"),
    (late_imports, {"kgraph/trace.py": "def f():\n    import kgraph.compiler.driver"}, "top of the file"),
    (heavy_imports_elsewhere, {"kgraph/engine.py": "import llvmlite.binding as llvm"}, "llvmlite belongs in"),
    (heavy_imports_elsewhere, {"runtime/loader_more.py": "import llvmlite"}, "llvmlite belongs in"),
    (heavy_imports_elsewhere, {"kgraph/models/model.py": "from h5py import File"}, "h5py belongs in"),
    (heavy_imports_elsewhere, {"compiler/passes/fuse.py": "import networkx as nx"}, "networkx belongs in"),
]


@pytest.mark.parametrize(("check", "files", "message"), PLANTED)
def test_a_planted_fault_is_reported(check: Check, files: dict[str, str], message: str, tmp_path: Path):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    faults = check(read_project(tmp_path))
    assert len(faults) == 1
    assert message in faults[0]


def test_what_is_allowed_is_not_reported(tmp_path: Path):
    files = {
        "kgraph/__init__.py": "from kgraph.layers.core import Dense",
        "kgraph/errors.py": "",
        "kgraph/ir/__init__.py": "",
        "kgraph/ir/graph.py": "from kgraph.errors import KgraphError\nimport numpy as np",
        "kgraph/primitives/__init__.py": "from kgraph.primitives.math import add",
        "kgraph/primitives/math.py": "from kgraph.ir.graph import Graph",
        "kgraph/layers/core.py": "from kgraph.compiler.codegen import llvm\nfrom kgraph.primitives import math",
        "compiler/__init__.py": "",
        "compiler/codegen/llvm.py": "import llvmlite\nfrom kgraph.primitives import add",
        "runtime/loader.py": "import llvmlite.binding",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    modules = read_project(tmp_path)
    assert {name for name in modules if "compiler" in name} == {"kgraph.compiler", "kgraph.compiler.codegen.llvm"}
    assert [fault for check in CHECKS for fault in check(modules)] == []
