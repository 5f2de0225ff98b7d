"""The one place of the compiler that imports llvmlite: importing kgraph must not load LLVM."""

from __future__ import annotations

import functools
from types import ModuleType


@functools.cache
def llvm() -> ModuleType:
    """`llvmlite.binding`, with all targets ready; loaded at the first compilation."""
    import llvmlite.binding as binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    # Indices are written out of the loops already. Measured: without LLVM's own pass for that, compiling takes 30 %
    # less and the code is smaller and no slower. The setting is LLVM's, for the whole process.
    binding.set_option("kgraph", "-disable-lsr")
    return binding
