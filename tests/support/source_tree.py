"""Reads the project's own source without importing it: modules, what they import, where."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Folder of each import name; kgraph/compiler and kgraph/runtime are links to the other two and are not followed.
FOLDERS = {"kgraph": "kgraph", "kgraph.compiler": "compiler", "kgraph.runtime": "runtime"}


@dataclass(frozen=True)
class Import:
    """One name that a module imports.

    Attributes:
        target: the full module name as far as it is known: `from a.b import c` gives "a.b.c" if that is a module of the
            tree, else "a.b".
        statement: the source, for messages.
        line: line number.
        late: the import stands inside a function.
        relative: the import starts with a dot.
    """

    target: str
    statement: str
    line: int
    late: bool
    relative: bool


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: Path
    tree: ast.Module
    lines: int
    is_package: bool

    def at(self, line: int) -> str:
        """A place in this file, as messages show it."""
        return f"{self.path}:{line}"

    @property
    def package(self) -> str:
        """The package this module stands in; a package stands in itself."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


def read_project(root: Path = ROOT) -> dict[str, Module]:
    """Every module of the three source folders under `root`, by its import name."""
    modules: dict[str, Module] = {}
    for name, folder in FOLDERS.items():
        modules |= read_folder(root / folder, name)
    return modules


def read_folder(folder: Path, name: str = "") -> dict[str, Module]:
    """Every module under `folder`, whose import name is `name`; links are not followed."""
    modules = {}
    for path in source_files(folder):
        parts = [*filter(None, [name]), *path.relative_to(folder).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        full = ".".join(parts[:-1] if is_package else parts)
        text = path.read_text("utf-8")
        modules[full] = Module(full, path, ast.parse(text, str(path)), text.count("\n") + 1, is_package)
    return modules


def source_files(folder: Path) -> list[Path]:
    """The Python files under `folder`; links and hidden folders are left out."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_symlink() or path.name.startswith("."):
            continue
        if path.is_dir():
            found += source_files(path)
        elif path.suffix == ".py":
            found.append(path)
    return found


def imports(module: Module, known: dict[str, Module]) -> list[Import]:
    """Everything that `module` imports, also inside functions and under TYPE_CHECKING."""
    return [
        Import(target, ast.unparse(node), node.lineno, late, isinstance(node, ast.ImportFrom) and node.level > 0)
        for node, late in _import_nodes(module.tree, late=False)
        for target in _targets(node, module, known)
    ]


def third_party(module: Module, known: dict[str, Module], standard: frozenset[str]) -> list[Import]:
    """The imports of `module` that are neither the project's nor of the standard library."""
    return [i for i in imports(module, known) if i.target.partition(".")[0] not in standard | {"kgraph"}]


def project_settings(root: Path = ROOT) -> dict[str, dict]:
    """pyproject.toml as a dictionary."""
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


def _import_nodes(node: ast.AST, late: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, late
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _import_nodes(child, late or inside)


def _targets(node: ast.Import | ast.ImportFrom, module: Module, known: dict[str, Module]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        parents = module.package.split(".")
        base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
    full = [f"{base}.{alias.name}" for alias in node.names]
    return list(dict.fromkeys(name if name in known else base for name in full))
