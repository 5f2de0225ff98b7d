"""Which passes run, in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from kgraph.compiler.passes.autodiff import autodiff
from kgraph.compiler.passes.cse import cse
from kgraph.compiler.passes.dce import dce
from kgraph.compiler.passes.dropout_mask import dropout_mask
from kgraph.compiler.passes.erase_stop_gradient import erase_stop_gradient
from kgraph.compiler.passes.fold import fold
from kgraph.compiler.passes.fuse import fuse
from kgraph.compiler.passes.pool_first import pool_first
from kgraph.compiler.passes.pool_in_convolution import pool_in_convolution
from kgraph.compiler.passes.pool_places import pool_places
from kgraph.compiler.passes.shape_inference import shape_inference
from kgraph.compiler.passes.shrink import shrink
from kgraph.compiler.passes.simplify import simplify
from kgraph.compiler.passes.split_reductions import split_reductions
from kgraph.compiler.passes.stabilize import stabilize
from kgraph.ir.graph import Graph

# A pass gives back the very same graph if there is nothing to do.
Pass: TypeAlias = "Callable[[Graph], Graph]"

# What the interpreter and native code both need: afterwards every node can run.
EXPAND: tuple[Pass, ...] = (
    stabilize,  # before autodiff: the stable losses bring their own gradients
    pool_first,  # before autodiff: then gradients of bias and activation are taken behind the pooling, too
    shrink,  # before autodiff: then the gradients are smaller, too
    autodiff,
    erase_stop_gradient,
    dce,
)

# Same results, less work.
OPTIMIZE: tuple[Pass, ...] = (
    cse,  # first: halves what the others have to look at after autodiff
    shape_inference,
    simplify,
    fold,
    simplify,  # folded numbers meet the laws
    cse,
    dropout_mask,  # after cse: the same mask, factor and result are then the same values
    dce,
    pool_places,  # last: no law looks for what these make
    pool_in_convolution,
)

# Every pass that may be asked for by name.
PASSES: tuple[Pass, ...] = (
    autodiff, cse, dce, dropout_mask, erase_stop_gradient, fold, fuse, pool_first, pool_in_convolution, pool_places,
    shape_inference, shrink,
    simplify, split_reductions, stabilize,
)  # fmt: skip
