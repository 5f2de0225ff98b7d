"""`record` makes of a class what `dataclass(frozen=True)` makes of it."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any

import pytest

from kgraph.record import record


def _plain() -> type[Any]:
    class Plain:
        """A class."""

        kind = "no field"
        x: int
        y: str = "y"
        z: dict[str, int] = dataclasses.field(default_factory=dict)

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("negative")

    return Plain


@record
class Point:
    """A record at the top of a module, as pickle needs it."""

    x: int
    y: float = 0.5


@record(eq=False)
class Apart:
    """Equal to nothing but itself."""

    x: int


@record
class Further(Point):
    """One field more."""

    z: int = 1


@record(kw_only=True)
class Named(Further):
    """Its own field is given by name, so it needs no default."""

    w: int


@record
class Shown:
    """Has its own text."""

    x: int

    def __repr__(self) -> str:
        return "shown"


def test_a_class_with_its_own_init_may_stand_on_a_record_of_which_there_is_no_object_yet():
    @record
    class Pair:
        x: int
        y: int

    class Square(Pair):
        def __init__(self, side: int) -> None:
            super().__init__(side, side)

    assert list(inspect.signature(Square).parameters) == ["side"]
    assert vars(Square(3)) == {"x": 3, "y": 3}
    assert list(inspect.signature(Pair).parameters) == ["x", "y"]


def test_a_record_is_what_dataclass_makes():
    ours, theirs = record(_plain()), dataclasses.dataclass(frozen=True)(_plain())
    assert inspect.signature(ours).parameters.keys() == inspect.signature(theirs).parameters.keys()
    for arguments in [(1,), (1, "b"), (2, "c", {"k": 1})]:
        one, other = ours(*arguments), theirs(*arguments)
        assert vars(one) == vars(other)
        assert repr(one) == repr(other)
        assert dataclasses.asdict(one) == dataclasses.asdict(other)
        assert one == ours(*arguments)
        assert one != other
        assert one != dataclasses.replace(one, x=9)
        assert dataclasses.replace(one, x=9) == ours(9, *arguments[1:])
    assert [f.name for f in dataclasses.fields(ours)] == ["x", "y", "z"]
    assert ours.__match_args__ == theirs.__match_args__


def test_default_factories_are_called_for_each_record():
    made = record(_plain())
    assert made(1).z is not made(1).z


def test_checks_after_init_run():
    with pytest.raises(ValueError, match="negative"):
        record(_plain())(-1)


@pytest.mark.parametrize("arguments", [(), (1, 2.0, 3)])
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...]):
    with pytest.raises(TypeError, match="__init__"):
        Point(*arguments)


def test_fields_do_not_change():
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    assert point.x == 1


def test_equal_records_have_equal_hashes_and_others_differ():
    assert len({Point(1), Point(1, 0.5), Point(2), Further(1), Further(1, 0.5, 2)}) == 4
    assert Point(1) != Further(1)
    assert Point(1) != (1, 0.5)
    assert hash(Point(1)) == hash(dataclasses.replace(Point(3), x=1))


def test_without_eq_each_record_is_one_of_its_own():
    one = Apart(1)
    assert one != Apart(1)
    assert len({one, Apart(1), one}) == 2


def test_inherited_fields_come_first():
    assert repr(Further(1, 2.0, 3)) == "Further(x=1, y=2.0, z=3)"


def test_fields_by_name_follow_the_others():
    assert repr(Named(1, 2.0, w=4)) == "Named(x=1, y=2.0, z=1, w=4)"
    assert vars(dataclasses.replace(Named(1, w=4), w=5)) == {"x": 1, "y": 0.5, "z": 1, "w": 5}
    with pytest.raises(TypeError, match="__init__"):
        Named(1, 2.0, 3, 4)


def test_a_text_of_its_own_is_kept():
    assert repr(Shown(1)) == "shown"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_records_can_be_copied(copied: Any):
    assert copied(Further(1, 2.0, 3)) == Further(1, 2.0, 3)
