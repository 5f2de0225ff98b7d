"""The threads' side of a program: workers that wait for work, a barrier, and the call that starts them all.

All functions share a `Team` (see `kgraph.ir.artifact`). Who waits first spins for a bounded time, then sleeps in the
kernel (futex), so that a barrier costs a fraction of a microsecond while all threads run and no time at all while
they do not.
"""

from __future__ import annotations

from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.target import Target
from kgraph.ir.artifact import Artifact, Team

# Arguments of the system call: FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE, and all sleepers.
_WAIT, _WAKE, _ALL = 128, 129, 0x7FFFFFFF
_X86_FUTEX, _ARM_FUTEX = 202, 98
BARRIER = "pool.barrier"


def emit_pool(module: Module, target: Target) -> None:
    """Write the functions of the pool.

    - `void @kgraph_worker(ptr team, i64 tid)` runs in each thread but the caller's until it is given a null function.
    - `void @kgraph_dispatch(ptr team, ptr function, ptr argument)` calls `function(argument, team, tid)` in all
      threads, 0 being the calling one, and returns when all have returned.
    - `void @pool.barrier(ptr team)` for such a function: nobody passes before all have arrived.
    """
    _emit_wait(module, target)
    _emit_wake(module, target)
    _emit_barrier(module, target)
    _emit_worker(module, target)
    _emit_dispatch(module, target)


def _function(
    module: Module, target: Target, name: str, params: list[tuple[str, str]], linkage: str = "internal"
) -> Function:
    return Function(module, name, params, attributes=target.outer_attributes(), linkage=linkage)


def team_field(f: Function, field: int | str) -> str:
    """Address of a field of the team, which is %team."""
    return f.gep("i64", "%team", str(field))


def _word(f: Function, address: str) -> str:
    return f.assign(f"load atomic i32, ptr {address} seq_cst, align 4")


def _emit_wait(module: Module, target: Target) -> None:
    """`void @pool.wait(ptr team, ptr word, i32 old)`: return when the word is not `old`.

    The spinning is bounded by the time-stamp counter; on ARM, where LLVM offers no counter that programs may read, by
    the number of rounds.
    """
    f = _function(module, target, "pool.wait", [("ptr", "team"), ("ptr", "word"), ("i32", "old")])
    limit = f.load("i64", team_field(f, Team.SPIN), 8)
    head, again, sleep, doze, done = (f.label(hint) for hint in ("spin", "again", "sleep", "doze", "done"))
    started = _clock(f) if target.is_x86 else ""
    f.branch(head)
    f.start_block(head)
    rounds, more = f.fresh("rounds"), f.fresh("more")
    f.line(f"{rounds} = phi i64 [ 0, %entry ], [ {more}, %{again} ]")
    f.branch_if(f.binary("icmp ne", "i32", _word(f, "%word"), "%old"), done, again)
    f.start_block(again)
    _relax(f, target)
    f.line(f"{more} = add i64 {rounds}, 1")
    passed = f.binary("sub", "i64", _clock(f), started) if target.is_x86 else more
    f.branch_if(f.binary("icmp ult", "i64", passed, limit), head, sleep)
    f.start_block(sleep)
    sleepers = team_field(f, Team.SLEEPERS)
    f.assign(f"atomicrmw add ptr {sleepers}, i32 1 seq_cst")
    f.assign(f"atomicrmw add ptr {team_field(f, Team.SLEEPS)}, i64 1 monotonic")
    _futex(f, target, "%word", _WAIT, "%old")
    f.assign(f"atomicrmw sub ptr {sleepers}, i32 1 seq_cst")
    f.branch_if(f.binary("icmp ne", "i32", _word(f, "%word"), "%old"), done, doze)
    f.start_block(doze)
    f.branch(sleep)
    f.start_block(done)
    f.finish()


def _clock(f: Function) -> str:
    """The time-stamp counter, which runs at a fixed rate."""
    f.module.declare("llvm.readcyclecounter", "i64 @llvm.readcyclecounter()")
    return f.assign("call i64 @llvm.readcyclecounter()")


def _relax(f: Function, target: Target) -> None:
    """Let the other hardware thread of the core run."""
    if target.is_x86:
        f.module.declare("llvm.x86.sse2.pause", "void @llvm.x86.sse2.pause()")
        f.line("call void @llvm.x86.sse2.pause()")
    else:
        f.module.declare("llvm.aarch64.hint", "void @llvm.aarch64.hint(i32)")
        f.line("call void @llvm.aarch64.hint(i32 1)")  # yield


