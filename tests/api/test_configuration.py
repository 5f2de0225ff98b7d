"""Layers and models as plain data and back: Keras' own configurations, and classes of the user's own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from golden_cases import GOLDEN, layer_case, layer_names

import kgraph
from kgraph.errors import ArgumentError, DTypeError, GraphError
from kgraph.layers import Activation, Add, Dense, Dropout, Input, Lambda, Layer, Wrapper
from kgraph.models import Model, Sequential, clone_model, model_from_config, model_from_json
from kgraph.nesting import flatten
from kgraph.saving import (
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    register_keras_serializable,
    serialize_keras_object,
)

CONFIGS = {path.parent.name: path.read_text("utf-8") for path in sorted(GOLDEN.glob("layers/*/config.json"))}


def classes_in(config: Any) -> set[str]:
    """Names of the layers in a configuration."""
    if isinstance(config, list):
        return set().union(*map(classes_in, config)) if config else set()
    if not isinstance(config, dict):
        return set()
    own = {config["class_name"]} if config.get("module") == "keras.layers" else set()
    return own.union(*map(classes_in, config.values()))


KNOWN = set(kgraph.layers.__all__)
READABLE = [name for name, text in CONFIGS.items() if classes_in(json.loads(text)) <= KNOWN]


@pytest.fixture(autouse=True)
def in_the_interpreter():
    with kgraph.execution("interpreter"):
        yield


def test_every_golden_case_has_its_configuration_and_all_can_be_read():
    assert len(CONFIGS) == 77
    assert list(CONFIGS) == READABLE
    assert set(layer_names()) <= set(CONFIGS)


@pytest.mark.parametrize("name", READABLE)
def test_models_are_read_from_what_keras_wrote_and_from_what_we_write(name: str):
    """With Keras' weights both give Keras' outputs."""
    model = model_from_json(CONFIGS[name])
    again = model_from_json(model.to_json())
    assert again.to_json() == model.to_json()
    if name not in layer_names():
        return
    case = layer_case(name)
    again.set_weights(case.series("w"))
    inputs = case.series("x")
    outputs = flatten(again(inputs if len(inputs) > 1 else inputs[0]))
    for output, expected in zip(outputs, case.series("infer_y"), strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("name", ["dense", "two_inputs", "multi_output", "shared_weights"])
def test_configurations_have_keras_form(name: str):
    """The same entries with the same values, but for element types as a name and what Keras adds for itself."""
    wanted, got = json.loads(CONFIGS[name]), json.loads(model_from_json(CONFIGS[name]).to_json())

    def check(theirs: Any, ours: Any, place: str) -> None:
        if isinstance(theirs, dict):
            if theirs.get("class_name") == "DTypePolicy":
                assert ours == theirs["config"]["name"]
                return
            for key in theirs:
                if key not in ("quantization_config", "sparse", "ragged", "optional", "build_config", "compile_config",
                               "shared_object_id"):  # fmt: skip
                    assert key in ours, f"{place}/{key}"
                    check(theirs[key], ours[key], f"{place}/{key}")
        elif isinstance(theirs, list):
            assert len(theirs) == len(ours), place
            for n, (a, b) in enumerate(zip(theirs, ours)):
                check(a, b, f"{place}[{n}]")
        else:
            assert theirs == ours, place

    check(wanted, got, name)


class Scale(Layer):
    """No get_config of its own."""

    def __init__(self, by: float, inner: Layer | None = None, act: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.by, self.inner, self.act = by, inner, act

    def build(self, input_shape):
        self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

    def call(self, inputs):
        y = inputs * self.by * self.factor
        y = y if self.inner is None else self.inner(y)
        return y if self.act is None else self.act(y)


class Bare(Layer):
    """A constructor without keyword arguments."""

    def __init__(self, by=2):
        super().__init__()
        self.by = by

    def call(self, inputs):
        return inputs * self.by


def halve(x):
    return x / 2


def test_constructor_arguments_are_the_configuration_of_a_class_without_its_own():
    layer = Scale(3, inner=Dense(2, name="in"), name="s")
    layer(np.ones((1, 4)))
    config = layer.get_config()
    assert (config["by"], config["name"], config["inner"]["class_name"]) == (3, "s", "Dense")
    copy = Scale.from_config(config)
    assert (copy.by, copy.name, copy.inner.units) == (3, "s", 2)
    assert copy.inner is not layer.inner
    assert Bare.from_config(Bare(5).get_config()).by == 5
    assert Bare().get_config() == {}
    data = serialize_keras_object(layer)
    again = deserialize_keras_object(json.loads(json.dumps(data)), {"Scale": Scale})
    assert again.built
    assert again.factor.shape == (4,)
    assert data["build_config"] == {"input_shape": [None, 4]}


def test_classes_of_the_users_own_are_found_by_name():
    model = Sequential([Input((3,)), Scale(2, name="s"), Activation(halve)], name="m")
    text = model.to_json()
    with pytest.raises(ArgumentError, match=r"^layer 's' \(Scale\) is not registered. Pass custom_objects="):
        model_from_json(text)
    own = {"Scale": Scale, "halve": halve}
    x = np.ones((2, 3))
    np.testing.assert_array_equal(model_from_json(text, own)(x), x)
    with custom_object_scope(own):
        np.testing.assert_array_equal(model_from_json(text)(x), x)
        assert Activation("halve").activation is halve
        assert kgraph.regularizers.get("halve") is halve


def test_registered_classes_and_functions():
    try:
        registered = register_keras_serializable("shop", "Price")(type("Price", (Scale,), {}))
        function = register_keras_serializable()(halve)
        model = Sequential([Input((3,)), registered(2), Dense(1, activation=function, kernel_initializer="ones")])
        config = json.loads(model.to_json())["config"]["layers"]
        assert config[1]["registered_name"] == "shop>Price"
        assert config[2]["config"]["activation"] == {
            "module": "builtins", "class_name": "function", "config": "halve", "registered_name": "Custom>halve",
        }  # fmt: skip
        np.testing.assert_array_equal(model_from_json(model.to_json())(np.ones((2, 3))), [[3], [3]])
    finally:
        get_custom_objects().clear()
    with pytest.raises(ArgumentError, match="class Plain has no get_config"):
        register_keras_serializable()(type("Plain", (), {}))


def test_code_in_configurations_is_never_run():
    model = Sequential([Input((3,)), Lambda(lambda x: x * 2, name="double")])
    text = model.to_json()
    with pytest.raises(GraphError, match="Python code in a configuration is never run"):
        model_from_json(text)
    hostile = text.replace('{"value": null}', '{"code": "4wEAAA=="}')
    with pytest.raises(GraphError, match="Python code in a configuration is never run"):
        model_from_json(hostile)
    for name in ("os", "builtins", "subprocess"):
        config = {"module": name, "class_name": "system", "config": {"command": "true"}, "registered_name": None}
        with pytest.raises(ArgumentError, match="system is not registered"):
            deserialize_keras_object(config)


@pytest.mark.parametrize("config, words", [
    ("{", "model_from_json: expected JSON text, received Expecting property name"),
    ("[1]", r"model configuration: expected a dict with class_name and config, received \[1\]"),
    ('{"class_name": "Dense", "config": {"units": 2}}', "model configuration: expected a model, received <Dense"),
    ('{"class_name": "Functional", "config": {"layers": []}}', "expected entries input_layers, output_layers"),
    ('{"class_name": "Dens", "config": {"name": "d"}}', r"layer 'd' \(Dens\) is not registered. Did you mean 'Dense'"),
    ('{"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": {"unit": 2}}]}}',
     "configuration of Dense: missing a required argument: 'units'"),
])  # fmt: skip
def test_wrong_configurations(config: str, words: str):
    with pytest.raises(ArgumentError, match=words) as caught:
        model_from_json(config)
    assert "\n" not in str(caught.value)


def test_calls_that_wait_for_each_other_are_named():
    a, b = Input((3,), name="in"), Dense(3, name="one")
    model = Model(a, Dense(3, name="two")(b(a)), name="m")
    config = json.loads(model.to_json())
    config["config"]["layers"][1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = ["two", 0, 0]
    with pytest.raises(GraphError, match="the layers 'one' <- 'two' <- 'one' form a cycle"):
        model_from_config(config)
    config["config"]["output_layers"] = ["three", 0, 0]
    config["config"]["layers"][1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = ["in", 0, 0]
    with pytest.raises(GraphError, match=r"no tensor \['three', 0, 0\]"):
        model_from_config(config)


def test_values_without_a_form_are_refused():
    with pytest.raises(DTypeError, match="serialize: expected an object with get_config"):
        serialize_keras_object(object())
    layer = Layer.from_config({"name": "x"})
    assert layer.name == "x"
    i = Input((3,))
    with pytest.raises(GraphError, match="'compute_mask' in a functional model: expected one of"):
        Model(i, kgraph.layers.Masking().compute_mask(i)).to_json()
    wrapped = Wrapper(Dense(2))
    assert Wrapper.from_config(wrapped.get_config()).layer is not wrapped.layer


def shared() -> Model:
    """A shared layer, a branch, a function, a nested model and nested outputs."""
    i, j = Input((3,), name="i"), Input((3,), name="j")
    d = Dense(3, activation="tanh", name="d")
    inner = Sequential([Input((3,)), Dense(3, name="e"), Dropout(0.5)], name="inner")
    return Model({"i": i, "j": j}, {"sum": Add()([d(i), inner(d(j))]), "rest": [d(d(i))[:, 1:] * 2]})


def test_copies_compute_the_same_with_their_own_weights():
    model = shared()
    x = {"i": np.ones((2, 3), "float32"), "j": np.zeros((2, 3), "float32")}
    copy = clone_model(model)
    assert not {id(w) for w in copy.weights} & {id(w) for w in model.weights}
    assert [w.path for w in copy.weights] == [w.path for w in model.weights]
    for other in (copy, model_from_json(model.to_json())):
        other.set_weights(model.get_weights())
        for got, expected in zip(flatten(other(x)), flatten(model(x))):
            np.testing.assert_array_equal(got, expected)
    assert copy.output_shape == {"sum": (None, 3), "rest": [(None, 2)]}


def test_copies_on_other_tensors_and_with_other_layers():
    model = shared()
    new = {"i": Input((3,), name="a") * 2, "j": Input((3,), name="b")}
    names: list[str] = []

    def wider(layer: Layer) -> Layer:
        names.append(layer.name)
        return layer.from_config({**layer.get_config(), "trainable": False})

    copy = clone_model(model, input_tensors=[new["i"], new["j"]], clone_function=wider)
    assert not copy.trainable_weights
    assert "inner" in names
    assert "e" not in names
    clone_model(model, clone_function=wider, recursive=True)
    assert "e" in names
    sequence = Sequential([Dense(2, input_shape=(3,)), Dropout(0.1)], name="s")
    assert clone_model(sequence, input_tensors=Input((3,))).output_shape == (None, 2)
    assert clone_model(Sequential([Dense(2)])).built is False
    with pytest.raises(DTypeError, match="clone_function: expected a layer, received 3"):
        clone_model(sequence, clone_function=lambda layer: 3)
    with pytest.raises(ArgumentError, match="input_tensors: expected 2 tensors, received 1"):
        clone_model(model, input_tensors=[Input((3,))])


class Pair(Model):
    """A subclass is copied by its constructor's arguments."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = Dense(units)

    def call(self, inputs):
        return self.dense(inputs)


def test_subclassed_models():
    model = Pair(4, name="p")
    assert clone_model(model).dense.units == 4
    again = model_from_json(model.to_json(), {"Pair": Pair})
    assert (again.name, again(np.ones((1, 2))).shape) == ("p", (1, 4))
