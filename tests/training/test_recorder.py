"""The best model is saved with its averaged weights, and only if it is better."""

import math
from pathlib import Path

import keras
import pytest

from lungseg.config.loading import check_config
from lungseg.training.averaging import ValidatedWeights
from lungseg.training.recorder import Recorder, epoch_in_words, is_better
from tests.support.averaged import NoStatistics, average_of, network, set_weights
from tests.support.phantoms import tiny


def saved(path: Path) -> float:
    model = keras.saving.load_model(path)
    [weight] = {float(value) for w in model.get_weights() for value in w.ravel()}
    return weight


@pytest.mark.parametrize(
    ("monitor", "values"), [("val_loss", (0.5, 0.6, 0.4)), ("val_lung_dice", (0.5, 0.4, 0.6))]
)
def test_the_best_model_has_the_averaged_weights_and_the_checkpoint_the_raw_ones(
    monitor: str, values: tuple[float, ...], tmp_path: Path
) -> None:
    model = network(raw=1.0, average=10.0)
    weights = ValidatedWeights(NoStatistics([]), averages=True)
    recorder = Recorder(
        tmp_path,
        check_config(tiny(monitor=monitor, metrics=["lung_dice"]), "test"),
        [],
        {},
        weights,
    )
    for callback in (weights, recorder):
        callback.set_model(model)
    best = []
    for epoch, value in enumerate(values):
        # As an epoch of training would leave them.
        set_weights(model, epoch + 1.0, 10.0 * (epoch + 1))
        recorder.on_epoch_begin(epoch)
        recorder.on_epoch_end(epoch, {"loss": 1.0, "lung_dice": 0.5, monitor: value})
        best.append(saved(tmp_path / "model.keras"))
        checkpoint = tmp_path / "checkpoints" / f"epoch_{epoch + 1:04d}" / "model.keras"
        assert saved(checkpoint) == epoch + 1.0
        assert average_of(model) == [10.0 * (epoch + 1)] * 2
    # The second epoch is worse than the first, and the third is the best.
    assert best == [10.0, 10.0, 30.0]
    assert (recorder.best, recorder.best_epoch) == (values[2], 3)


def test_the_metrics_of_each_class_are_in_the_table(tmp_path: Path) -> None:
    model = network(raw=1.0, average=10.0)
    sides = {"background": [0, 0, 0], "left": [90, 90, 90], "right": [255, 255, 255]}
    config = check_config({**tiny(metrics=["lung_dice"]), "data": {"rgb_map": sides}}, "test")
    weights = ValidatedWeights(NoStatistics([]), averages=True)
    recorder = Recorder(tmp_path, config, [], {}, weights)
    for callback in (weights, recorder):
        callback.set_model(model)
    recorder.on_epoch_begin(0)
    names = ["lung_dice", "dice_left", "dice_right"]
    recorder.on_epoch_end(0, {"loss": 1.0, "val_lung_dice": 0.5, **dict.fromkeys(names, 0.5)})
    header = (tmp_path / "train_metrics.csv").read_text().splitlines()[0]
    assert header == "epoch,lung_dice,val_lung_dice,dice_left,dice_right"


def test_the_plot_has_one_panel_for_all_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plotted: dict[str, tuple[object, ...]] = {}
    monkeypatch.setattr(
        "lungseg.training.recorder.plot_history",
        lambda path, rows, *what: plotted.update({path.name: what}),
    )
    sides = {"background": [0, 0, 0], "left lung": [90, 90, 90], "right lung": [255, 255, 255]}
    config = check_config({**tiny(metrics=["lung_dice"]), "data": {"rgb_map": sides}}, "test")
    recorder = Recorder(tmp_path, config, [], {}, ValidatedWeights(NoStatistics([]), averages=True))
    names = ["lung_dice", "dice_left_lung", "dice_right_lung"]
    values = dict.fromkeys([*names, *(f"val_{name}" for name in names)], 0.5)
    recorder.history.append({"epoch": 1, "loss": 1.0, **values})
    recorder.on_train_end()
    columns = {"left lung": "val_dice_left_lung", "right lung": "val_dice_right_lung"}
    assert plotted == {
        "train_losses.png": (["loss"], None),
        "train_metrics.png": (["lung_dice"], columns),
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("best", [None, 0.5])
def test_what_is_no_number_is_never_better(value: float, best: float | None) -> None:
    for name in ("val_loss", "val_lung_dice"):
        assert not is_better(name, value, best)


@pytest.mark.parametrize(
    ("monitor", "value", "marked"),
    [
        ("val_lung_dice", 0.0, False),
        ("val_lung_dice", 0.00004, False),
        ("val_lung_dice", 0.0001, True),
        ("val_loss", 0.0, True),
        ("last", 0.5, False),
    ],
)
def test_an_epoch_that_found_no_lung_is_not_called_the_best(
    monitor: str, value: float, marked: bool
) -> None:
    row = {"epoch": 1, "loss": 0.7, "val_lung_dice": value, "val_loss": value, "learning_rate": 1}
    line = f"epoch 1/9: loss 0.7000, val_lung_dice {value:.4f}, val_loss {value:.4f}"
    assert epoch_in_words(row, 9, monitor, better=True) == line + ("  best" if marked else "")
    assert epoch_in_words(row, 9, monitor, better=False) == line


def test_a_value_is_better_only_if_it_differs() -> None:
    for name, better, worse in (("val_loss", 0.4, 0.6), ("val_lung_dice", 0.6, 0.4)):
        assert is_better(name, worse, None)
        assert is_better(name, better, 0.5)
        assert not is_better(name, 0.5, 0.5)
        assert not is_better(name, worse, 0.5)
