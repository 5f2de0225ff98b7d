"""Models give what real Keras gave: outputs and gradients, in inference and training, in both ways of running."""

from __future__ import annotations

import fnmatch

import numpy as np
import pytest
from golden_cases import LayerCase, layer_case, layer_names

import kgraph

# The cases on file whose layers exist; a new layer joins by a pattern here.
SUPPORTED = (
    "act_*", "branches_seq", "dense", "dense_3d", "dense_nobias", "elu_layer", "flatten", "mlp_seed", "multi_output",
    "reshape", "shared_weights", "two_inputs",
    "conv*", "depthwise", "separable2d", "maxpool*", "avgpool_same", "pool1d", "gap*", "gmp2d_keep", "seed_cnn",
    "zeropad2d", "crop2d", "up2d", "up1d_pad1d_crop1d",
    "batchnorm*", "layernorm", "groupnorm", "prelu", "leaky", "relu_layer", "permute", "repeat", "rescaling",
    "merge_all", "mha", "ensemble_slice", "ops_arith", "embedding",
    "simplernn", "lstm*", "gru", "bidir", "timedist", "masking_lstm", "embedding_mask_lstm",
)  # fmt: skip
CASES = [name for name in layer_names() if any(fnmatch.fnmatch(name, pattern) for pattern in SUPPORTED)]
# Their training mode is random.
WITH_DROPOUT = ("seed_cnn",)
# Their softmax is saturated: in float32, with Keras too, the gradients are rounding errors and nothing else.
SATURATED = ("seed_cnn",)
# Batch normalisation takes away what a bias before it adds: that gradient is 0, and rounding errors in Keras as here.
# A softmax takes away what the keys' bias adds.
ZERO = {("batchnorm_2d", "train", 1), ("mha", "infer", 3), ("mha", "train", 3)}
# Allowed error of an array as a part of its largest element.
RTOL = 1e-5


def assert_same_scale(got: np.ndarray | None, wanted: np.ndarray, what: str) -> None:
    """Same type and shape, and every element within RTOL of the largest one."""
    assert got is not None, what
    assert got.dtype == wanted.dtype, what
    assert got.shape == wanted.shape, what
    scale = max(float(np.abs(wanted).max(initial=0)), 1e-30)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=RTOL * scale, err_msg=what)


def built(case: LayerCase) -> kgraph.Model:
    """The case's model with Keras' weights."""
    model = case.build(kgraph)
    model.set_weights(case.series("w"))
    return model


def test_every_expected_case_is_on_file():
    wanted = {"dense", "dense_3d", "dense_nobias", "mlp_seed", "flatten", "reshape", "two_inputs", "branches_seq"}
    wanted |= {"shared_weights", "multi_output", "elu_layer"}
    wanted |= {"batchnorm", "batchnorm_2d", "layernorm", "groupnorm", "prelu", "leaky", "relu_layer", "merge_all"}
    wanted |= {"permute", "repeat", "rescaling"}
    wanted |= {f"act_{name}" for name in ("relu", "sigmoid", "softmax", "linear", "leaky_relu", "gelu")}
    assert wanted <= set(CASES)


@pytest.mark.parametrize("execution", ["interpreter", "native"])
@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_those_of_keras(name: str, execution: str):
    case = layer_case(name)
    model = built(case)
    assert case.modes == (["infer"] if name in WITH_DROPOUT else ["infer", "train"])
    for mode in case.modes:
        with kgraph.execution(execution):
            outputs, of_inputs, of_weights = kgraph.vjp(
                model, case.series("x"), case.series(f"{mode}_c"), training=mode == "train"
            )
        for n, wanted in enumerate(case.series(f"{mode}_y")):
            assert_same_scale(outputs[n], wanted, f"{mode} output {n}")
        if name in SATURATED:
            continue
        for n, wanted in case.indexed(f"{mode}_gx").items():
            assert_same_scale(of_inputs[n], wanted, f"{mode} gradient of input {n}")
        for n, wanted in case.indexed(f"{mode}_gw").items():
            if (name, mode, n) in ZERO:
                assert max(np.abs(wanted).max(), np.abs(of_weights[n]).max()) < 1e-6
                continue
            assert_same_scale(of_weights[n], wanted, f"{mode} gradient of weight {n}")
        for n, wanted in enumerate(case.series(f"{mode}_after_w")):
            assert_same_scale(model.get_weights()[n], wanted, f"weight {n} after {mode}")  # moving statistics change


@pytest.mark.parametrize("name", CASES)
def test_weight_paths_are_those_of_keras(name: str):
    """Equal but for the numbers that automatic names get."""
    case = layer_case(name)

    def plain(path: str) -> list[str]:
        parts = path.split("/")
        return [part.rpartition("_")[0] if part.rpartition("_")[2].isdigit() else part for part in parts]

    weights = case.build(kgraph).weights
    assert [plain(w.path) for w in weights] == [plain(path) for path in case.names["path_names"]]


def test_a_wrong_weight_would_be_seen():
    """The comparison fails when one weight is off by a hundredth."""
    case = layer_case("dense")
    model = built(case)
    weights = model.get_weights()
    weights[0][0, 0] += 0.01
    model.set_weights(weights)
    with kgraph.execution("interpreter"):
        outputs, *_ = kgraph.vjp(model, case.series("x"), case.series("infer_c"))
    with pytest.raises(AssertionError):
        assert_same_scale(outputs[0], case.series("infer_y")[0], "output")
