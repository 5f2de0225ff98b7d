"""Object code is loaded, found by symbol, and leaves memory when dropped."""

from __future__ import annotations

import ctypes
import gc
import platform
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import kgraph.runtime.loader as loader
from kgraph.compiler.codegen.emit import to_object
from kgraph.compiler.codegen.target import named
from kgraph.errors import InternalError, StateError
from kgraph.runtime.elf import link
from kgraph.runtime.loader import LoadedCode, check_target, load

ELF = (sys.platform, platform.machine()) == ("linux", "x86_64")
ENTRY = """
define void @entry(ptr %number, ptr %unused) {
  %size = load i64, ptr %number
  %more = add i64 %size, 1
  store i64 %more, ptr %number
  ret void
}
"""
# A file that uses the other one in every way that code of this kind can: calls, addresses in data, data by address.
USER = """
@zeros = internal global [5000 x i8] zeroinitializer, align 64
@count = internal global i64 7, align 64
@table = internal constant { ptr, ptr, ptr } { ptr @helper, ptr @factor, ptr @own }
@factor = external constant i64
declare void @helper(ptr, ptr)
declare ptr @memset(ptr, i32, i64)
declare double @fmod(double, double)

define internal void @own(ptr %number) {
  %old = load i64, ptr %number
  %new = add i64 %old, 100
  store i64 %new, ptr %number
  ret void
}

define void @entry(ptr %number, ptr %unused) {
  call void @helper(ptr %number, ptr @count)
  %first = load ptr, ptr @table
  call void %first(ptr %number, ptr @count)
  %third.at = getelementptr ptr, ptr @table, i64 2
  %third = load ptr, ptr %third.at
  call void %third(ptr %number)
  %second.at = getelementptr ptr, ptr @table, i64 1
  %second = load ptr, ptr %second.at
  %factor = load i64, ptr %second
  %again = load i64, ptr @factor
  %old = load i64, ptr %number
  %product = mul i64 %old, %factor
  %sum = add i64 %product, %again
  %filled = call ptr @memset(ptr @zeros, i32 1, i64 4999)
  %last.at = getelementptr i8, ptr @zeros, i64 4999
  %last = load i8, ptr %last.at
  %wide = zext i8 %last to i64
  %rest = call double @fmod(double 7.5, double 2.0)
  %scaled = fmul double %rest, 2.0
  %odd = fptosi double %scaled to i64
  %a = add i64 %sum, %wide
  %b = add i64 %a, %odd
  store i64 %b, ptr %number
  ret void
}
"""
HELPER = """
@factor = constant i64 1000, align 64

define void @helper(ptr %number, ptr %count) {
  %more = load i64, ptr %count
  %old = load i64, ptr %number
  %new = add i64 %old, %more
  store i64 %new, ptr %number
  %next = add i64 %more, 1
  store i64 %next, ptr %count
  ret void
}
"""


def object_code(text: str = ENTRY) -> bytes:
    """Machine code for this machine."""
    target = named("host")
    return to_object(f'target triple = "{target.triple}"\n{text}', target)


def called(code: LoadedCode, number: int) -> int:
    """What the entry point makes of a number."""
    cell = ctypes.c_int64(number)
    code.function("entry")(ctypes.addressof(cell), None)
    return cell.value


Load = Callable[[Sequence[bytes], Sequence[str]], LoadedCode]


@pytest.fixture(params=["elf", "llvm"])
def by(request: pytest.FixtureRequest) -> Load:
    """Both ways of loading."""
    if request.param == "llvm":
        return loader._load_by_llvm
    if not ELF:
        pytest.skip("needs Linux on x86-64")
    return loader._load_elf


def test_an_entry_point_runs_and_keeps_its_code(by: Load):
    number = ctypes.c_int64(41)
    function = by([object_code()], ["entry"]).function("entry")
    gc.collect()
    function(ctypes.addressof(number), None)
    assert number.value == 42


def test_the_same_object_can_be_loaded_twice(by: Load):
    code = object_code()
    first, second = by([code], ["entry"]), by([code], ["entry"])
    assert first.address("entry") != second.address("entry")


