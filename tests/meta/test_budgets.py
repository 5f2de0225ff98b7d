"""Budgets of the source: lengths, docstrings, file names, nothing left to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from source_tree import ROOT, Module, read_folder, read_project

FILE_LINES = 600
FUNCTION_LINES = 60

# Functions that may be longer, with their budget: "module.function" -> lines. Meant to stay empty.
LONGER: dict[str, int] = {}

FORBIDDEN_FILES = {"utils", "util", "helpers", "helper", "misc", "common"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Check = Callable[[dict[str, Module]], list[str]]


def long_files(modules: dict[str, Module]) -> list[str]:
    """Files over the limit."""
    return [f"{m.path}: {m.lines} lines, limit {FILE_LINES}" for m in modules.values() if m.lines > FILE_LINES]


def long_functions(modules: dict[str, Module]) -> list[str]:
    """Functions over the limit, counted from `def` to the last line."""
    faults = []
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, Function):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                limit = LONGER.get(f"{module.name}.{node.name}", FUNCTION_LINES)
                if lines > limit:
                    faults.append(f"{module.at(node.lineno)}: {node.name} has {lines} lines, limit {limit}")
    return faults


def missing_docstrings(modules: dict[str, Module]) -> list[str]:
    """Modules without a docstring, and public classes, functions and methods without one."""
    faults = []
    for module in modules.values():
        if not ast.get_docstring(module.tree):
            faults.append(f"{module.at(1)}: the module has no docstring")
        for name, node in _public(module.tree):
            if not ast.get_docstring(node):
                faults.append(f"{module.at(node.lineno)}: {name} has no docstring")
    return faults


def modules_without_docstring(modules: dict[str, Module]) -> list[str]:
    """Modules that do not say what they are for."""
    return [f"{m.at(1)}: the module has no docstring" for m in modules.values() if not ast.get_docstring(m.tree)]


def names_that_say_nothing(modules: dict[str, Module]) -> list[str]:
    """Files called utils.py and the like. A package of that name is the public Keras name `utils` and allowed."""
    return [
        f"{m.path}: name the file after its job"
        for m in modules.values()
        if not m.is_package and m.path.stem in FORBIDDEN_FILES
    ]


def unfinished_work(modules: dict[str, Module]) -> list[str]:
    """Lines that say that something is left to do."""
    return [
        f"{module.at(number)}: {line.strip()}"
        for module in modules.values()
        for number, line in enumerate(module.path.read_text("utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]


def _public(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """Public classes, functions and methods; property setters and overloads share the docstring of their name."""
    for child in _statements(node.body):
        if not isinstance(child, ast.ClassDef | Function) or child.name.startswith("_"):
            continue
        if any(ast.unparse(d).endswith((".setter", ".deleter", "overload")) for d in child.decorator_list):
            continue
        yield prefix + child.name, child
        if isinstance(child, ast.ClassDef):
            yield from _public(child, f"{prefix}{child.name}.")


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body, also those under `if` and `try`."""
    for statement in body:
        yield statement
        for part in ("body", "orelse", "handlers", "finalbody"):
            if isinstance(statement, ast.If | ast.Try):
                for inner in getattr(statement, part, []):
                    yield from _statements(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])


PACKAGE_CHECKS: list[Check] = [
    long_files,
    long_functions,
    missing_docstrings,
    names_that_say_nothing,
    unfinished_work,
]
TEST_CHECKS: list[Check] = [long_files, long_functions, modules_without_docstring, names_that_say_nothing]


@pytest.mark.parametrize("check", PACKAGE_CHECKS, ids=lambda check: check.__name__)
def test_the_package_keeps_its_budget(check: Check):
    faults = check(read_project())
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("check", TEST_CHECKS, ids=lambda check: check.__name__)
def test_the_tests_keep_their_budget(check: Check):
    modules = read_folder(ROOT / "tests", "tests")
    faults = check({name: module for name, module in modules.items() if not name.startswith("tests.golden.")})
    assert not faults, "\n".join(faults)


def test_every_exception_is_needed():
    lengths = {
        f"{module.name}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module in read_project().values()
        for node in ast.walk(module.tree)
        if isinstance(node, Function)
    }
    assert [name for name in LONGER if lengths.get(name, 0) <= FUNCTION_LINES] == []


DOC = '"""Doc."""\n'
PLANTED = [
    (long_files, "a.py", DOC + "x = 1\n" * FILE_LINES, "601 lines"),
    (long_functions, "a.py", "def f():\n" + "    x = 1\n" * FUNCTION_LINES, "f has 61 lines"),
    (long_functions, "a.py", "class A:\n    async def f():\n" + "        x = 1\n" * FUNCTION_LINES, "f has 61 lines"),
    (missing_docstrings, "a.py", "x = 1", "the module has no docstring"),
    (missing_docstrings, "__init__.py", "", "the module has no docstring"),
    (missing_docstrings, "_a.py", "", "the module has no docstring"),
    (missing_docstrings, "a.py", DOC + "def f(): ...", "f has no docstring"),
    (missing_docstrings, "a.py", DOC + f"class A:\n    {DOC}    def call(self): ...", "A.call has no docstring"),
    (missing_docstrings, "a.py", DOC + "class A:\n    class _B:\n        def f(self): ...", "A has no docstring"),
    (missing_docstrings, "a.py", DOC + "try:\n    pass\nexcept OSError:\n    def f(): ...", "f has no docstring"),
    (modules_without_docstring, "a.py", "", "the module has no docstring"),
    (names_that_say_nothing, "kgraph/layers/utils.py", DOC, "name the file after its job"),
    (unfinished_work, "a.py", DOC + "x = 1  # TODO" + ": later", "later"),
]


@pytest.mark.parametrize(("check", "name", "text", "message"), PLANTED)
def test_a_planted_fault_is_reported(check: Check, name: str, text: str, message: str, tmp_path: Path):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip("\n"))
    faults = check(read_folder(tmp_path, "planted"))
    assert len(faults) == 1
    assert message in faults[0]


def test_what_is_allowed_is_not_reported(tmp_path: Path):
    (tmp_path / "a.py").write_text(
        DOC + "def f():\n" + f"    {DOC}" + "    x = 1\n" * (FUNCTION_LINES - 2)
        + "def _f():\n    def g(): ...\nclass _A:\n    def f(self): ...\n"
        + f"class B:\n    {DOC}    def __len__(self): ...\n    @p.setter\n    def p(self, v): ...\n"
    )  # fmt: skip
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils" / "__init__.py").write_text(DOC)
    modules = read_folder(tmp_path, "planted")
    assert [fault for check in PACKAGE_CHECKS for fault in check(modules)] == []
