"""Locations: layer paths nest, user code is found, the text is short."""

from __future__ import annotations

from kgraph.ir.location import UNKNOWN, Location, current_location, layer_scope, user_location


def test_scopes_nest_and_end():
    with layer_scope("model", Location("", "train.py", 3)):
        with layer_scope("dense", Location("", "net.py", 7)):
            assert current_location() == Location("model/dense", "net.py", 7)
        with layer_scope("relu"):
            assert current_location() == Location("model/relu", "train.py", 3)
    assert current_location() is UNKNOWN


def test_the_user_is_the_nearest_caller_outside_the_package():
    found = user_location()
    assert found.file == __file__
    assert found.line > 0


def test_text_names_layer_and_file_only():
    assert str(Location("model/dense", "/somewhere/train.py", 3)) == "model/dense train.py:3"
    assert str(Location("", "train.py", 3)) == "train.py:3"
    assert str(UNKNOWN) == "unknown"
