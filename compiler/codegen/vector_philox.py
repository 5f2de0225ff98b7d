"""Philox2x32-10 random words on the lanes of a vector."""

from __future__ import annotations

from kgraph.compiler.codegen.emitter import Function, lanes_of, splat, vector_of
from kgraph.ir.philox import MULTIPLIER, ROUNDS, WEYL


def philox(f: Function, ty: str, low: str, high: str, key: str, *, fma: bool = False) -> str:
    """First output word for counters (low, high) and keys, all of the integer type `ty`: i32 or a vector of i32.

    Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011). The words are kept in lanes of
    64 bits, whose upper halves may hold anything: multiplications look at the lower halves only, so the masks cost
    nothing, and no lanes are shuffled between the rounds. The rounds are a loop: written out, they made the kernels of
    dropout the largest of a program, and LLVM slow; the step is as fast. `fma` is there because all vector math takes
    it; nothing depends on it.
    """
    wide = vector_of("i64", lanes_of(ty))
    words = [(wide, f.cast("zext", ty, word, wide)) for word in (low, high, key)]
    with f.loop("0", str(ROUNDS), carried=words) as rounds:
        low, high, key = rounds.carried
        lower = f.binary("and", wide, low, splat(wide, str(2**32 - 1)))
        product = f.binary("mul", wide, lower, splat(wide, str(MULTIPLIER)))
        upper = f.binary("lshr", wide, product, splat(wide, "32"))
        mixed = f.binary("xor", wide, f.binary("xor", wide, upper, key), high)
        rounds.next = [mixed, product, f.binary("add", wide, key, splat(wide, str(WEYL)))]
    return f.cast("trunc", wide, rounds.results[0], ty)
