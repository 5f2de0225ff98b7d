"""Philox2x32-10 random words on the lanes of a vector."""

from __future__ import annotations

from kgraph.compiler.codegen.emitter import Function, lanes_of, splat, vector_of
from kgraph.ir.philox import MULTIPLIER, ROUNDS, WEYL


def philox(f: Function, ty: str, low: str, high: str, key: str, *, fma: bool = False) -> str:
    """First output word for counters (low, high) and keys, all of the integer type `ty`: i32 or a vector of i32.

    Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011). Integers wrap round, and the
    upper half of a product comes from a 64-bit product, which x86 and AArch64 have for every second lane. `fma` is
    there because all vector math takes it; nothing depends on it.
    """
    wide = vector_of("i64", lanes_of(ty))
    for step in range(ROUNDS):
        round_key = f.binary("add", ty, key, splat(ty, str(step * WEYL % 2**32))) if step else key
        product = f.binary("mul", wide, f.cast("zext", ty, low, wide), splat(wide, str(MULTIPLIER)))
        upper = f.cast("trunc", wide, f.binary("lshr", wide, product, splat(wide, "32")), ty)
        low, high = f.binary("xor", ty, f.binary("xor", ty, upper, round_key), high), f.cast("trunc", wide, product, ty)
    return low
