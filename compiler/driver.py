"""What programs ask of the compiler, in one module: it is loaded when the first program needs it."""

from __future__ import annotations

from kgraph.compiler.native import NativeCode, compile_native, plan_text
from kgraph.compiler.pipeline import run
from kgraph.compiler.pipelines import EXPAND, OPTIMIZE

__all__ = ["EXPAND", "OPTIMIZE", "NativeCode", "compile_native", "plan_text", "run"]
