"""Python code in README files runs as written, and the README's commands are the ones that are checked."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
from source_tree import ROOT

from kgraph.utils import clear_session

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = (
    "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/kgraph demo",
    'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/pytest',
)
READMES = sorted(
    path for folder in ("", "kgraph/**/", "compiler/**/", "runtime/**/") for path in ROOT.glob(f"{folder}README.md")
)


def run_code_blocks(text: str, name: str) -> list[str]:
    """Run the Python blocks of a Markdown text one after the other in one namespace; return what went wrong.

    A block with `>>>` prompts is compared with the output it shows; any other block only has to run.
    """
    namespace: dict[str, object] = {"__name__": "__main__"}
    faults: list[str] = []
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        code = block.group(1)
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, namespace, name, name, line)
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            runner.run(test, out=faults.append, clear_globs=False)
            namespace = test.globs
        else:
            try:
                exec(compile("\n" * line + code, name, "exec"), namespace)
            except Exception as error:
                faults.append(f"{name}: block at line {line + 1}: {type(error).__name__}: {error}")
    return faults


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_readme_code_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    clear_session()  # layer names count from the start, as in a new process
    faults = run_code_blocks(path.read_text("utf-8"), str(path))
    assert not faults, "\n".join(faults)


def test_the_readme_states_both_commands_on_lines_of_their_own():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert [command for command in COMMANDS if command not in lines] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\n>>> 1 + 1\n3\n```", "Expected:\n    3\nGot:\n    2"),
        ("```python\nx = 1\n```\ntext\n```python\nassert x == 2, 'not two'\n```", "line 6: AssertionError: not two"),
        ("```python\n>>> x = 1\n```\n```python\nassert x == 2, 'not two'\n```", "AssertionError: not two"),
        ("```python\nimport no_such_package\n```", "no_such_package"),
    ],
)
def test_a_planted_fault_is_reported(text: str, message: str):
    faults = "\n".join(run_code_blocks(text, "planted.md"))
    assert message in faults


def test_other_languages_are_not_run():
    assert run_code_blocks("```sh\nexit 1\n```\n```\n>>> 1\n2\n```", "planted.md") == []
