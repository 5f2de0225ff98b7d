"""Stable losses."""

from pass_checks import becomes, stays

from kgraph.compiler.passes.stabilize import stabilize

Z = "%z: f32[n, 3], %t: f32[n, 3]"


def test_crossentropy_of_a_softmax_is_computed_from_logits_and_gives_the_softmax():
    becomes(
        stabilize,
        Z,
        """
        %p = softmax(%z) : f32[n, 3]
        %q = neg(%p) : f32[n, 3]
        %u = neg(%t) : f32[n, 3]
        %l = categorical_crossentropy(%p, %u) {epsilon=1e-07} : f32[n]
        return %l, %q, %p
        """,
        """
        %u = neg(%t) : f32[n, 3]
        %l, %p = softmax_crossentropy(%z, %u) : f32[n], f32[n, 3]
        %q = neg(%p) : f32[n, 3]
        return %l, %q, %p
        """,
    )


def test_binary_crossentropy_of_a_sigmoid_is_computed_from_logits():
    becomes(
        stabilize,
        Z,
        """
        %p = sigmoid(%z) : f32[n, 3]
        %l = binary_crossentropy(%p, %t) {epsilon=1e-07} : f32[n, 3]
        return %l, %p
        """,
        """
        %p = sigmoid(%z) : f32[n, 3]
        %l = sigmoid_crossentropy(%z, %t) : f32[n, 3]
        return %l, %p
        """,
    )


def test_a_reshape_that_keeps_rows_is_looked_through():
    becomes(
        stabilize,
        "%z: f32[n, 2, 3], %t: f32[2*n, 3]",
        """
        %p = softmax(%z) : f32[n, 2, 3]
        %q = reshape(%p) {shape=[2*n, 3]} : f32[2*n, 3]
        %l = categorical_crossentropy(%q, %t) {epsilon=1e-07} : f32[2*n]
        return %l, %p
        """,
        """
        %y = reshape(%z) {shape=[2*n, 3]} : f32[2*n, 3]
        %l, %r = softmax_crossentropy(%y, %t) : f32[2*n], f32[2*n, 3]
        %p = reshape(%r) {shape=[n, 2, 3]} : f32[n, 2, 3]
        %q = reshape(%p) {shape=[2*n, 3]} : f32[2*n, 3]
        return %l, %p
        """,
    )


def test_a_reshape_that_mixes_rows_is_not():
    stays(
        stabilize,
        "%z: f32[n, 2, 3], %t: f32[n, 6]",
        """
        %p = softmax(%z) : f32[n, 2, 3]
        %q = reshape(%p) {shape=[n, 6]} : f32[n, 6]
        %l = categorical_crossentropy(%q, %t) {epsilon=1e-07} : f32[n]
        return %l
        """,
    )


def test_probabilities_whose_gradient_is_wanted_stay():
    stays(
        stabilize,
        "%z: f32[2, 3], %t: f32[2, 3]",
        """
        %p = softmax(%z) : f32[2, 3]
        %l = categorical_crossentropy(%p, %t) {epsilon=1e-07} : f32[2]
        %s = sum(%l) {axes=[0], keepdims=false} : f32[]
        %g = gradient(%s, %p) : f32[2, 3]
        return %g
        """,
    )


def test_each_loss_of_one_softmax_is_replaced_and_the_first_gives_the_softmax():
    becomes(
        stabilize,
        Z,
        """
        %p = softmax(%z) : f32[n, 3]
        %u = neg(%t) : f32[n, 3]
        %k = categorical_crossentropy(%p, %t) {epsilon=1e-07} : f32[n]
        %l = categorical_crossentropy(%p, %u) {epsilon=1e-07} : f32[n]
        return %k, %l, %p
        """,
        """
        %k, %p = softmax_crossentropy(%z, %t) : f32[n], f32[n, 3]
        %u = neg(%t) : f32[n, 3]
        %l, %q = softmax_crossentropy(%z, %u) : f32[n], f32[n, 3]
        return %k, %l, %p
        """,
    )


def test_targets_made_of_the_softmax_keep_it():
    becomes(
        stabilize,
        "%z: f32[n, 3], %y: f32[n, 3]",
        """
        %p = softmax(%z) : f32[n, 3]
        %q = softmax(%y) : f32[n, 3]
        %k = categorical_crossentropy(%p, %q) {epsilon=1e-07} : f32[n]
        %l = categorical_crossentropy(%q, %p) {epsilon=1e-07} : f32[n]
        return %k, %l
        """,
        """
        %p = softmax(%z) : f32[n, 3]
        %q = softmax(%y) : f32[n, 3]
        %k, %p2 = softmax_crossentropy(%z, %q) : f32[n], f32[n, 3]
        %l, %q2 = softmax_crossentropy(%y, %p) : f32[n], f32[n, 3]
        return %k, %l
        """,
    )


def test_probabilities_from_elsewhere_stay():
    stays(
        stabilize,
        Z,
        """
        %l = categorical_crossentropy(%z, %t) {epsilon=1e-07} : f32[n]
        %s = sigmoid(%z) : f32[n, 3]
        %k = categorical_crossentropy(%s, %t) {epsilon=1e-07} : f32[n]
        return %l, %k
        """,
    )
