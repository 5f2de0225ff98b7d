"""The public names of `kgraph.ops` and `kgraph.random`: what users of Keras expect to find."""

from __future__ import annotations

import inspect

import kgraph.ops as ops
import kgraph.random as random

# Names of keras.ops, those that models of articles and tutorials use first, and of keras.random.
FIRST = """
    abs add argmax average_pool batch_normalization binary_crossentropy cast categorical_crossentropy clip
    concatenate conv convert_to_numpy convert_to_tensor depthwise_conv divide dot elu exp expand_dims get_item
    leaky_relu log matmul max max_pool maximum mean min minimum moments multiply negative one_hot ones ones_like pad
    power relu reshape separable_conv shape sigmoid softmax softplus sparse_categorical_crossentropy split sqrt
    square squeeze stack subtract sum take tanh transpose where zeros zeros_like
"""
SECOND = """
    absolute all allclose amax amin any append arange arccos arcsin arctan arctan2 argmin argsort array average
    bincount broadcast_to ceil cholesky cond conv_transpose copy cos cosh count_nonzero cross ctc_decode ctc_loss
    cumprod cumsum custom_gradient det diag diagonal diff digitize dot_product_attention dtype eigh einsum empty
    empty_like equal erf erfinv expm1 extract_sequences eye fabs fft flip floor floor_divide fmod fori_loop full
    full_like gelu glu greater greater_equal hard_sigmoid hard_silu hard_swish histogram hstack hypot identity
    in_top_k inv irfft is_tensor isclose isfinite isinf isnan istft layer_normalization less less_equal linspace
    log10 log1p log2 log_sigmoid log_softmax logaddexp logical_and logical_not logical_or logical_xor logsumexp map
    median meshgrid mod moveaxis multi_hot nan_to_num ndim nonzero norm normalize not_equal outer percentile prod qr
    quantile ravel reciprocal relu6 repeat rfft rms_normalization roll round rsqrt scan scatter scatter_update
    searchsorted segment_max segment_sum selu sign silu sin sinh size slice slice_update softsign solve sort std
    stft stop_gradient svd swapaxes swish switch take_along_axis tan tensordot tile top_k trace tri tril triu
    true_divide unique unstack var vdot vectorize vectorized_map vstack while_loop
"""
RANDOM = """
    dropout normal SeedGenerator shuffle truncated_normal uniform beta binomial categorical gamma randint
"""

# What is not there yet.
MISSING: set[str] = set()
MISSING_RANDOM: set[str] = set()


def test_the_names_of_keras_are_there():
    wanted = {*FIRST.split(), *SECOND.split()}
    assert {name for name in wanted if not callable(getattr(ops, name, None))} == MISSING
    assert set(RANDOM.split()) - set(vars(random)) == set(MISSING_RANDOM)


def test_all_lists_every_public_function_and_no_more():
    assert sorted(ops.__all__) == sorted(set(ops.__all__))
    for name in ops.__all__:
        assert callable(getattr(ops, name)), name


def test_every_function_says_what_it_does():
    undocumented = [name for name in ops.__all__ if not inspect.getdoc(getattr(ops, name))]
    assert undocumented == []
