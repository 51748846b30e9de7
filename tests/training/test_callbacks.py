"""Which way a monitored value is better, and which weights are used inside a `with` block."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lungseg.errors import DataError
from lungseg.training import callbacks
from lungseg.training.averaging import ValidatedWeights
from lungseg.training.callbacks import (
    EpochChangeInference,
    NotANumber,
    Progress,
    StopAtDeadline,
    averaged,
    direction,
)
from tests.support.averaged import NoStatistics, average_of, network


@pytest.mark.parametrize("prefix", ["", "val_"])
@pytest.mark.parametrize(
    ("name", "better"),
    [("loss", "min"), ("lung_dice", "max"), ("dice_coef_multiclass", "max"), ("accuracy", "max")],
)
def test_a_lower_loss_and_a_higher_score_are_better(name: str, better: str, prefix: str) -> None:
    assert direction(prefix + name) == better


def test_the_raw_weights_come_back_even_after_an_error() -> None:
    model = network(raw=1.0, average=3.0)
    weights = ValidatedWeights(NoStatistics([]), averages=True)
    weights.set_model(model)

    def fail_inside() -> None:
        with averaged(weights):
            assert [float(np.mean(w)) for w in model.get_weights()] == [3.0, 3.0]
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert [float(np.mean(w)) for w in model.get_weights()] == [1.0, 1.0]
    assert average_of(model) == [3.0, 3.0]


def test_progress_counts_slices_and_shows_the_epoch_and_the_loss() -> None:
    shown: list[tuple[int, str]] = []
    bar = SimpleNamespace(advance=lambda count, extra: shown.append((count, extra)))
    progress = Progress(bar, SimpleNamespace(batch_size=4), epochs=9)  # type: ignore[arg-type]
    progress.on_epoch_begin(2)
    progress.on_train_batch_end(0, {"loss": 0.25})
    progress.on_train_batch_end(1)
    assert shown == [(4, "epoch 3/9 loss 0.2500"), (4, "epoch 3/9 loss nan")]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_epoch_batch_and_cases(loss: float) -> None:
    asked: list[tuple[int, int]] = []

    def cases_of(epoch: int, step: int) -> list[str]:
        asked.append((epoch, step))
        return ["first", "second"]

    watching = NotANumber(SimpleNamespace(cases_of=cases_of))  # type: ignore[arg-type]
    watching.on_epoch_begin(1)
    watching.on_train_batch_end(4, {"loss": 0.5})
    watching.on_train_batch_end(4)
    said = rf"became {loss} in epoch 2, batch 6, with the cases first, second\."
    with pytest.raises(DataError, match=said):
        watching.on_train_batch_end(5, {"loss": loss})
    assert asked == [(1, 5)]


@pytest.mark.parametrize(
    ("allowed", "epoch", "stops"),
    [(True, 1, False), (True, 2, False), (False, 1, True), (False, 2, False)],
)
def test_a_training_ends_where_another_epoch_would_be_too_late(
    allowed: bool, epoch: int, stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    said: list[str] = []
    monkeypatch.setattr("lungseg.training.callbacks.console.warn", said.append)
    deadline = SimpleNamespace(begin_epoch=lambda: begun.append(1), allows_another=lambda: allowed)
    stop = StopAtDeadline(deadline)  # type: ignore[arg-type]
    stop.set_params({"epochs": 3})
    stop.set_model(SimpleNamespace(stop_training=False))
    stop.on_epoch_begin(epoch)
    stop.on_epoch_end(epoch)
    assert stop.model.stop_training == stops
    assert begun == [1]
    assert ("ends after epoch 2, before the planned 3" in " ".join(said)) == stops


def test_the_pictures_of_an_epoch_are_those_of_its_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[np.ndarray], list[str]]] = []
    monkeypatch.setattr(callbacks, "outline", lambda image, mask: (image, mask))
    monkeypatch.setattr(
        callbacks, "contact_sheet", lambda pictures, names: drawn.append((pictures, names))
    )
    written: list[Path] = []
    monkeypatch.setattr(callbacks, "write_png", lambda path, _: written.append(path))
    used: list[str] = []
    average = SimpleNamespace(
        on_test_begin=lambda: used.append("average"), on_test_end=lambda: used.append("raw")
    )

    def predict(batch: np.ndarray, training: bool) -> np.ndarray:
        """Say lung where the slice is dark."""
        assert (batch.shape[0], training) == (1, False)
        used.append("predict")
        lung = (np.asarray(batch)[..., :1] < 100).astype(np.float32)
        return np.concatenate([1 - lung, lung], axis=-1)

    slices = [np.full((4, 4), grey, np.uint8) for grey in (10, 200)]
    slices[1][0] = 10
    folder = tmp_path / "deep" / "pictures"
    watching = EpochChangeInference(folder, ["a", "b"], slices, average)  # type: ignore[arg-type]
    watching.set_model(predict)
    watching.on_epoch_end(6)
    assert used == ["average", "predict", "predict", "raw"]
    [(pictures, captions)] = drawn
    assert captions == ["a  epoch 7", "b  epoch 7"]
    for (image, labels), given in zip(pictures, slices, strict=True):
        assert image is given
        np.testing.assert_array_equal(labels, given < 100)
    assert written == [folder / "epoch_0007.png"]
    assert folder.is_dir()
    watching.on_epoch_end(7)  # the folder is there
    assert written[1] == folder / "epoch_0008.png"
