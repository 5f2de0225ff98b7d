"""Symbolic sizes: one canonical form, text that reads back, arithmetic that agrees with plain integers."""

from __future__ import annotations

import numpy as np
import pytest

from kgraph.errors import ParseError, ShapeError
from kgraph.ir.dims import Dim, evaluate, exact_quotient, product, substitute, symbol, symbols_of
from kgraph.ir.lexer import Cursor

A, B = symbol("a"), symbol("b")


def read(text: str) -> Dim:
    cursor = Cursor(text)
    return cursor.whole(cursor.dim)


def random_dim(rng: np.random.Generator, depth: int = 3) -> Dim:
    """A random polynomial with floor divisions."""
    if depth == 0 or rng.random() < 0.2:
        return [A, B, int(rng.integers(-3, 7))][rng.integers(3)]
    left, right = random_dim(rng, depth - 1), random_dim(rng, depth - 1)
    match rng.integers(4):
        case 0:
            return left + right
        case 1:
            return left - right
        case 2:
            return left * right
        case _:
            return left // int(rng.integers(1, 5))


def test_equal_sizes_compare_and_hash_equal():
    assert (A + B) * (A - B) == A * A - B * B
    assert hash(A + 2 * B) == hash(B + A + B)
    assert A + 1 != A + 2


def test_known_sizes_become_integers():
    assert A - A == 0
    assert (A + 3) - A == 3
    assert A * 0 == 0
    assert (A * B) // A == B


@pytest.mark.parametrize(
    "dim, text",
    [
        (3 * A + 2, "2+3*a"),
        ((A + 1) // 2, "(1+a)//2"),
        (3 * ((A + 1) // 2), "3*((1+a)//2)"),
        (A * ((A + 1) // 2), "((1+a)//2)*a"),
        (A - B, "a-b"),
        (2 - A * B, "2-a*b"),
        (-2 * A, "-2*a"),
        (5 - (A + 1) // 2, "5-((1+a)//2)"),
        (((A + 1) // 2 + 1) // 3, "(1+(1+a)//2)//3"),
        ((4 * A + 2) // 2, "1+2*a"),
    ],
)
def test_text_is_what_python_would_compute(dim, text):
    assert str(dim) == text
    assert read(text) == dim
    for a in range(5):
        for b in range(3):
            assert evaluate(dim, {"a": a, "b": b}) == eval(text, {"a": a, "b": b})


def test_random_sizes_agree_with_integers_and_read_back(rng):
    for _ in range(300):
        dim = random_dim(rng)
        assert read(str(dim)) == dim
        sizes = {"a": int(rng.integers(0, 9)), "b": int(rng.integers(0, 9))}
        value = evaluate(dim, sizes)
        assert value == eval(str(dim), dict(sizes))
        assert substitute(dim, sizes) == value


def test_substitution_may_put_in_sizes():
    assert substitute((A + 1) // 2, {"a": 2 * B + 1}) == B + 1
    assert substitute(A * B, {"a": B}) == B * B


def test_exact_quotient_is_none_where_a_floor_is_needed():
    assert exact_quotient(12 * A, 3 * A) == 4
    assert exact_quotient(12 * A * B, 4 * B) == 3 * A
    assert exact_quotient(A + 1, 2) is None
    assert exact_quotient(A, B) is None
    assert exact_quotient(7, 2) is None


def test_symbols_are_found_inside_floor_divisions():
    assert symbols_of((A + 1) // 2 + B) == {"a", "b"}
    assert symbols_of(7) == set()


def test_product_of_no_sizes_is_one():
    assert product(()) == 1
    assert product((A, 2, B)) == 2 * A * B


@pytest.mark.parametrize("divisor", [0, -2, B])
def test_division_by_anything_but_a_positive_integer_is_refused(divisor):
    with pytest.raises(ShapeError, match="positive integer divisor"):
        _ = (A + 1) // divisor


def test_a_size_has_no_truth_value():
    with pytest.raises(TypeError, match="truth value"):
        bool(A)


@pytest.mark.parametrize("name", ["", "2x", "a b", "a-b", "%x"])
def test_names_must_be_identifiers(name):
    with pytest.raises(ShapeError, match="identifier"):
        symbol(name)


@pytest.mark.parametrize("text", ["*".join(["a"] * 20), "9" * 30, "+".join(f"s{n}" for n in range(100)), "(" * 300])
def test_reading_sizes_is_bounded(text):
    with pytest.raises(ParseError, match="line 1, column"):
        read(text)