def test_files_use_each_other_and_the_c_library(by: Load):
    """(5 + 7 + 8 + 100) * 1000 + 1000 + last byte of zeros + 2 * fmod(7.5, 2)."""
    code = by([object_code(USER), object_code(HELPER)], ["entry"])
    assert called(code, 5) == 121_003
    assert called(code, 0) == (9 + 10 + 100) * 1000 + 1003


def mapping(address: int) -> str:
    """Rights of the memory that an address is in; empty if there is none."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, _, end = line.split()[0].partition("-")
        if int(first, 16) <= address < int(end, 16):
            return line.split()[1]
    return ""


@pytest.mark.skipif(not ELF, reason="needs Linux on x86-64")
def test_code_cannot_be_written_and_leaves_memory_when_dropped():
    user, helper = object_code(USER.replace("internal global", "global")), object_code(HELPER)
    first = link(helper, {})
    second = link(user, first.symbols)
    assert mapping(second.symbols["entry"]) == "r-xp"
    assert mapping(second.symbols["count"]) == mapping(second.symbols["zeros"]) == "rw-p"
    assert mapping(first.symbols["factor"]) == "r--p"
    assert second.symbols["zeros"] % 64 == second.symbols["count"] % 64 == 0
    address = second.symbols["entry"]
    del second
    gc.collect()
    assert "x" not in mapping(address)


def test_code_in_llvms_hands_leaves_memory_when_dropped():
    loaded = loader._load_by_llvm([object_code()], ["entry"])
    assert "x" in mapping(loaded.address("entry")) or not ELF
    address = loaded.address("entry")
    del loaded
    gc.collect()
    assert "x" not in mapping(address) or not ELF


@pytest.mark.parametrize(("code", "symbols"), (
    (b"no object file", ["entry"]),
    (b"", ["entry"]),
    (None, ["other"]),
))  # fmt: skip
def test_what_cannot_be_loaded_is_refused(code: bytes | None, symbols: list[str], by: Load):
    with pytest.raises(InternalError, match="cannot be loaded"):
        by([object_code() if code is None else code], symbols)


def test_a_symbol_that_nobody_has_is_an_error(by: Load):
    text = "declare void @nobody_has_this()\ndefine void @entry() {\n  call void @nobody_has_this()\n  ret void\n}\n"
    with pytest.raises(InternalError, match=r"nobody_has_this|Failed to materialize symbols"):
        by([object_code(text)], ["entry"])


@pytest.mark.skipif(not ELF, reason="needs Linux on x86-64")
def test_damaged_files_are_refused_or_linked_but_harm_nothing():
    """Linking writes nowhere but into its own memory, whatever the file says."""
    whole = object_code(USER)
    helper = link(object_code(HELPER), {})
    for end in range(0, len(whole), 40):
        with pytest.raises(InternalError, match="cannot be loaded"):
            link(whole[:end], helper.symbols)
    draw = random.Random(1)
    refused = 0
    for _ in range(1500):
        code = bytearray(whole)
        for _ in range(3):
            code[draw.randrange(len(code))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        try:
            link(bytes(code), helper.symbols)
        except InternalError:
            refused += 1
    assert 100 < refused < 1500


@pytest.mark.skipif(not ELF, reason="needs Linux on x86-64")
def test_code_of_another_machine_is_refused():
    target = named("aarch64")
    code = to_object(f'target triple = "{target.triple}"\n{ENTRY}', target)
    with pytest.raises(InternalError, match="not relocatable x86-64 code"):
        link(code, {})


def test_an_unknown_symbol_names_the_known_ones():
    with pytest.raises(InternalError, match="expected one of entry, received other"):
        load([object_code()], ["entry"]).address("other")


def test_code_for_this_machine_may_run():
    target = named("host")
    check_target(f"{target.triple} {target.features}")
    check_target(target.triple)


def test_code_for_another_machine_is_refused_before_it_runs():
    target = named("x86-64" if named("host").isa == "neon" else "aarch64")
    with pytest.raises(StateError, match=r"^native code: expected code for \w+, received code for \w+\. .*unset.*$"):
        check_target(f"{target.triple} {target.features}")


def test_features_that_this_machine_lacks_are_named():
    target = named("host")
    with pytest.raises(StateError, match=r"received code that needs antigravity, warp\."):
        check_target(f"{target.triple} {target.features},-later,+antigravity,+warp")
