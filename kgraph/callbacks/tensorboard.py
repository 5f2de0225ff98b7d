"""TensorBoard: event files with the values, weights and graph of a training, for TensorBoard to show."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from kgraph.callbacks.callback import Callback, Logs
from kgraph.callbacks.learning_rate import rates_of
from kgraph.data import warn_user
from kgraph.errors import ArgumentError, StateError
from kgraph.ir.graph import Graph, Value
from kgraph.layers import Embedding

_FILES = itertools.count()


def _package() -> ModuleType:
    """tensorboardX, which knows the format of the files."""
    try:
        import tensorboardX
        import tensorboardX.proto.event_pb2  # the formats are modules of their own
        import tensorboardX.proto.graph_pb2
        import tensorboardX.proto.summary_pb2
    except ImportError as error:
        raise StateError("TensorBoard: tensorboardX is not installed", fix="pip install kgraph[tensorboard]") from error
    package: ModuleType = tensorboardX
    return package


class TensorBoard(Callback):
    """Writes event files: into `log_dir`/train what training gives, into `log_dir`/validation what validation gives.

    Epochs have the tags "epoch_loss", "epoch_accuracy", "epoch_learning_rate" ...; batches "batch_loss" ...;
    evaluations "evaluation_loss_vs_iterations" ...; weights "<path>/histogram" and "<path>/image".
    ``tensorboard --logdir logs`` shows them. The package tensorboardX writes the files:
    ``pip install kgraph[tensorboard]``.

    Args:
        log_dir: folder; made if it is not there.
        histogram_freq: epochs from one histogram of every weight to the next; 0 for none.
        write_graph: write the graph of the training step, and the layers.
        write_images: write weights as pictures too, with the histograms.
        write_steps_per_second: write how fast epochs are; batches too, unless `update_freq` is "epoch".
        update_freq: "epoch"; or "batch", or a number of batches from one value to the next, which takes time.
        profile_batch: accepted; there is no profile.
        embeddings_freq: epochs from one projection of every `Embedding` to the next; 0 for none.
        embeddings_metadata: file with a line for each row of the embeddings, or a dict from layer name to file.

    Raises:
        StateError: tensorboardX is not installed.
        ArgumentError: wrong arguments, or a layer without `Embedding` in `embeddings_metadata`.
    """

    adds = ()

    def __init__(
        self, log_dir: str | os.PathLike[str] = "logs", histogram_freq: int = 0, write_graph: bool = True,
        write_images: bool = False, write_steps_per_second: bool = False, update_freq: int | str = "epoch",
        profile_batch: Any = 0, embeddings_freq: int = 0, embeddings_metadata: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._tensorboard = _package()
        self.log_dir = Path(log_dir)
        for name, count in (("histogram_freq", histogram_freq), ("embeddings_freq", embeddings_freq)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise ArgumentError(f"TensorBoard({name})", expected="an int >= 0", received=repr(count))
        every = 1 if update_freq == "batch" else update_freq
        if every != "epoch" and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise ArgumentError("TensorBoard(update_freq)", expected="'epoch', 'batch' or an int >= 1",
                                received=repr(update_freq))  # fmt: skip
        if profile_batch:
            warn_user("TensorBoard: profile_batch is accepted, but no profile is written")
        self.histogram_freq, self.write_graph, self.write_images = histogram_freq, write_graph, write_images
        self.write_steps_per_second, self.update_freq = write_steps_per_second, every
        self.embeddings_freq, self.embeddings_metadata = embeddings_freq, embeddings_metadata
        self._writers: dict[str, Any] = {}
        self._batches = {"train": 0, "validation": 0}
        self._started, self._started_batch, self._first_step = 0.0, 0.0, 0
        if every != "epoch":  # without these hooks many batches run at once
            self.on_train_batch_begin = self._batch_begins  # type: ignore[method-assign]
            self.on_train_batch_end = self._batch_ends  # type: ignore[method-assign]

    def _writer(self, part: str) -> Any:
        """The open file of "train" or "validation"."""
        if part not in self._writers:
            folder = self.log_dir / part
            try:
                folder.mkdir(parents=True, exist_ok=True)
                suffix = f".{os.getpid()}.{next(_FILES)}"  # names that differ in the second alone would overwrite
                self._writers[part] = self._tensorboard.SummaryWriter(str(folder), filename_suffix=suffix)
            except OSError as error:
                raise ArgumentError("TensorBoard(log_dir)", expected="a folder that can be written",
                                    received=f"{str(self.log_dir)!r} ({error.strerror})") from error  # fmt: skip
        return self._writers[part]

    def on_train_begin(self, logs: Logs = None) -> None:
        """Write the graph."""
        self._check_metadata()
        if not self.write_graph:
            return
        writer = self._writer("train")
        proto = self._tensorboard.proto
        definition = _graph_definition(proto.graph_pb2, self.model.training_program().program.graph)
        writer.file_writer.add_event(proto.event_pb2.Event(graph_def=definition.SerializeToString()))
        if getattr(self.model, "graph", None) is not None:
            writer.file_writer.add_summary(_layers_summary(proto.summary_pb2, self.model.to_json()), 0)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Begin to measure the time."""
        self._started, self._first_step = time.perf_counter(), self._step()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write the values of the epoch, and what is due of weights and embeddings."""
        values = dict(logs or {})
        of_training = {name: value for name, value in values.items() if not name.startswith("val_")}
        of_training |= rates_of(self.model)
        if self.write_steps_per_second:
            seconds = max(time.perf_counter() - self._started, 1e-9)
            of_training["steps_per_second"] = (self._step() - self._first_step) / seconds
        self._scalars("train", "epoch_{}", of_training, epoch)
        of_validation = {name[4:]: value for name, value in values.items() if name.startswith("val_")}
        self._scalars("validation", "epoch_{}", of_validation, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            self._write_embeddings(epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_test_end(self, logs: Logs = None) -> None:
        """Write the values of an evaluation over the number of training steps before it."""
        self._scalars("validation", "evaluation_{}_vs_iterations", logs or {}, self._step())

    def on_train_end(self, logs: Logs = None) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _batch_begins(self, batch: int, logs: Logs = None) -> None:
        self._started_batch = time.perf_counter()

    def _batch_ends(self, batch: int, logs: Logs = None) -> None:
        self._batches["train"] += 1
        number = self._batches["train"]
        if number % int(self.update_freq):
            return
        self._scalars("train", "batch_{}", logs or {}, number)
        if self.write_steps_per_second:
            speed = 1 / max(time.perf_counter() - self._started_batch, 1e-9)
            self._scalars("train", "batch_{}", {"steps_per_second": speed}, number)

    def _step(self) -> int:
        """How many steps the optimizer has made."""
        return int(self.model.optimizer.iterations.numpy())

    def _scalars(self, part: str, tag: str, values: Mapping[str, Any], step: int) -> None:
        for name, value in values.items():
            self._writer(part).add_scalar(tag.format(name), float(np.mean(value)), step)

    def _write_weights(self, epoch: int) -> None:
        writer = self._writer("train")
        for weight in self.model.weights:
            writer.add_histogram(f"{weight.path}/histogram", weight.numpy(), epoch)
            pictures = _pictures(weight.numpy()) if self.write_images else None
            if pictures is not None:
                writer.add_images(f"{weight.path}/image", pictures, epoch, dataformats="NHWC")

    def _embeddings(self) -> list[Any]:
        return [layer for layer in self.model.all_layers() if isinstance(layer, Embedding)]

    def _check_metadata(self) -> None:
        if isinstance(self.embeddings_metadata, Mapping):
            known = [layer.name for layer in self._embeddings()]
            for name in self.embeddings_metadata:
                if name not in known:
                    raise ArgumentError("TensorBoard(embeddings_metadata)",
                                        expected=f"names of Embedding layers: {', '.join(known) or 'none'}",
                                        received=repr(name))  # fmt: skip

    def _write_embeddings(self, epoch: int) -> None:
        given = self.embeddings_metadata
        for layer in self._embeddings():
            path = given.get(layer.name) if isinstance(given, Mapping) else given
            words = None if path is None else Path(path).read_text(encoding="utf-8").splitlines()
            table = layer.weights[0].numpy()
            if words is not None and len(words) != len(table):
                raise ArgumentError(f"TensorBoard: {path}", expected=f"{len(table)} lines", received=str(len(words)))
            self._writer("train").add_embedding(table, words, tag=layer.name, global_step=epoch)


def _pictures(weight: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """A weight as pictures (number, height, width, colours), scaled to 0 .. 1; None if it has too many axes."""
    shown = np.atleast_1d(np.squeeze(weight))
    match shown.ndim:
        case 1:
            shown = shown[None, :, None, None]
        case 2:
            shown = (shown.T if shown.shape[0] > shown.shape[1] else shown)[None, ..., None]
        case 3:
            shown = np.moveaxis(shown, 2, 0)[..., None]
        case 4 if shown.shape[-1] in (1, 3, 4):
            pass
        case _:
            return None
    least, most = float(shown.min()), float(shown.max())
    return np.asarray((shown - least) / ((most - least) or 1.0), "float32")


def _graph_definition(graph_pb2: Any, graph: Graph) -> Any:
    """A graph in TensorBoard's form: a node for each op, in the folders of their layers."""
    names: dict[Value, str] = {}
    definition = graph_pb2.GraphDef()
    for number, value in enumerate(graph.inputs):
        names[value] = f"inputs/{value.name or 'input'}_{number}"
        definition.node.add(name=names[value], op="Placeholder")
    for number, node in enumerate(graph.nodes):
        path = f"{node.loc.layer}/{node.op.name}_{number}".lstrip("/").replace(" ", "_")
        for position, value in enumerate(node.outputs):
            names[value] = path if position == 0 else f"{path}:{position}"
        definition.node.add(name=path, op=node.op.name, input=[names[value] for value in node.inputs])
    return definition


def _layers_summary(summary_pb2: Any, text: str) -> Any:
    """The layers as Keras' JSON, which TensorBoard shows as its conceptual graph."""
    summary = summary_pb2.Summary()
    value = summary.value.add(tag="keras")
    value.metadata.plugin_data.plugin_name = "graph_keras_model"
    value.metadata.plugin_data.content = b"1"
    value.tensor.dtype = 7  # DT_STRING
    value.tensor.string_val.append(text.encode())
    return summary
