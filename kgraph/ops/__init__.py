"""Keras' functions on tensors: `kgraph.ops`.

Every function takes arrays, lists, numbers and variables (and gives NumPy arrays), symbolic tensors of functional
models (and gives symbolic tensors), and the tensors of a program while a layer's `call`, a loss or a metric is traced.
Names, arguments and results are those of Keras 3; where they say nothing else, axes and broadcasting follow NumPy.
Element types meet as in Keras: a Python number takes the kind of the tensors beside it, and integers meet floats in
the floats' type.
"""

from typing import TYPE_CHECKING

from kgraph.lazy_names import lazily

if TYPE_CHECKING:
    from kgraph.activations import (
        celu,
        elu,
        glu,
        hard_shrink,
        hard_sigmoid,
        hard_silu,
        hard_swish,
        hard_tanh,
        leaky_relu,
        log_sigmoid,
        log_softmax,
        relu,
        relu6,
        selu,
        sigmoid,
        silu,
        soft_shrink,
        softmax,
        softplus,
        softsign,
        sparse_plus,
        sparse_sigmoid,
        sparsemax,
        squareplus,
        swish,
        tanh_shrink,
        threshold,
    )
    from kgraph.ops.arithmetic import (
        absolute,
        add,
        bitwise_and,
        bitwise_invert,
        bitwise_left_shift,
        bitwise_not,
        bitwise_or,
        bitwise_right_shift,
        bitwise_xor,
        cbrt,
        ceil,
        clip,
        deg2rad,
        divide,
        divide_no_nan,
        fabs,
        floor,
        floor_divide,
        fmax,
        fmin,
        fmod,
        heaviside,
        hypot,
        left_shift,
        maximum,
        minimum,
        mod,
        multiply,
        nan_to_num,
        negative,
        power,
        rad2deg,
        reciprocal,
        right_shift,
        round,
        rsqrt,
        sign,
        sqrt,
        square,
        subtract,
        true_divide,
        trunc,
    )
    from kgraph.ops.arithmetic import absolute as abs
    from kgraph.ops.control_flow import (
        associative_scan,
        cond,
        fori_loop,
        map,
        scan,
        switch,
        vectorized_map,
        while_loop,
    )
    from kgraph.ops.convolution import (
        adaptive_average_pool,
        adaptive_max_pool,
        average_pool,
        conv,
        conv_transpose,
        depthwise_conv,
        max_pool,
        separable_conv,
        unfold,
    )
    from kgraph.ops.core import (
        array,
        cast,
        convert_to_numpy,
        convert_to_tensor,
        copy,
        dtype,
        is_tensor,
        ndim,
        saturate_cast,
        shape,
        size,
    )
    from kgraph.ops.creation import (
        arange,
        bartlett,
        blackman,
        empty,
        empty_like,
        eye,
        full,
        full_like,
        geomspace,
        hamming,
        hanning,
        identity,
        kaiser,
        linspace,
        logspace,
        meshgrid,
        ones,
        ones_like,
        tri,
        tril,
        triu,
        vander,
        zeros,
        zeros_like,
    )
    from kgraph.ops.ctc import ctc_decode, ctc_loss
    from kgraph.ops.decompositions import (
        cholesky,
        det,
        inv,
        logdet,
        qr,
        slogdet,
        solve,
    )
    from kgraph.ops.eigenvalues import (
        eigh,
        svd,
    )
    from kgraph.ops.fourier import (
        fft,
        fft2,
        ifft2,
        irfft,
        istft,
        rfft,
        stft,
    )
    from kgraph.ops.gradients import (
        custom_gradient,
        stop_gradient,
    )
    from kgraph.ops.indexing import (
        argmax,
        argmin,
        get_item,
        nonzero,
        scatter,
        scatter_update,
        segment_max,
        segment_min,
        segment_sum,
        slice,
        slice_update,
        take,
        take_along_axis,
        unique,
        unravel_index,
    )
    from kgraph.ops.linear_algebra import (
        cdist,
        corrcoef,
        cross,
        diag,
        diagflat,
        diagonal,
        dot,
        einsum,
        inner,
        kron,
        matmul,
        norm,
        outer,
        tensordot,
        trace,
        vdot,
    )
    from kgraph.ops.logic import (
        allclose,
        equal,
        greater,
        greater_equal,
        isclose,
        isfinite,
        isinf,
        isnan,
        isneginf,
        isposinf,
        isreal,
        less,
        less_equal,
        logical_and,
        logical_not,
        logical_or,
        logical_xor,
        not_equal,
        select,
        signbit,
        where,
    )
    from kgraph.ops.nn import (
        batch_normalization,
        binary_crossentropy,
        categorical_crossentropy,
        dot_product_attention,
        gelu,
        layer_normalization,
        moments,
        multi_hot,
        normalize,
        one_hot,
        rms_normalization,
        sparse_categorical_crossentropy,
    )
    from kgraph.ops.reductions import (
        all,
        amax,
        amin,
        any,
        average,
        count_nonzero,
        logsumexp,
        max,
        mean,
        min,
        nanmax,
        nanmean,
        nanmin,
        nanprod,
        nanstd,
        nansum,
        nanvar,
        prod,
        ptp,
        std,
        sum,
        var,
    )
    from kgraph.ops.shaping import (
        append,
        array_split,
        broadcast_to,
        concatenate,
        depth_to_space,
        dsplit,
        dstack,
        expand_dims,
        extract_sequences,
        flip,
        fliplr,
        flipud,
        hsplit,
        hstack,
        moveaxis,
        pad,
        ravel,
        repeat,
        reshape,
        roll,
        rot90,
        space_to_depth,
        split,
        squeeze,
        stack,
        swapaxes,
        tile,
        transpose,
        unstack,
        vsplit,
        vstack,
    )
    from kgraph.ops.sorting import (
        argpartition,
        argsort,
        bincount,
        cumprod,
        cumsum,
        diff,
        digitize,
        histogram,
        in_top_k,
        isin,
        median,
        percentile,
        quantile,
        searchsorted,
        sort,
        top_k,
        trapezoid,
    )
    from kgraph.ops.transcendental import (
        arccos,
        arccosh,
        arcsin,
        arcsinh,
        arctan,
        arctan2,
        arctanh,
        cos,
        cosh,
        erf,
        erfc,
        erfinv,
        exp,
        exp2,
        expm1,
        log,
        log1p,
        log2,
        log10,
        logaddexp,
        logaddexp2,
        sin,
        sinc,
        sinh,
        tan,
        tanh,
    )
    from kgraph.ops.vectorization import vectorize

