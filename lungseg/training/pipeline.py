"""The tf.data input pipelines: decode, augment, batch, prefetch. Nothing is kept in memory.

Training reads one endless stream of samples. It goes through the slices again and again, each round
in a new order. Only the seed and the number `k` decide which slice is sample `k` and how it is
augmented. A resumed training therefore goes on exactly where it stopped, and the cases of any batch
can be listed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.dataset.augmentation import Augmenter, draw_seed
from lungseg.dataset.slices import Slice
from lungseg.errors import DataError
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import read_slice
from lungseg.system.environment import cores

# With 16 to 232 slices in batches of 4 to 16, the validation Dice of one network at a high rate
# was 0.661 to 0.669, with no gain from 64 slices on.
STATISTICS_SLICES = 64
STATISTICS_BATCH = 8

Loaded = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class Pipeline:
    """The training and validation streams of one data set.

    Attributes:
        steps: batches per epoch.
        samples_per_epoch: slices per epoch, a multiple of the batch size.
        problem: the first error while reading, None if there was none. It is kept here because
            TensorFlow replaces it by its own error.
    """

    def __init__(self, config: Config, train: Sequence[Slice], valid: Sequence[Slice]) -> None:
        """Plan the epochs. Nothing is read yet.

        Args:
            config: the whole config.
            train: the slices to train on, repeated if the data set mixes sources.
            valid: the slices to validate on; may be empty.
        """
        self.config = config
        self.train = list(train)
        self.valid = list(valid)
        wanted = config.train.slices_per_epoch(len(self.train))
        self.batch_size = min(config.train.batch_size, wanted)
        # Slices of the next round fill up the last batch, so all batches have the same shape and
        # no slice is left out.
        self.steps = -(-wanted // self.batch_size)
        self.samples_per_epoch = self.steps * self.batch_size
        self.problem: DataError | None = None
        self._augment = Augmenter(config.augment.online, list(config.data.rgb_map))
        self._order = lru_cache(maxsize=4)(self._shuffle)

    def _shuffle(self, round_: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self.config.seed, round_])
        return rng.permutation(len(self.train))

    def slice_of(self, sample: int) -> Slice:
        """Return the slice of one sample of the training stream, counted from 0."""
        return self.train[int(self._order(sample // len(self.train))[sample % len(self.train)])]

    def cases_of(self, epoch: int, step: int) -> list[str]:
        """Return the cases of one batch. `epoch` and `step` count from 0."""
        first = epoch * self.samples_per_epoch + step * self.batch_size
        return [self.slice_of(first + i).case for i in range(self.batch_size)]

    def training(self, first_epoch: int, epochs: int) -> tf.data.Dataset:
        """Return the training stream.

        Args:
            first_epoch: number of epochs already done.
            epochs: number of epochs done when the stream ends.

        Returns:
            Batches of images, float32 `(B, H, W, channels)` with grey values 0..255, and labels,
            uint8 `(B, H, W)`.
        """

        def load(sample: int) -> Loaded:
            chosen = self.slice_of(sample)
            image, labels = self._read(chosen)
            return self._augment(image, labels, draw_seed(self.config.seed, sample))

        samples = (first_epoch * self.samples_per_epoch, epochs * self.samples_per_epoch)
        return self._stream(samples, load, self.batch_size)

    def validation(self) -> tf.data.Dataset | None:
        """Return the validation slices in order and unchanged, or None if there are none."""
        if not self.valid:
            return None
        return self._stream(
            (0, len(self.valid)), lambda i: self._read(self.valid[i]), self.batch_size
        )

    def typical(self) -> tf.data.Dataset:
        """Return the slices that normalisation statistics are computed from, in whole batches.

        They are spread evenly over the training slices, and unaugmented, as in inference.
        """
        batch_size = min(STATISTICS_BATCH, len(self.train))
        batches = min(STATISTICS_SLICES, len(self.train)) // batch_size
        chosen = np.linspace(0, len(self.train) - 1, batches * batch_size).round().astype(int)
        # Neighbours in the list are one patient's: a batch takes its slices from all over it.
        chosen = chosen.reshape(batch_size, batches).T.ravel()
        return self._stream(
            (0, len(chosen)), lambda i: self._read(self.train[int(chosen[i])]), batch_size
        )

    def _read(self, chosen: Slice) -> Loaded:
        return read_slice(chosen.image, self.config.data), read_labels(
            chosen.mask, self.config.data
        )

    def _stream(
        self, samples: tuple[int, int], load: Callable[[int], Loaded], batch_size: int
    ) -> tf.data.Dataset:
        height, width = self.config.data.image_size
        channels = self.config.data.channels

        def load_or_note(sample: Any) -> Loaded:
            try:
                image, labels = load(int(sample))
                return image.reshape(height, width, channels), labels
            except DataError as problem:
                self.problem = self.problem or problem
                raise

        def read(sample: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image, labels = tf.numpy_function(
                load_or_note, [sample], [tf.uint8, tf.uint8], stateful=False
            )
            image.set_shape((height, width, channels))
            labels.set_shape((height, width))
            return image, labels

        def to_float(image: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return tf.cast(image, tf.float32), labels

        # If several workers train, each takes its share of every batch.
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        # Decoding and augmenting release Python's lock, so threads are enough.
        threads = self.config.train.threads or cores()
        return (
            tf.data.Dataset.range(*samples)
            .map(read, num_parallel_calls=threads, deterministic=True)
            .batch(batch_size)
            .map(to_float)
            .prefetch(2)
            .with_options(options)
        )
