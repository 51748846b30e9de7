"""Ten thousand slices, and a thousand epochs, cost hardly more at the end than at the start."""

import cProfile
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lungseg.config.loading import check_config
from lungseg.phantom.dataset import write_pair
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient
from tests.support.phantoms import SIDE, tiny
from tests.support.places import SOAK, Figures
from tests.support.watch import watch

FEW, MANY = (1000, 10_000) if SOAK else (200, 1200)
EPOCHS = 1000 if SOAK else 200
# A row of the history is read, checked and written by some 160.
CALLS_PER_ROW = 200
LUNGSEG = [sys.executable, "-m", "lungseg"]


def write_slices(folder: Path, count: int) -> None:
    """Write slices that differ, ten a patient, quicker than phantoms are drawn."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    drawn = [make_slice(make_patient(number), 0.5, SIDE) for number in range(20)]
    rng = np.random.default_rng(0)
    for number in range(count):
        hu, mask = drawn[number % len(drawn)]
        name = f"p{number // 10:05d}_{number % 10}.png"
        noisy = hu + rng.normal(0, 60, hu.shape)
        write_pair(folder / "images" / name, folder / "masks" / name, noisy, mask)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_slices(
    trained_run: Path, config_file: Path, tmp_path: Path, figures: Figures
) -> None:
    peaks: dict[str, list[float]] = {"prepare": [], "split": [], "infer": []}
    for count in (FEW, MANY):
        place = tmp_path / str(count)
        write_slices(place, count)
        shared = ["-c", str(config_file), "-s", r"split.group_regex=^(p\d+)_"]
        shared += ["-s", "split.allow_leakage=true"]
        arguments = {
            "prepare": ["--images", "images", "--masks", "masks", "-o", "prepared"],
            "split": ["--input", "prepared", "-o", "dataset"],
            "infer": ["--run", str(trained_run), "images", "-o", "out"],
        }
        for verb, rest in arguments.items():
            seen = watch([*LUNGSEG, verb, *shared, *rest], cwd=place, timeout=1800)
            assert seen.code == 0, seen.said
            peaks[verb].append(seen.peak_mib)
            check_progress(seen.said, count)
        assert len(list((place / "out").glob("*.png"))) == count
    for verb, (few, many) in peaks.items():
        row = {"slices": [FEW, MANY], "mib": [round(few), round(many)]}
        figures.setdefault("load", {})[verb] = row
        # A thousand rows of CSV and JSON are a few MiB; the images would be 4 MiB a thousand.
        assert many <= few + 0.01 * (MANY - FEW), peaks


def check_progress(said: str, total: int) -> None:
    """Check that the lines of progress never go back, nor beyond the end."""
    done = [int(count) for count in re.findall(rf"(\d+)/{total}, [\d.]+ img/s", said)]
    assert done == sorted(done)
    assert all(0 < n <= total for n in done)


@pytest.mark.slow
def test_a_long_history_does_not_slow_an_epoch_down(tmp_path: Path, figures: Figures) -> None:
    import keras

    from lungseg.training.averaging import NormalizationStatistics, ValidatedWeights
    from lungseg.training.recorder import Recorder

    config = check_config(tiny(epochs=EPOCHS, monitor="last"), "test")
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    weights = ValidatedWeights(NormalizationStatistics([]), averages=False)
    weights.set_model(model)
    recorder = Recorder(tmp_path, config, [], {}, weights)
    recorder.set_model(model)
    seconds = []
    calls = {}
    for epoch in range(EPOCHS):
        recorder.on_epoch_begin(epoch)
        logs = {"loss": 1 / (epoch + 1), "lung_dice": 0.5, "val_loss": 1.0}
        if epoch in (1, EPOCHS - 1):
            with cProfile.Profile() as profile:
                recorder.on_epoch_end(epoch, logs)
            calls[epoch] = sum(each.callcount for each in profile.getstats())
        else:
            started = time.process_time()
            recorder.on_epoch_end(epoch, logs)
            seconds.append(time.process_time() - started)
    first, last = (float(np.median(part)) for part in (seconds[:50], seconds[-50:]))
    figures["epochs"] = {"first_ms": round(first * 1e3, 1), "last_ms": round(last * 1e3, 1)}
    # Each epoch before adds a row to the table that is written, and no picture or other file. Calls
    # of functions are counted, because seconds depend on what else the machine does.
    assert calls[EPOCHS - 1] - calls[1] <= CALLS_PER_ROW * (EPOCHS - 2)
    assert len((tmp_path / "history.csv").read_text().splitlines()) == EPOCHS + 1
