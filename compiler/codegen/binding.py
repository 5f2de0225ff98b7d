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
    module: ModuleType = binding
    return module


def versions() -> str:
    """Versions of llvmlite and of the LLVM inside."""
    import llvmlite

    return f"{llvmlite.__version__} {llvm().llvm_version_info}"
