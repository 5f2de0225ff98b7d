"""Object code is loaded, found by symbol, and leaves memory when dropped."""

from __future__ import annotations

import ctypes
import gc
import weakref

import pytest

from kgraph.compiler.codegen.emit import to_object
from kgraph.compiler.codegen.target import named
from kgraph.errors import InternalError, StateError
from kgraph.runtime.loader import check_target, load

TEXT = """
define void @entry(ptr %table, ptr %sizes) {
  %size = load i64, ptr %sizes
  %more = add i64 %size, 1
  store i64 %more, ptr %sizes
  ret void
}
"""


def object_code() -> bytes:
    target = named("host")
    return to_object(f'target triple = "{target.triple}"\n{TEXT}', target)


def test_an_entry_point_runs_and_keeps_its_code():
    number = ctypes.c_int64(41)
    function = load([object_code()], ["entry"]).function("entry")
    gc.collect()
    function(None, ctypes.addressof(number))
    assert number.value == 42


def test_the_same_object_can_be_loaded_twice():
    code = object_code()
    first, second = load([code], ["entry"]), load([code], ["entry"])
    assert first.address("entry") != second.address("entry")


def test_code_leaves_memory_when_dropped():
    loaded = load([object_code()], ["entry"])
    tracker = weakref.ref(loaded._tracker)
    del loaded
    gc.collect()
    assert tracker() is None


@pytest.mark.parametrize(("code", "symbols", "words"), (
    (b"no object file", ["entry"], "cannot be loaded"),
    (None, ["other"], "cannot be loaded"),
))  # fmt: skip
def test_what_cannot_be_loaded_is_refused(code, symbols, words):
    with pytest.raises(InternalError, match=words):
        load([code or object_code()], symbols)


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
