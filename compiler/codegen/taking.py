"""How threads come to their parts of a kernel: each has some of its own, and takes those of others when it is done.

So a thread that is slow for a while, or away, does not keep all others waiting. It does not matter who computes which
part, as results do not depend on how a kernel is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.thread_pool import team_field
from kgraph.ir.artifact import Team

TAKE = "pool.take"

# Of its own parts that are left a thread takes five eighths at a time: of eight that is 5, 2, 1. So there are few
# calls, and while a thread is kept away there are parts that others can take.
_EIGHTHS = 5
# What was taken from a thread: the number of its parts in the lowest bits, of the turn above them.
_COUNT_BITS = 16
# One part more, both as the first one and, times 2^32, as the end.
_BOTH = 1 + (1 << 32)


def emit_take(module: Module, target: Target) -> None:
    """Write `i64 @pool.take(ptr team, i64 tid, i64 turn, i64 least)`: parts of the kernel number `turn` that the
    team shares, first + (end << 32); 0 if none are left.

    A thread gets its own parts and then those of others, of both at least `least` at a time.
    """
    params = [("ptr", "team"), ("i64", "tid"), ("i64", "turn"), ("i64", "least")]
    f = Function(module, TAKE, params, attributes=target.outer_attributes(), returns="i64")
    threads = f.load("i64", team_field(f, Team.THREADS), 8)
    with f.loop("0", threads) as away:
        owner = f.add("%tid", away.index)
        over = f.binary("icmp uge", "i64", owner, threads)
        owner = f.binary("sub", "i64", owner, f.select("i1", over, "i64", threads, "0"))
        parts = _take_from(f, owner, f.binary("icmp eq", "i64", away.index, "0"))
        found, following = f.label("found"), f.label("following")
        f.branch_if(f.binary("icmp ne", "i64", parts, "0"), found, following)
        f.start_block(found)
        f.line(f"ret i64 {f.add(parts, f.mul(owner, str(Team.PARTS * _BOTH)))}")
        f.start_block(following)
    f.finish("i64 0")


def _take_from(f: Function, owner: str, own: str) -> str:
    """Take parts of one thread; the result is the first one and, times 2^32, the end; 0 if none are left."""
    word = f.gep("i64", _turn(f, owner), str(Team.TAKEN))
    before = f.assign(f"load atomic i64, ptr {word} seq_cst, align 8")
    start, look, some, done = (f.label(hint) for hint in ("start", "look", "some", "done"))
    f.branch(start)
    f.start_block(start)
    f.branch(look)
    f.start_block(look)
    old, now = f.fresh("old"), f.fresh("now")
    f.line(f"{old} = phi i64 [ {before}, %{start} ], [ {now}, %{some} ]")
    turn = f.binary("lshr", "i64", old, str(_COUNT_BITS))
    taken = f.binary("and", "i64", old, str((1 << _COUNT_BITS) - 1))
    first = f.select("i1", f.binary("icmp ult", "i64", turn, "%turn"), "i64", "0", taken)
    past = f.binary("icmp ugt", "i64", turn, "%turn")  # its owner goes on when all parts were taken
    left = f.select("i1", past, "i64", "0", f.binary("sub", "i64", str(Team.PARTS), first))
    f.branch_if(f.binary("icmp eq", "i64", left, "0"), done, some)
    f.start_block(some)
    many = f.binary("lshr", "i64", f.add(f.mul(left, str(_EIGHTHS)), "7"), "3")
    count = f.intrinsic("smax", "i64", "%least", f.select("i1", own, "i64", many, "1"))
    end = f.add(first, f.intrinsic("smin", "i64", count, left))
    new = f.add(f.binary("shl", "i64", "%turn", str(_COUNT_BITS)), end)
    result = f.assign(f"cmpxchg ptr {word}, i64 {old}, i64 {new} seq_cst seq_cst, align 8")
    f.line(f"{now} = extractvalue {{ i64, i1 }} {result}, 0")
    parts = f.add(first, f.binary("shl", "i64", end, "32"))
    f.branch_if(f.assign(f"extractvalue {{ i64, i1 }} {result}, 1"), done, look)
    f.start_block(done)
    return f.assign(f"phi i64 [ 0, %{look} ], [ {parts}, %{some} ]")


def _turn(f: Function, thread: str) -> str:
    """Address of the first of a thread's fields."""
    return team_field(f, f.add(f.mul(thread, str(Team.turn(1) - Team.turn(0))), str(Team.turn(0))))


@contextmanager
def parts_of_turn(f: Function, shared: str, threads: str, least: str) -> Iterator[tuple[str, str, str]]:
    """Write a body that computes some parts of a kernel; it runs for all that this thread gets.

    The function has %team and %tid. Where the i1 `shared` is not set, the body runs once, for part 0 of 1.

    Yields:
        Registers of the first part, of the end, and of the number of parts.
    """
    start, take, run, done = (f.label(hint) for hint in ("start", "take", "run", "done"))
    f.branch(start)
    f.start_block(start)
    own = _turn(f, "%tid")
    number = f.add(f.load("i64", own, 8), "1")
    all_parts = f.mul(threads, str(Team.PARTS))
    f.branch_if(shared, take, run)
    f.start_block(take)
    f.store("i64", number, own, 8)
    taken = f.assign(f"call i64 @{TAKE}(ptr %team, i64 %tid, i64 {number}, i64 {least})")
    f.branch_if(f.binary("icmp eq", "i64", taken, "0"), done, run)
    f.start_block(run)
    some = f.assign(f"phi i64 [ {1 << 32}, %{start} ], [ {taken}, %{take} ]")
    parts = f.assign(f"phi i64 [ 1, %{start} ], [ {all_parts}, %{take} ]")
    yield f.binary("and", "i64", some, str((1 << 32) - 1)), f.binary("lshr", "i64", some, "32"), parts
    f.branch_if(shared, take, done)
    f.start_block(done)
