"""Masks of dropout read off its result."""

import numpy as np
from pass_checks import becomes, graph_of, stays

import kgraph as kg
from kgraph.compiler.passes.dropout_mask import dropout_mask
from kgraph.runtime.interpreter import interpret

INPUTS = "%z: f32[n, 3], %g: f32[n, 3], %mask: bool[n, 3]"


def text(scale: str, inner: str, mask: str = "%mask", activation: str = "relu") -> str:
    """Dropout after an activation, its gradient `d` with a `mask`; `inner` says what `d` asks about r."""
    return f"""
        %s = constant() {{value=f32[]({scale})}} : f32[]
        %k = broadcast(%s) {{axes=[], shape=[n, 3]}} : f32[n, 3]
        %o = constant() {{value=f32[](0.0)}} : f32[]
        %zero = broadcast(%o) {{axes=[], shape=[n, 3]}} : f32[n, 3]
        %other = logical_not(%mask) : bool[n, 3]
        %r = {activation}(%z) : f32[n, 3]
        %x = mul(%r, %k) : f32[n, 3]
        %y = select(%mask, %x, %zero) : f32[n, 3]
        %a = select({mask}, %g, %zero) : f32[n, 3]
        %b = mul(%a, %k) : f32[n, 3]
        %c = {inner} : bool[n, 3]
        %d = select(%c, %b, %zero) : f32[n, 3]
        return %y, %d
    """


def test_the_gradient_asks_the_result_instead_of_mask_and_activation():
    becomes(
        dropout_mask,
        INPUTS,
        text("1.25", "gt(%r, %zero)"),
        """
        %s = constant() {value=f32[](1.25)} : f32[]
        %k = broadcast(%s) {axes=[], shape=[n, 3]} : f32[n, 3]
        %o = constant() {value=f32[](0.0)} : f32[]
        %zero = broadcast(%o) {axes=[], shape=[n, 3]} : f32[n, 3]
        %other = logical_not(%mask) : bool[n, 3]
        %r = relu(%z) : f32[n, 3]
        %x = mul(%r, %k) : f32[n, 3]
        %y = select(%mask, %x, %zero) : f32[n, 3]
        %a = select(%mask, %g, %zero) : f32[n, 3]
        %b = mul(%a, %k) : f32[n, 3]
        %c = gt(%r, %zero) : bool[n, 3]
        %p = gt(%y, %zero) : bool[n, 3]
        %e = mul(%g, %k) : f32[n, 3]
        %d = select(%p, %e, %zero) : f32[n, 3]
        return %y, %d
        """,
    )


def test_odd_numbers_pass_the_same_gradients():
    z = np.array([[np.nan, np.inf, -np.inf], [0.0, -0.0, 1e-45], [3e38, -3e38, 1e-38]], np.float32).repeat(2, axis=0)
    g = np.array([[1, np.nan, np.inf], [-np.inf, 2, 3e38], [-0.0, 1e-45, 5]], np.float32).repeat(2, axis=0)
    mask = np.tile([[True], [False]], (3, 3))
    graph = graph_of(INPUTS, text("1.25", "gt(%r, %zero)"))
    before, after = (interpret(each, [z, g, mask]) for each in (graph, dropout_mask(graph)))
    for wanted, got in zip(before, after, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_factors_below_1_stay_because_small_elements_may_become_0():
    stays(dropout_mask, INPUTS, text("0.5", "gt(%r, %zero)"))


def test_another_mask_another_activation_and_other_questions_stay():
    stays(dropout_mask, INPUTS, text("1.25", "gt(%r, %zero)", mask="%other"))
    stays(dropout_mask, INPUTS, text("1.25", "gt(%r, %zero)", activation="abs"))
    stays(dropout_mask, INPUTS, text("1.25", "gt(%r, %k)"))
    stays(dropout_mask, INPUTS, text("1.25", "ge(%r, %zero)"))


def test_a_training_step_draws_each_mask_once():
    dense, dropout = kg.layers.Dense(8, activation="relu"), kg.layers.Dropout(0.2)
    model = kg.Sequential([kg.Input((4,)), dense, dropout, kg.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 4), np.float32), np.ones((4, 1), np.float32), verbose=0)
    assert model.dump("optimized", program="train").count("random_bits") == 1