def _futex(f: Function, target: Target, word: str, operation: int, value: str) -> None:
    """Call the C library's `syscall`, whose address the team has."""
    number = _X86_FUTEX if target.is_x86 else _ARM_FUTEX
    syscall = f.load("ptr", team_field(f, Team.SYSCALL), 8)
    wide = f.cast("zext", "i32", value, "i64") if value.startswith("%") else value
    args = f"i64 {number}, ptr {word}, i64 {operation}, i64 {wide}, ptr null, ptr null, i64 0"
    f.assign(f"call i64 (i64, ...) {syscall}({args})")


def _emit_wake(module: Module, target: Target) -> None:
    """`void @pool.wake(ptr team, ptr word)`: after the word was changed, wake those who sleep on it."""
    f = _function(module, target, "pool.wake", [("ptr", "team"), ("ptr", "word")])
    sleepers = _word(f, team_field(f, Team.SLEEPERS))
    with f.when(f.binary("icmp sgt", "i32", sleepers, "0")):
        _futex(f, target, "%word", _WAKE, str(_ALL))
    f.finish()


def _emit_barrier(module: Module, target: Target) -> None:
    f = _function(module, target, BARRIER, [("ptr", "team")])
    threads = f.cast("trunc", "i64", f.load("i64", team_field(f, Team.THREADS), 8), "i32")
    with f.when(f.binary("icmp sgt", "i32", threads, "1")):
        phase, arrived = team_field(f, Team.PHASE), team_field(f, Team.ARRIVED)
        old = _word(f, phase)
        before = f.assign(f"atomicrmw add ptr {arrived}, i32 1 seq_cst")
        last = f.binary("icmp eq", "i32", f.binary("add", "i32", before, "1"), threads)
        with f.when(last):
            f.line(f"store atomic i32 0, ptr {arrived} seq_cst, align 4")
            f.line(f"store atomic i32 {f.binary('add', 'i32', old, '1')}, ptr {phase} seq_cst, align 4")
            f.line(f"call void @pool.wake(ptr %team, ptr {phase})")
        with f.when(f.binary("xor", "i1", last, "true")):
            f.line(f"call void @pool.wait(ptr %team, ptr {phase}, i32 {old})")
    f.finish()


def _emit_worker(module: Module, target: Target) -> None:
    f = _function(module, target, Artifact.WORKER, [("ptr", "team"), ("i64", "tid")], "")
    generation, finished = team_field(f, Team.GENERATION), team_field(f, Team.FINISHED)
    loop, work, stop = f.label("loop"), f.label("work"), f.label("stop")
    f.branch(loop)
    f.start_block(loop)
    seen, following = f.fresh("seen"), f.fresh("following")
    f.line(f"{seen} = phi i32 [ 0, %entry ], [ {following}, %{work} ]")
    f.line(f"call void @pool.wait(ptr %team, ptr {generation}, i32 {seen})")
    f.line(f"{following} = add i32 {seen}, 1")
    function = f.load("ptr", team_field(f, Team.FUNCTION), 8)
    f.branch_if(f.binary("icmp eq", "ptr", function, "null"), stop, work)
    f.start_block(work)
    f.line(f"call void {function}(ptr {f.load('ptr', team_field(f, Team.ARGUMENT), 8)}, ptr %team, i64 %tid)")
    f.assign(f"atomicrmw add ptr {finished}, i32 1 seq_cst")
    f.line(f"call void @pool.wake(ptr %team, ptr {finished})")
    f.branch(loop)
    f.start_block(stop)
    f.finish()


def _emit_dispatch(module: Module, target: Target) -> None:
    params = [("ptr", "team"), ("ptr", "function"), ("ptr", "argument")]
    f = _function(module, target, Artifact.DISPATCH, params, "")
    generation, finished = team_field(f, Team.GENERATION), team_field(f, Team.FINISHED)
    f.store("ptr", "%function", team_field(f, Team.FUNCTION), 8)
    f.store("ptr", "%argument", team_field(f, Team.ARGUMENT), 8)
    f.line(f"store atomic i32 0, ptr {finished} seq_cst, align 4")
    f.assign(f"atomicrmw add ptr {generation}, i32 1 seq_cst")
    f.line(f"call void @pool.wake(ptr %team, ptr {generation})")
    run, wait, check, done = (f.label(hint) for hint in ("run", "wait", "check", "done"))
    f.branch_if(f.binary("icmp eq", "ptr", "%function", "null"), done, run)
    f.start_block(run)
    f.line("call void %function(ptr %argument, ptr %team, i64 0)")
    threads = f.cast("trunc", "i64", f.load("i64", team_field(f, Team.THREADS), 8), "i32")
    others = f.binary("sub", "i32", threads, "1")
    f.branch(check)
    f.start_block(check)
    now = _word(f, finished)
    f.branch_if(f.binary("icmp eq", "i32", now, others), done, wait)
    f.start_block(wait)
    f.line(f"call void @pool.wait(ptr %team, ptr {finished}, i32 {now})")
    f.branch(check)
    f.start_block(done)
    f.finish()
