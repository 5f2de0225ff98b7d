"""The callback TensorBoard, read back with TensorBoard's own reader."""

import json
import sys

import numpy as np
import pytest

import kgraph
from kgraph import layers
from kgraph.callbacks import CallbackList, TensorBoard
from kgraph.errors import ArgumentError, KgraphWarning, StateError

reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
pytest.importorskip("tensorboardX")

X = np.random.default_rng(0).random((64, 4), dtype="float32")
Y = X.sum(1, keepdims=True)


def trained(*callbacks, epochs=3, **options):
    kgraph.utils.set_random_seed(0)
    model = kgraph.Sequential([kgraph.Input((4,)), layers.Dense(3, name="hidden"), layers.Dense(1)], name="net")
    model.compile("adam", "mse", metrics=["mae"])
    history = model.fit(X, Y, batch_size=16, epochs=epochs, verbose=0, callbacks=list(callbacks), **options)
    return model, history.history


def read(folder):
    sizes = dict.fromkeys(("scalars", "histograms", "images"), 0)
    return reader.EventAccumulator(str(folder), sizes, purge_orphaned_data=False).Reload()


def scalars(folder):
    events = read(folder)
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_values_of_epochs(tmp_path):
    _, history = trained(TensorBoard(tmp_path / "logs"), validation_data=(X, Y))
    train, validation = scalars(tmp_path / "logs" / "train"), scalars(tmp_path / "logs" / "validation")
    assert set(train) == {"epoch_loss", "epoch_mae", "epoch_learning_rate"}
    for name in ("loss", "mae"):
        assert train[f"epoch_{name}"] == list(enumerate(np.float32(history[name]).tolist()))
        values = np.float32(history[f"val_{name}"]).tolist()
        assert validation[f"epoch_{name}"] == list(enumerate(values))
        assert validation[f"evaluation_{name}_vs_iterations"] == list(zip([4, 8, 12], values, strict=True))
    np.testing.assert_allclose([value for _, value in train["epoch_learning_rate"]], 0.001, rtol=1e-6)


def test_rates_of_several_optimizers(tmp_path):
    kernels, biases = kgraph.optimizers.SGD(0.25), kgraph.optimizers.SGD(0.5)
    by_path = kgraph.optimizers.OptimizerMap(kernels, {".*bias": biases})
    model = kgraph.Sequential([kgraph.Input((4,)), layers.Dense(1)])
    model.compile(kgraph.optimizers.MultiOptimizer(by_path), "mse")
    model.fit(X, Y, verbose=0, callbacks=[TensorBoard(tmp_path)])
    train = scalars(tmp_path / "train")
    assert train[f"epoch_learning_rate_{kernels.name}"] == [(0, 0.25)]
    assert train[f"epoch_learning_rate_{biases.name}"] == [(0, 0.5)]


def test_values_of_batches_and_speed(tmp_path):
    trained(TensorBoard(tmp_path, update_freq=2, write_steps_per_second=True))
    train = scalars(tmp_path / "train")
    assert [step for step, _ in train["batch_loss"]] == [2, 4, 6, 8, 10, 12]
    assert len(train["batch_steps_per_second"]) == 6
    assert len(train["epoch_steps_per_second"]) == 3
    assert all(value > 0 for tag in train if "second" in tag for _, value in train[tag])
    assert not (tmp_path / "validation").exists()


def test_batches_are_not_watched_for_epochs_alone(tmp_path):
    assert not CallbackList([TensorBoard(tmp_path)]).watches_train
    assert CallbackList([TensorBoard(tmp_path, update_freq="batch")]).watches_train


def test_histograms_and_pictures_of_weights(tmp_path):
    model, _ = trained(TensorBoard(tmp_path, histogram_freq=2, write_images=True))
    events = read(tmp_path / "train")
    paths = [weight.path for weight in model.weights]
    assert set(events.Tags()["histograms"]) == {f"{path}/histogram" for path in paths}
    assert {tag.rpartition("/image")[0] for tag in events.Tags()["images"]} == set(paths)
    found = events.Histograms(f"{paths[0]}/histogram")
    assert [event.step for event in found] == [0, 2]
    kernel = model.weights[0].numpy()
    last = found[-1].histogram_value
    assert (last.num, last.min, last.max) == (kernel.size, kernel.min(), kernel.max())
    np.testing.assert_allclose(last.sum, kernel.sum(dtype="float64"), rtol=1e-6)


def test_the_graph_of_the_step_and_the_layers(tmp_path):
    model, _ = trained(TensorBoard(tmp_path))
    events = read(tmp_path / "train")
    graph = events.Graph()
    program = model.training_program().program.graph
    assert len(graph.node) == len(program.inputs) + len(program.nodes)
    names = {node.name for node in graph.node}
    assert any(name.startswith("net/hidden/matmul") for name in names)
    sources = {source.partition(":")[0] for node in graph.node for source in node.input}
    assert sources
    assert sources <= names
    (event,) = events.Tensors("keras")
    assert json.loads(event.tensor_proto.string_val[0])["class_name"] == "Sequential"


def test_embeddings_are_projected(tmp_path):
    model = kgraph.Sequential([kgraph.Input((3,), dtype="int32"), layers.Embedding(5, 2, name="words"),
                               layers.Flatten(), layers.Dense(1)])  # fmt: skip
    model.compile("sgd", "mse")
    (tmp_path / "words.txt").write_text("a\nb\nc\nd\ne\n")
    ids, y = np.arange(12).reshape(4, 3) % 5, np.ones((4, 1))
    log = TensorBoard(tmp_path / "logs", embeddings_freq=1, embeddings_metadata={"words": tmp_path / "words.txt"})
    model.fit(ids, y, epochs=1, verbose=0, callbacks=[log])
    (tensors,) = (tmp_path / "logs").rglob("tensors.tsv")
    np.testing.assert_allclose(np.loadtxt(tensors), model.weights[0].numpy(), rtol=1e-5)
    with pytest.raises(ArgumentError, match="names of Embedding layers: words, received 'wurds'"):
        model.fit(ids, y, verbose=0, callbacks=[TensorBoard(tmp_path, embeddings_metadata={"wurds": "x"})])


def test_a_second_training_adds_to_the_first(tmp_path):
    log = TensorBoard(tmp_path)
    losses = [trained(log, epochs=1)[1]["loss"][0] for _ in range(2)]
    assert scalars(tmp_path / "train")["epoch_loss"] == [(0, np.float32(loss)) for loss in losses]


def test_mistakes_are_named(tmp_path, monkeypatch):
    with pytest.raises(ArgumentError, match=r"TensorBoard\(update_freq\)"):
        TensorBoard(tmp_path, update_freq="step")
    with pytest.raises(ArgumentError, match=r"TensorBoard\(histogram_freq\)"):
        TensorBoard(tmp_path, histogram_freq=-1)
    with pytest.warns(KgraphWarning, match="no profile"):
        TensorBoard(tmp_path, profile_batch=2)
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="a folder that can be written"):
        trained(TensorBoard(tmp_path / "file"), epochs=1)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(StateError, match=r"pip install kgraph\[tensorboard\]"):
        TensorBoard(tmp_path)