__all__ = [
    "abs", "absolute", "adaptive_average_pool", "adaptive_max_pool", "add", "all", "allclose", "amax", "amin",
    "any", "append", "arange", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "argmax",
    "argmin", "argpartition", "argsort", "array", "array_split", "associative_scan", "average", "average_pool",
    "bartlett", "batch_normalization", "binary_crossentropy", "bincount", "bitwise_and", "bitwise_invert",
    "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "blackman",
    "broadcast_to", "cast", "categorical_crossentropy", "cbrt", "cdist", "ceil", "celu", "cholesky", "clip",
    "concatenate", "cond", "conv", "conv_transpose", "convert_to_numpy", "convert_to_tensor", "copy", "corrcoef",
    "cos", "cosh", "count_nonzero", "cross", "ctc_decode", "ctc_loss", "cumprod", "cumsum", "custom_gradient",
    "deg2rad", "depth_to_space",
    "depthwise_conv", "det", "diag", "diagflat", "diagonal", "diff", "digitize", "divide", "divide_no_nan", "dot",
    "dot_product_attention", "dsplit", "dstack", "dtype", "eigh", "einsum", "elu", "empty", "empty_like", "equal",
    "erf", "erfc", "erfinv", "exp", "exp2", "expand_dims", "expm1", "extract_sequences", "eye", "fabs", "fft",
    "fft2", "flip", "fliplr", "flipud", "floor", "floor_divide", "fmax", "fmin", "fmod", "fori_loop", "full",
    "full_like", "gelu", "geomspace", "get_item", "glu", "greater", "greater_equal", "hamming", "hanning",
    "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "heaviside", "histogram", "hsplit",
    "hstack", "hypot", "identity", "ifft2", "in_top_k", "inner", "inv", "irfft", "is_tensor", "isclose", "isfinite",
    "isin", "isinf", "isnan", "isneginf", "isposinf", "isreal", "istft", "kaiser", "kron", "layer_normalization",
    "leaky_relu", "left_shift", "less", "less_equal", "linspace", "log", "log10", "log1p", "log2", "log_sigmoid",
    "log_softmax", "logaddexp", "logaddexp2", "logdet", "logical_and", "logical_not", "logical_or", "logical_xor",
    "logspace", "logsumexp", "map", "matmul", "max", "max_pool", "maximum", "mean", "median", "meshgrid", "min",
    "minimum", "mod", "moments", "moveaxis", "multi_hot", "multiply", "nan_to_num", "nanmax", "nanmean", "nanmin",
    "nanprod", "nanstd", "nansum", "nanvar", "ndim", "negative", "nonzero", "norm", "normalize", "not_equal",
    "one_hot", "ones", "ones_like", "outer", "pad", "percentile", "power", "prod", "ptp", "qr", "quantile",
    "rad2deg", "ravel", "reciprocal", "relu", "relu6", "repeat", "reshape", "rfft", "right_shift",
    "rms_normalization", "roll", "rot90", "round", "rsqrt", "saturate_cast", "scan", "scatter", "scatter_update",
    "searchsorted", "segment_max", "segment_min", "segment_sum", "select", "selu", "separable_conv", "shape",
    "sigmoid", "sign", "signbit", "silu", "sin", "sinc", "sinh", "size", "slice", "slice_update", "slogdet",
    "soft_shrink", "softmax", "softplus", "softsign", "solve", "sort", "space_to_depth",
    "sparse_categorical_crossentropy", "sparse_plus", "sparse_sigmoid", "sparsemax", "split", "sqrt", "square",
    "squareplus", "squeeze", "stack", "std", "stft", "stop_gradient", "subtract", "sum", "svd", "swapaxes", "swish",
    "switch", "take", "take_along_axis", "tan", "tanh", "tanh_shrink", "tensordot", "threshold", "tile", "top_k",
    "trace", "transpose", "trapezoid", "tri", "tril", "triu", "true_divide", "trunc", "unfold", "unique",
    "unravel_index", "unstack", "vander", "var", "vdot", "vectorize", "vectorized_map", "vsplit", "vstack",
    "where", "while_loop", "zeros", "zeros_like",
]  # fmt: skip

