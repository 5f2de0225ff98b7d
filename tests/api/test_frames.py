"""Tables of pandas and polars as data: where they are installed, and one that does what they do."""

import importlib.util

import numpy as np
import pytest

import kgraph
from kgraph import layers
from kgraph.errors import DataError, KgraphWarning, ShapeError

X = np.random.default_rng(0).random((64, 3), dtype="float32")
Y = X.sum(1)


class Column:
    def __init__(self, values):
        self.values = np.asarray(values)
        self.dtype = self.values.dtype

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)

    def __len__(self):
        return len(self.values)

    def to_numpy(self):
        return self.values


class Table:
    """The least that makes a frame."""

    def __init__(self, columns):
        self._columns = {name: Column(values) for name, values in columns.items()}
        self.columns = list(columns)

    def __getitem__(self, name):
        return self._columns[name]

    def __len__(self):
        return len(next(iter(self._columns.values())))

    def to_numpy(self):
        arrays = [column.values for column in self._columns.values()]
        return np.stack(arrays, 1) if len({a.dtype.kind for a in arrays}) == 1 else np.array(arrays, object).T

    def __array__(self, dtype=None, copy=None):
        return self.to_numpy()


def maker(package, attribute):
    missing = importlib.util.find_spec(package) is None
    return pytest.param((package, attribute), id=package, marks=pytest.mark.skipif(missing, reason=f"needs {package}"))


@pytest.fixture(params=["own", maker("pandas", "DataFrame"), maker("polars", "DataFrame")])
def frame(request):
    """A function that makes a frame of a dict of columns."""
    if request.param == "own":
        return Table
    return getattr(importlib.import_module(request.param[0]), request.param[1])


def model(inputs=None):
    kgraph.utils.set_random_seed(0)
    if inputs is None:
        made = kgraph.Sequential([kgraph.Input((3,)), layers.Dense(1)])
    else:
        made = kgraph.Model(inputs, layers.Dense(1)(layers.Concatenate()(list(inputs.values()))))
    made.compile("sgd", "mse")
    return made


def columns(**changes):
    return {**{name: X[:, n] for n, name in enumerate("abc")}, **changes}


def losses(made, x, y, **options):
    return made.fit(x, y, epochs=2, verbose=0, **options).history


def test_a_frame_is_the_array_of_its_columns(frame):
    x, y = frame(columns()), frame({"y": Y})
    assert losses(model(), x, y) == losses(model(), X, Y)
    assert losses(model(), x, y["y"]) == losses(model(), X, Y)
    assert losses(model(), x, y, validation_split=0.25) == losses(model(), X, Y, validation_split=0.25)
    weight = np.linspace(0, 1, 64)
    assert losses(model(), x, y, sample_weight=frame({"w": weight})["w"]) == losses(model(), X, Y, sample_weight=weight)
    np.testing.assert_array_equal(model().predict(x, verbose=0), model().predict(X, verbose=0))
    assert model().evaluate(x, y, verbose=0) == model().evaluate(X, Y, verbose=0)


def test_columns_of_several_types_become_floats(frame):
    mixed = columns(a=(X[:, 0] * 10).astype("int64"), b=X[:, 1] > 0.5)
    expected = np.stack([np.asarray(column, "float32") for column in mixed.values()], 1)
    assert losses(model(), frame(mixed), Y) == losses(model(), expected, Y)


def test_columns_find_the_inputs_of_their_names(frame):
    inputs = {name: kgraph.Input((1,), name=name) for name in "cab"}
    expected = losses(model(inputs), {name: X[:, n] for n, name in enumerate("abc")}, Y)
    assert losses(model(inputs), frame(columns(further=X[:, 0])), Y) == expected
    assert losses(model(inputs), {name: frame(columns())[name] for name in "abc"}, Y) == expected
    with pytest.raises(DataError, match="expected 3 arrays, for a, b, c"):
        losses(model(inputs), frame({"a": X[:, 0], "b": X[:, 1]}), Y)


def test_missing_values_are_nan_with_a_warning(frame):
    values = [None, *X[1:, 0].tolist()]
    x = frame(columns(a=np.array(values, object) if frame is Table else values))
    with pytest.warns(KgraphWarning, match=r"x has 1 NaN \(first at row 0, col 0\)"):
        loss = model().evaluate(x, Y, verbose=0)
    assert np.isnan(loss)


@pytest.mark.parametrize("values", [["u", "v"] * 32, np.arange("2020-01-01", "2020-03-05", dtype="datetime64[D]")])
def test_a_column_without_numbers_is_named(frame, values):
    array = np.array(values, object) if isinstance(values, list) else values.astype("datetime64[us]")
    with pytest.raises(DataError, match=r"x: column 'b' has no numbers but .+\. Encode it first, or leave") as caught:
        losses(model(), frame(columns(b=array)), Y)
    assert len(str(caught.value)) < 240


def test_frames_of_other_sizes(frame):
    with pytest.raises(ShapeError, match="Last axis must be 3"):
        losses(model(), frame({"a": X[:, 0], "b": X[:, 1]}), Y)
    with pytest.raises(DataError, match="x has 0 samples"):
        losses(model(), frame(dict.fromkeys("abc", X[:0, 0])), Y[:0])


def test_a_table_that_waits_is_told_to_collect():
    class Lazy:
        columns = ("a",)

        def collect(self):
            raise AssertionError

    with pytest.raises(DataError, match=r"received a Lazy. Call its collect\(\) first"):
        losses(model(), Lazy(), Y)
