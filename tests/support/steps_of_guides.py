"""Training steps as Keras' guides write them, for kgraph or Keras; as a script it trains all in Keras."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

RNG = np.random.default_rng(0)
ROWS, BATCH = 40, 8
X = RNG.normal(size=(ROWS, 8)).astype("float32")
SUMS = X.sum(1, keepdims=True)
CLASSES = (np.arange(ROWS) % 3).astype("int32")
NOISE = RNG.normal(size=(ROWS, 4)).astype("float32")
IMAGES = RNG.random((ROWS, 8, 8, 1)).astype("float32")
TOKENS = RNG.integers(0, 10, (ROWS, 5)).astype("int32")


def given_weights(network: Any, seed: int) -> Any:
    """The network with weights drawn from a seed; variances are positive."""
    random, values = np.random.default_rng(seed), []
    for variable in network.weights:
        value = 0.3 * random.normal(size=variable.shape)
        values.append((np.abs(value) + 0.5 if "variance" in variable.path else value).astype("float32"))
    network.set_weights(values)
    return network


def trained(model: Any, x: Any, y: Any = None, **options: Any) -> dict[str, Any]:
    """History and weights after ten steps."""
    history = model.fit(x, y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, **options).history
    return {**history, **{f"weight {n}": value for n, value in enumerate(model.get_weights())}}


def gan(k: Any, tape_type: Any) -> dict[str, Any]:
    """Two optimizers; the second update goes through the network that the first one changed."""

    class Gan(k.Model):
        def __init__(self, discriminator: Any, generator: Any) -> None:
            super().__init__()
            self.discriminator, self.generator = discriminator, generator
            self.d_loss, self.g_loss = k.metrics.Mean(name="d_loss"), k.metrics.Mean(name="g_loss")

        @property
        def metrics(self) -> list[Any]:
            return [self.d_loss, self.g_loss]

        def compile(self, d_optimizer: Any, g_optimizer: Any) -> None:
            super().compile()
            self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
            self.loss_fn = k.losses.BinaryCrossentropy(from_logits=True)

        def train_step(self, data: Any) -> dict[str, Any]:
            real, noise = data
            ones, zeros = k.ops.ones((k.ops.shape(real)[0], 1)), k.ops.zeros((k.ops.shape(real)[0], 1))
            both = k.ops.concatenate([self.generator(noise), real], axis=0)
            with tape_type() as tape:
                d_loss = self.loss_fn(k.ops.concatenate([ones, zeros], axis=0), self.discriminator(both))
            weights = self.discriminator.trainable_weights
            self.d_optimizer.apply_gradients(zip(tape.gradient(d_loss, weights), weights, strict=True))
            with tape_type() as tape:
                g_loss = self.loss_fn(zeros, self.discriminator(self.generator(noise)))
            weights = self.generator.trainable_weights
            self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, weights), weights, strict=True))
            self.d_loss.update_state(d_loss)
            self.g_loss.update_state(g_loss)
            return {"d_loss": self.d_loss.result(), "g_loss": self.g_loss.result()}

    layers = k.layers
    d = [k.Input((8,)), layers.Dense(16), layers.LeakyReLU(negative_slope=0.2), layers.Dropout(0.3), layers.Dense(1)]
    g = [k.Input((4,)), layers.Dense(16, activation="relu"), layers.BatchNormalization(), layers.Dense(8)]
    model = Gan(given_weights(k.Sequential(d), 0), given_weights(k.Sequential(g), 1))
    model.compile(k.optimizers.Adam(0.01), k.optimizers.Adam(0.01, beta_1=0.5))
    return trained(model, X, NOISE)


def gradient_penalty(k: Any, tape_type: Any) -> dict[str, Any]:
    """Gradients of a critic's gradients with respect to its inputs, and several updates in a step."""

    class Critic(k.Model):
        def train_step(self, data: Any) -> dict[str, Any]:
            variables = self.trainable_variables
            for _ in range(2):
                with tape_type() as tape:
                    with tape_type() as inner:
                        inner.watch(data)
                        score = self(data, training=True)
                    slope = inner.gradient(score, [data])[0]
                    norm = k.ops.sqrt(k.ops.sum(k.ops.square(slope), axis=[1, 2, 3]))
                    loss = k.ops.mean(score) + 10.0 * k.ops.mean((norm - 1.0) ** 2)
                self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return {"last": loss}

    inputs = k.Input((8, 8, 1))
    x = k.layers.LeakyReLU(negative_slope=0.2)(k.layers.Conv2D(4, 3, strides=2, padding="same")(inputs))
    x = k.layers.Flatten()(k.layers.Conv2D(6, 3, padding="same", activation="tanh")(x))
    model = given_weights(Critic(inputs, k.layers.Dense(1)(x)), 0)
    model.compile(optimizer=k.optimizers.SGD(0.002))
    return trained(model, IMAGES)


