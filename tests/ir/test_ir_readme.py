"""The texts shown in the README of the IR are canonical and pass the verifiers."""

from __future__ import annotations

import re
from pathlib import Path

import kgraph.ir
from kgraph.ir.parser import parse, parse_kernel
from kgraph.ir.printer import kernel_to_text, to_text
from kgraph.ir.verify import verify, verify_kernel
from kgraph.primitives import REGISTRY

README = (Path(kgraph.ir.__file__).parent / "README.md").read_text("utf-8")
TEXTS = [block for block in re.findall(r"```\n(.*?)```", README, re.DOTALL) if block.startswith(("graph", "kernel"))]


def test_the_texts_of_the_readme_are_canonical():
    graph, kernel = TEXTS
    verify(parse(graph, REGISTRY))
    assert to_text(parse(graph, REGISTRY)) == graph
    verify_kernel(parse_kernel(kernel))
    assert kernel_to_text(parse_kernel(kernel)) == kernel
