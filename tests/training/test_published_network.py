"""The published network learns from any first weights, by its published settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lungseg.config.loading import load_config, with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.reading import read_layout
from lungseg.dataset.slices import Slice
from lungseg.training.compiling import compile_model
from lungseg.training.pipeline import Pipeline
from lungseg.verbs.prepare import prepare
from lungseg.verbs.split import split
from tests.support.places import REPOSITORY

EPOCHS = 5
# By the clipped loss below, seed 2 stays at 0.36 on two threads and seed 0 at 0.29 on one thread.
# The other seeds pass 0.9. Which one fails depends on rounding.
SEEDS = (2, 0, 1, 3)

Parts = dict[str, list[Slice]]


def config_of(seed: int) -> Config:
    """Return `configs/original.yaml`, but small enough for a test."""
    smaller = ["data.image_size=[128, 128]", "model.num_layers=6", "train.samples_per_epoch=48"]
    return load_config(
        REPOSITORY / "configs" / "original.yaml",
        [*smaller, f"train.epochs={EPOCHS}", f"seed={seed}"],
    )


@pytest.fixture(scope="module")
def parts(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Return 9 slices to train on and 4 of other patients."""
    work = tmp_path_factory.mktemp("published")
    # Neighbouring slices look alike and may be one patient's: they stay together.
    config = with_overrides(
        config_of(0), {"split.fractions": [0.7, 0.3, 0], "split.neighbour_similarity": 0}
    )
    prepare(config, mini / "images", mini / "masks", work / "prepared")
    split(config, work / "prepared", work / "dataset")
    return read_layout(work / "dataset", config)


def best_dice(parts: Parts, seed: int, loss: Callable[..., Any] | None = None) -> float:
    """Train until the lung Dice on the held-back slices passes 0.5, but at most `EPOCHS`."""
    import keras

    config = config_of(seed)
    keras.utils.set_random_seed(seed)
    pipeline = Pipeline(config, parts["train"], parts["valid"])
    model = compile_model(config, pipeline.steps)
    if loss is not None:
        model.compile(model.optimizer, loss=loss, metrics=model._compile_metrics._user_metrics)
    best = 0.0
    for epoch in range(EPOCHS):
        model.fit(
            pipeline.training(epoch, epoch + 1),
            steps_per_epoch=pipeline.steps,
            shuffle=False,
            verbose=0,
        )
        scores = model.evaluate(pipeline.validation(), verbose=0, return_dict=True)
        best = max(best, scores["lung_dice"])
        if best > 0.5:
            break
    return best


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_it_learns_from_any_first_weights(parts: Parts, seed: int) -> None:
    assert best_dice(parts, seed) > 0.5


@pytest.mark.slow
def test_by_a_clipped_cross_entropy_some_first_weights_do_not_learn(parts: Parts) -> None:
    """The test above says something only about slices on which the loss of version 0.1 fails."""
    from keras import ops

    def clipped(truth: Any, guess: Any) -> Any:
        guess = ops.clip(ops.cast(guess, "float32"), 1e-7, 1.0)
        truth = ops.one_hot(ops.cast(truth, "int32"), 2)
        return ops.mean(-ops.sum(truth * ops.log(guess), axis=-1), axis=(1, 2))

    assert any(best_dice(parts, seed, clipped) <= 0.5 for seed in SEEDS)