def vae(k: Any, tape_type: Any) -> dict[str, Any]:
    """Three trackers; a term of the loss for what the encoder gives."""

    class Vae(k.Model):
        def __init__(self, encoder: Any, decoder: Any) -> None:
            super().__init__()
            self.encoder, self.decoder = encoder, decoder
            self.total, self.kl = k.metrics.Mean(name="total_loss"), k.metrics.Mean(name="kl_loss")

        @property
        def metrics(self) -> list[Any]:
            return [self.total, self.kl]

        def train_step(self, data: Any) -> dict[str, Any]:
            with tape_type() as tape:
                mean, log_variance = self.encoder(data)
                made = self.decoder(mean + 0.7 * k.ops.exp(0.5 * log_variance))
                rebuilt = k.ops.mean(k.ops.sum(k.losses.binary_crossentropy(data, made), axis=(1, 2)))
                kl = -0.5 * (1 + log_variance - k.ops.square(mean) - k.ops.exp(log_variance))
                kl = k.ops.mean(k.ops.sum(kl, axis=1))
                total = rebuilt + kl
            weights = self.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(total, weights), weights, strict=True))
            self.total.update_state(total)
            self.kl.update_state(kl)
            return {"loss": self.total.result(), "kl_loss": self.kl.result()}

    inputs, latent, layers = k.Input((8, 8, 1)), k.Input((2,)), k.layers
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu", strides=2, padding="same")(inputs))
    encoder = k.Model(inputs, [layers.Dense(2)(x), layers.Dense(2)(x)])
    x = layers.Reshape((4, 4, 4))(layers.Dense(64, activation="relu")(latent))
    decoder = k.Model(latent, layers.Conv2DTranspose(1, 3, strides=2, activation="sigmoid", padding="same")(x))
    model = Vae(given_weights(encoder, 0), given_weights(decoder, 1))
    model.compile(optimizer=k.optimizers.Adam(0.01))
    return trained(model, IMAGES)


def distiller(k: Any, tape_type: Any) -> dict[str, Any]:
    """The usual step with a `compute_loss` that asks a teacher; evaluation with it."""

    class Distiller(k.Model):
        def __init__(self, student: Any, teacher: Any) -> None:
            super().__init__()
            self.student, self.teacher = student, teacher
            self.student_loss = k.losses.SparseCategoricalCrossentropy(from_logits=True)
            self.distance = k.losses.KLDivergence()

        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            soft = k.ops.softmax(self.teacher(x) / 3, axis=1), k.ops.softmax(y_pred / 3, axis=1)
            return 0.1 * self.student_loss(y, y_pred) + 0.9 * 9 * self.distance(*soft)

        def call(self, inputs: Any, training: bool = False) -> Any:
            return self.student(inputs, training=training)

    def network(units: int, seed: int) -> Any:
        hidden = k.layers.Dense(units, activation="relu")
        parts = [k.Input((8,)), hidden, k.layers.BatchNormalization(), k.layers.Dense(3)]
        return given_weights(k.Sequential(parts), seed)

    teacher = network(16, 0)
    teacher.trainable = False
    model = Distiller(network(4, 1), teacher)
    model.compile(k.optimizers.Adam(0.01), metrics=[k.metrics.SparseCategoricalAccuracy()])
    return trained(model, X, CLASSES, validation_data=(X[:20], CLASSES[:20]))


