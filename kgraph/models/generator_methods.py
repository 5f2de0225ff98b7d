"""fit_generator, evaluate_generator, predict_generator: names of older Keras for training on streams."""

from __future__ import annotations

from typing import Any

from kgraph.models.training import Trainer


class GeneratorMethods(Trainer):
    """The old names. What they say about workers is accepted and unused: a `PyDataset` knows its own."""

    def fit_generator(
        self, generator: Any, steps_per_epoch: int | None = None, epochs: int = 1, verbose: int | str = 1,
        callbacks: Any = None, validation_data: Any = None, validation_steps: int | None = None,
        validation_freq: Any = 1, class_weight: Any = None, max_queue_size: int = 10, workers: int = 1,
        use_multiprocessing: bool = False, shuffle: bool = True, initial_epoch: int = 0, *,
        nb_epoch: int | None = None,
    ) -> Any:  # fmt: skip
        """`fit` on a stream."""
        return self.fit(
            generator, epochs=epochs, verbose=verbose, callbacks=callbacks, validation_data=validation_data,
            shuffle=shuffle, class_weight=class_weight, initial_epoch=initial_epoch, steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps, validation_freq=validation_freq, nb_epoch=nb_epoch,
        )  # fmt: skip

    def evaluate_generator(
        self, generator: Any, steps: int | None = None, callbacks: Any = None, max_queue_size: int = 10,
        workers: int = 1, use_multiprocessing: bool = False, verbose: int | str = 0,
    ) -> Any:  # fmt: skip
        """`evaluate` on a stream."""
        return self.evaluate(generator, steps=steps, callbacks=callbacks, verbose=verbose)

    def predict_generator(
        self, generator: Any, steps: int | None = None, callbacks: Any = None, max_queue_size: int = 10,
        workers: int = 1, use_multiprocessing: bool = False, verbose: int | str = 0,
    ) -> Any:  # fmt: skip
        """`predict` on a stream."""
        return self.predict(generator, steps=steps, callbacks=callbacks, verbose=verbose)
