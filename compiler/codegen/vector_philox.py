"""Philox2x32-10 random words on the lanes of a vector."""

from __future__ import annotations

from kgraph.compiler.codegen.emitter import Function, lanes_of, splat, vector_of
from kgraph.ir.philox import MULTIPLIER, ROUNDS, WEYL


def philox(f: Function, ty: str, low: str, high: str, key: str, *, fma: bool = False) -> str:
    """First output word for counters (low, high) and keys, all of the integer type `ty`: i32 or a vector of i32.

    Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011). The words are kept in lanes of
    64 bits, whose upper halves may hold anything: multiplications look at the lower halves only, so the masks cost
    nothing, and no lanes are shuffled between the rounds. `fma` is there because all vector math takes it; nothing
    depends on it.
    """
    wide = vector_of("i64", lanes_of(ty))
    low, high, key = (f.cast("zext", ty, word, wide) for word in (low, high, key))
    for step in range(ROUNDS):
        round_key = f.binary("add", wide, key, splat(wide, str(step * WEYL % 2**32))) if step else key
        lower = f.binary("and", wide, low, splat(wide, str(2**32 - 1)))
        product = f.binary("mul", wide, lower, splat(wide, str(MULTIPLIER)))
        upper = f.binary("lshr", wide, product, splat(wide, "32"))
        low, high = f.binary("xor", wide, f.binary("xor", wide, upper, round_key), high), product
    return f.cast("trunc", wide, low, ty)