def accumulation(k: Any, tape_type: Any) -> dict[str, Any]:
    """Variables that a step keeps and assigns; metrics given to `compile`."""

    class Accumulating(k.Model):
        def keep(self) -> None:
            make = k.Variable
            self.sums = [make(np.zeros(v.shape, "float32"), trainable=False) for v in self.trainable_variables]
            self.count = make(np.float32(0), trainable=False)

        def train_step(self, data: Any) -> dict[str, Any]:
            x, y = data
            with tape_type() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
            for total, slope in zip(self.sums, tape.gradient(loss, self.trainable_variables), strict=True):
                total.assign_add(slope)
            self.count.assign_add(1.0)
            due = k.ops.cast(k.ops.equal(self.count % 2.0, 0.0), "float32")
            slopes = [total * due for total in self.sums]
            self.optimizer.apply_gradients(zip(slopes, self.trainable_variables, strict=True))
            for total in self.sums:
                total.assign(total * (1.0 - due))
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

    inputs = k.Input((8,))
    outputs = k.layers.Dense(1)(k.layers.Dense(5, activation="tanh", kernel_regularizer="l2")(inputs))
    model = given_weights(Accumulating(inputs, outputs), 0)
    model.keep()
    model.compile(k.optimizers.SGD(0.01), loss="mse", metrics=["mae"])
    return trained(model, X, SUMS)


def moved_and_back(k: Any, tape_type: Any) -> dict[str, Any]:
    """Weights moved uphill and back in a step (sharpness-aware minimisation)."""

    class Sharp(k.Model):
        def train_step(self, data: Any) -> dict[str, Any]:
            x, y = data
            variables, losses = self.trainable_variables, []
            steps = [0.0 for _ in variables]
            for _ in range(2):
                for variable, step in zip(variables, steps, strict=True):
                    variable.assign_add(step + k.ops.zeros_like(variable))
                with tape_type() as tape:
                    losses.append(self.compute_loss(x=x, y=y, y_pred=self(x, training=True)))
                slopes = tape.gradient(losses[-1], variables)
                for variable, step in zip(variables, steps, strict=True):
                    variable.assign_sub(step + k.ops.zeros_like(variable))
                norm = k.ops.sqrt(sum(k.ops.sum(k.ops.square(slope)) for slope in slopes))
                steps = [0.05 * slope / (norm + 1e-12) for slope in slopes]
            self.optimizer.apply(slopes, variables)
            return {"here": losses[0], "uphill": losses[1]}

    inputs = k.Input((8,))
    model = given_weights(Sharp(inputs, k.layers.Dense(1)(k.layers.Dense(5, activation="tanh")(inputs))), 0)
    model.compile(k.optimizers.Adam(0.01), loss="mse")
    return trained(model, X, SUMS)


def adversarial(k: Any, tape_type: Any) -> dict[str, Any]:
    """The gradient with respect to a tensor inside: embeddings moved by its sign."""

    class Adversarial(k.Model):
        def __init__(self, embedding: Any, head: Any) -> None:
            super().__init__()
            self.embedding, self.head = embedding, head

        def call(self, inputs: Any) -> Any:
            return self.head(self.embedding(inputs))

        def train_step(self, data: Any) -> dict[str, Any]:
            x, y = data
            with tape_type(persistent=True) as tape:
                embedded = self.embedding(x)
                tape.watch(embedded)
                loss = self.compute_loss(y=y, y_pred=self.head(embedded))
                direction = k.ops.stop_gradient(k.ops.sign(tape.gradient(loss, embedded)))
                total = loss + self.compute_loss(y=y, y_pred=self.head(embedded + 0.1 * direction))
            weights = self.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(total, weights), weights, strict=True))
            return {"last": total}

    layers = k.layers
    embedding = k.Sequential([k.Input((5,), dtype="int32"), layers.Embedding(10, 4), layers.Flatten()])
    head = k.Sequential([k.Input((20,)), layers.Dense(6, activation="tanh"), layers.Dense(3, activation="softmax")])
    model = Adversarial(given_weights(embedding, 0), given_weights(head, 1))
    model.compile(k.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    return trained(model, TOKENS, CLASSES)


STEPS: tuple[Callable[[Any, Any], dict[str, Any]], ...] = (
    gan, gradient_penalty, vae, distiller, accumulation, moved_and_back, adversarial,
)  # fmt: skip


def in_keras(path: str) -> None:
    """Train all of them in Keras, and write what came out to a file."""
    import keras
    import tensorflow

    found = {step.__name__: step(keras, tensorflow.GradientTape) for step in STEPS}
    np.savez(path, **{f"{name}: {key}": value for name, parts in found.items() for key, value in parts.items()})


if __name__ == "__main__":
    in_keras(sys.argv[1])
