"""What the config says of the optimizer is what the network is compiled with."""

from pathlib import Path

import keras
import numpy as np
import pytest

from lungseg.config.loading import check_config
from lungseg.training.compiling import compile_model
from tests.support.phantoms import tiny


@pytest.mark.parametrize(
    ("name", "optimizer_class"), [("adam", "AveragingAdam"), ("adamw", "AveragingAdamW")]
)
def test_the_average_covers_the_share_of_the_config(name: str, optimizer_class: str) -> None:
    config = check_config(tiny(optimizer=name, weight_average=0.125), "test")
    optimizer = compile_model(config, steps=1).optimizer
    assert type(optimizer).__name__ == optimizer_class
    # The last eighth of the steps: `ema_momentum` is the share that is left out.
    assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.875)
    without = check_config(tiny(optimizer=name, weight_average=0), "test")
    assert not compile_model(without, steps=1).optimizer.use_ema


def test_each_class_is_watched_also_by_a_network_that_was_saved(tmp_path: Path) -> None:
    given = tiny()
    sides = {"background": [0, 0, 0], "left": [90, 90, 90], "right": [255, 255, 255]}
    given["data"]["rgb_map"] = sides
    model = compile_model(check_config(given, "test"), steps=1)
    side = given["data"]["image_size"][0]
    images, labels = np.zeros((1, side, side, 1), np.float32), np.ones((1, side, side), np.uint8)
    # Saved as after an epoch; Keras warns of an optimizer without a step.
    model.train_on_batch(images, labels)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    found = [each.evaluate(images, labels, verbose=0, return_dict=True) for each in (model, again)]
    assert found[0].keys() >= {"loss", "lung_dice", "dice_left", "dice_right"}
    assert found[0] == pytest.approx(found[1])