__getattr__, __dir__ = lazily(
    __name__,
    {
        "kgraph.activations": (
            "celu elu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu log_sigmoid "
            "log_softmax relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus "
            "sparse_sigmoid sparsemax squareplus swish tanh_shrink threshold"
        ),
        "kgraph.ops.arithmetic": (
            "absolute add bitwise_and bitwise_invert bitwise_left_shift bitwise_not bitwise_or "
            "bitwise_right_shift bitwise_xor cbrt ceil clip deg2rad divide divide_no_nan fabs floor "
            "floor_divide fmax fmin fmod heaviside hypot left_shift maximum minimum mod multiply nan_to_num "
            "negative power rad2deg reciprocal right_shift round rsqrt sign sqrt square subtract true_divide "
            "trunc abs=absolute"
        ),
        "kgraph.ops.control_flow": "associative_scan cond fori_loop map scan switch vectorized_map while_loop",
        "kgraph.ops.convolution": (
            "adaptive_average_pool adaptive_max_pool average_pool conv conv_transpose depthwise_conv max_pool "
            "separable_conv unfold"
        ),
        "kgraph.ops.core": (
            "array cast convert_to_numpy convert_to_tensor copy dtype is_tensor ndim saturate_cast shape size"
        ),
        "kgraph.ops.creation": (
            "arange bartlett blackman empty empty_like eye full full_like geomspace hamming hanning identity "
            "kaiser linspace logspace meshgrid ones ones_like tri tril triu vander zeros zeros_like"
        ),
        "kgraph.ops.ctc": "ctc_decode ctc_loss",
        "kgraph.ops.decompositions": "cholesky det inv logdet qr slogdet solve",
        "kgraph.ops.eigenvalues": "eigh svd",
        "kgraph.ops.fourier": "fft fft2 ifft2 irfft istft rfft stft",
        "kgraph.ops.gradients": "custom_gradient stop_gradient",
        "kgraph.ops.indexing": (
            "argmax argmin get_item nonzero scatter scatter_update segment_max segment_min segment_sum slice "
            "slice_update take take_along_axis unique unravel_index"
        ),
        "kgraph.ops.linear_algebra": (
            "cdist corrcoef cross diag diagflat diagonal dot einsum inner kron matmul norm outer tensordot trace vdot"
        ),
        "kgraph.ops.logic": (
            "allclose equal greater greater_equal isclose isfinite isinf isnan isneginf isposinf isreal less "
            "less_equal logical_and logical_not logical_or logical_xor not_equal select signbit where"
        ),
        "kgraph.ops.nn": (
            "batch_normalization binary_crossentropy categorical_crossentropy dot_product_attention gelu "
            "layer_normalization moments multi_hot normalize one_hot rms_normalization "
            "sparse_categorical_crossentropy"
        ),
        "kgraph.ops.reductions": (
            "all amax amin any average count_nonzero logsumexp max mean min nanmax nanmean nanmin nanprod "
            "nanstd nansum nanvar prod ptp std sum var"
        ),
        "kgraph.ops.shaping": (
            "append array_split broadcast_to concatenate depth_to_space dsplit dstack expand_dims "
            "extract_sequences flip fliplr flipud hsplit hstack moveaxis pad ravel repeat reshape roll rot90 "
            "space_to_depth split squeeze stack swapaxes tile transpose unstack vsplit vstack"
        ),
        "kgraph.ops.sorting": (
            "argpartition argsort bincount cumprod cumsum diff digitize histogram in_top_k isin median "
            "percentile quantile searchsorted sort top_k trapezoid"
        ),
        "kgraph.ops.transcendental": (
            "arccos arccosh arcsin arcsinh arctan arctan2 arctanh cos cosh erf erfc erfinv exp exp2 expm1 log "
            "log1p log2 log10 logaddexp logaddexp2 sin sinc sinh tan tanh"
        ),
        "kgraph.ops.vectorization": "vectorize",
    },
)
