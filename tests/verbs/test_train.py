"""A run folder is complete, and a training that was stopped ends as one that was not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from lungseg.config.loading import check_config, dump_config, load_config, with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.reading import read_layout
from lungseg.dataset.slices import PARTS, Slice
from lungseg.errors import DataError, UsageError
from lungseg.imaging.pixels import read_pixels, write_png
from lungseg.system.tables import read_csv, read_json
from lungseg.verbs.prepare import prepare
from lungseg.verbs.train import TrainResult, count_slices, train
from tests.support.phantoms import tiny, write_phantoms


def reducing(epochs: int = 7) -> Config:
    """Return a config whose reducer and early stopping both act within a few epochs."""
    data = tiny(
        epochs=epochs, schedule="constant", monitor="val_loss", patience=20, deterministic=True,
        reducer={"factor": 0.5, "patience": 1}, learning_rate=0.2, epoch_change_images=0,
    )  # fmt: skip
    # Batch statistics make the validation loss jump, and are state that a resumed run must restore.
    data["model"] |= {"dropout_rate": 0.3, "normalization": "batch"}
    return check_config(data, "reducing")


def state_of(run: Path) -> dict[str, Any]:
    [state] = (run / "checkpoints").glob("epoch_*/state.json")
    document: dict[str, Any] = json.loads(state.read_text())
    return document


def assert_same_outcome(run: Path, other: Path, result: TrainResult, expected: TrainResult) -> None:
    assert result.epochs == expected.epochs
    assert result.best == expected.best
    assert result.best_epoch == expected.best_epoch
    assert result.learning_rate == expected.learning_rate
    assert state_of(run) == state_of(other)
    assert (run / "history.csv").read_text() == (other / "history.csv").read_text()


def test_a_run_folder_holds_everything(trained_run: Path, dataset: Path) -> None:
    expected = {
        "config.yaml", "run.json", "data.csv", "model.keras", "model.onnx", "model.json",
        "history.csv", "train_losses.csv", "train_losses.png", "train_metrics.csv",
        "train_metrics.png", "epoch_change_infer", "checkpoints",
    }  # fmt: skip
    assert expected <= {path.name for path in trained_run.iterdir()}
    record = json.loads((trained_run / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["command"] == "lungseg train"
    assert record["slices"] == {
        part: len([r for r in read_csv(dataset / "split.csv") if r["part"] == part])
        for part in PARTS
    }
    assert {"tensorflow", "keras", "python", "numpy"} <= set(record["versions"])
    history = read_csv(trained_run / "history.csv")
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert {"loss", "val_loss", "lung_dice", "val_lung_dice", "learning_rate"} <= set(history[0])
    assert load_config(trained_run / "config.yaml").train.epochs == 2
    sheets = sorted((trained_run / "epoch_change_infer").iterdir())
    assert [sheet.name for sheet in sheets] == ["epoch_0001.png", "epoch_0002.png"]
    with Image.open(sheets[0]) as sheet:
        assert sheet.size == (512, 278)


def test_the_exported_model_equals_the_keras_model(trained_run: Path, dataset: Path) -> None:
    import keras

    from lungseg.imaging.pixels import read_slice
    from lungseg.inference.predictor import Predictor

    predictor = Predictor(trained_run / "model.onnx")
    paths = sorted((dataset / "test" / "images").iterdir())
    slices = [read_slice(path, predictor.data) for path in paths]
    model = keras.saving.load_model(trained_run / "model.keras", compile=False)
    expected = model.predict(np.stack(slices).astype("float32")[..., None], verbose=0)
    np.testing.assert_allclose(predictor.probabilities(slices), expected, atol=1e-4)
    usual = read_json(trained_run / "model.json")["certainty"]
    assert 0 < usual["slice"] <= 1
    assert 0 < usual["together"] <= 1
    assert json.loads((trained_run / "model.json").read_text())["onnx_difference"] < 1e-4


def test_what_was_validated_is_what_is_saved(trained_run: Path, dataset: Path) -> None:
    import keras

    from lungseg.training.losses import METRICS
    from lungseg.training.pipeline import Pipeline

    config = load_config(trained_run / "config.yaml")
    model = keras.saving.load_model(trained_run / "model.keras", compile=False)
    parts = read_layout(dataset, config)
    validation = Pipeline(config, parts["train"], parts["valid"]).validation()
    assert validation is not None
    scores: list[float] = []
    for images, truth in validation:
        predicted = model(images, training=False)
        scores += list(np.asarray(METRICS["lung_dice"](truth, predicted)))
    best = read_json(trained_run / "run.json")["best_epoch"]
    reported = read_csv(trained_run / "history.csv")[best - 1]["val_lung_dice"]
    assert np.mean(scores) == pytest.approx(float(reported), abs=1e-5)


def test_the_network_learns(dataset: Path, tmp_path: Path) -> None:
    result = train(check_config(tiny(epochs=16), "t"), dataset, tmp_path / "run")
    assert result.best > 0.8


@pytest.fixture(scope="module")
def unstopped(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    run = tmp_path_factory.mktemp("unstopped") / "run"
    return run, train(reducing(), dataset, run)


def test_the_reducer_acts_with_its_own_patience(unstopped: tuple[Path, TrainResult]) -> None:
    run, _ = unstopped
    rows = read_csv(run / "history.csv")
    rates = [float(row["learning_rate"]) for row in rows]
    losses = [float(row["val_loss"]) for row in rows]
    assert rates[-1] < rates[0]
    for epoch in range(1, len(rows) - 1):
        worse = losses[epoch] >= min(losses[:epoch])
        assert rates[epoch + 1] == pytest.approx(rates[epoch] * (0.5 if worse else 1.0))


@pytest.mark.parametrize("network", ["resunet", "flexunet"])
def test_the_rate_is_the_networks_own_unless_it_is_set(network: str) -> None:
    from lungseg.config.networks import FlexUNetConfig, ResUNetConfig
    from lungseg.training.compiling import compile_model

    own = (FlexUNetConfig if network == "flexunet" else ResUNetConfig).learning_rate
    small = {"name": network, "base_filters": 4, "num_layers": 3}
    for schedule in ("constant", "cosine"):
        for given in (None, 0.25):
            data = {**tiny(schedule=schedule, learning_rate=given, warmup_epochs=0), "model": small}
            rate = compile_model(check_config(data, "test"), steps=8).optimizer._learning_rate
            found = float(rate(0) if schedule == "cosine" else rate)
            assert found == pytest.approx(own if given is None else given)


def test_the_rate_rises_for_half_of_a_training_at_most() -> None:
    from lungseg.training.compiling import compile_model

    config = check_config(tiny(epochs=1, warmup_epochs=3, learning_rate=0.01), "test")
    rate = compile_model(config, steps=8).optimizer._learning_rate
    found = [float(rate(step)) for step in range(9)]
    assert found[:5] == pytest.approx([0, 0.0025, 0.005, 0.0075, 0.01])
    assert found[8] == pytest.approx(0, abs=1e-6)


def test_a_run_stopped_by_ctrl_c_ends_as_one_never_stopped(
    dataset: Path,
    tmp_path: Path,
    unstopped: tuple[Path, TrainResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lungseg.training.callbacks import Progress

    run = tmp_path / "run"
    advance = Progress.on_train_batch_end

    def interrupt(self: Progress, batch: int, logs: Any = None) -> None:
        if self.epoch == 3 and batch == 1:
            raise KeyboardInterrupt
        advance(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_train_batch_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(reducing(), dataset, run)
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    assert state_of(run)["epochs_done"] == 3
    result = train(reducing(), dataset, run, resume=True)
    assert_same_outcome(run, unstopped[0], result, unstopped[1])


@pytest.mark.slow
def test_a_run_killed_outright_ends_as_one_never_stopped(
    dataset: Path, tmp_path: Path, unstopped: tuple[Path, TrainResult]
) -> None:
    run, config = tmp_path / "run", tmp_path / "config.yaml"
    config.write_text(dump_config(reducing()))
    command = [
        sys.executable, "-m", "lungseg", "train", "-c", str(config), "--data", str(dataset),
        "--run", str(run), "--resume",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 240
        while not list((run / "checkpoints").glob("epoch_0002")):
            assert process.poll() is None, "the training ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (run / "model.onnx").exists()
    result = train(reducing(), dataset, run, resume=True)
    assert_same_outcome(run, unstopped[0], result, unstopped[1])


def test_early_stopping_stops_and_stays_stopped(dataset: Path, tmp_path: Path) -> None:
    data = tiny(epochs=40, patience=2, schedule="constant", learning_rate=1e-9)
    config = check_config(data, "test")
    first = train(config, dataset, tmp_path / "run")
    assert first.epochs < 40
    again = train(config, dataset, tmp_path / "run", resume=True)
    assert again.epochs == first.epochs
    patient = with_overrides(config, {"train.patience": 4})
    assert train(patient, dataset, tmp_path / "run", resume=True).epochs == first.epochs + 2


def test_tensorboard_files_are_written_when_asked(dataset: Path, tmp_path: Path) -> None:
    config = check_config(tiny(epochs=1, log=["csv", "tensorboard"]), "t")
    train(config, dataset, tmp_path / "run")
    assert list((tmp_path / "run" / "tensorboard").rglob("events*"))


def test_a_finished_run_can_be_given_more_epochs(dataset: Path, tmp_path: Path) -> None:
    def longer(epochs: int) -> Config:
        return check_config(tiny(epochs=epochs, schedule="constant"), "test")

    train(longer(1), dataset, tmp_path / "run")
    assert train(longer(2), dataset, tmp_path / "run", resume=True).epochs == 2


def test_a_resume_with_another_config_is_refused(trained_run: Path, dataset: Path) -> None:
    changed = check_config(tiny(batch_size=2), "test")
    with pytest.raises(UsageError, match=r"train\.batch_size: was 4, now 2"):
        train(changed, dataset, trained_run, resume=True)


@pytest.mark.parametrize("part", ["train", "valid"])
def test_a_resume_on_other_slices_is_refused(
    trained_run: Path, dataset: Path, part: str, tmp_path: Path
) -> None:
    config = load_config(trained_run / "config.yaml")
    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    count_slices(config, other, trained_run, resume=True)  # the same slices in another folder
    image = sorted((other / part / "images").iterdir())[0]
    write_png(image, 255 - read_pixels(image).astype(np.uint8))
    message = rf"in {part} 1 of its \d+ slices are missing or have other pixels, and 1 are new"
    for resumed in (train, count_slices):
        with pytest.raises(UsageError, match=message):
            resumed(config, other, trained_run, resume=True)


def test_labels_that_an_augmentation_would_make_wrong_are_refused_before_a_run_is_begun(
    dataset: Path, tiny_config: Config, tmp_path: Path
) -> None:
    colours = {"background": [0, 0, 0], "left": [255, 255, 255], "airway": [90, 90, 90]}
    config = with_overrides(tiny_config, {"data.rgb_map": colours, "augment.online.hflip": 0.5})
    for begin in (train, count_slices):
        with pytest.raises(UsageError, match="no class for the other side of left"):
            begin(config, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_exists_is_refused(
    trained_run: Path, dataset: Path, config_file: Path, lungseg: Callable[..., Result]
) -> None:
    before = (trained_run / "model.onnx").read_bytes()
    result = lungseg("train", "-c", config_file, "--data", dataset, "--run", trained_run)
    assert result.exit_code == 2
    assert "--resume" in result.stderr
    assert "--overwrite" in result.stderr
    assert (trained_run / "model.onnx").read_bytes() == before


def test_a_loss_that_is_no_number_stops_and_names_the_cases(dataset: Path, tmp_path: Path) -> None:
    config = check_config(tiny(learning_rate=1e30, schedule="constant", epochs=3), "test")
    with pytest.raises(DataError, match=r"loss became nan.*with the cases patient\d+_slice"):
        train(config, dataset, tmp_path / "run")


def test_an_unreadable_slice_is_named(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "dataset"
    for part in PARTS:
        for kind in ("images", "masks"):
            (copy / part / kind).mkdir(parents=True)
            for path in (dataset / part / kind).iterdir():
                (copy / part / kind / path.name).write_bytes(path.read_bytes())
    (copy / "split.csv").write_text((dataset / "split.csv").read_text())
    broken = sorted((copy / "train" / "images").iterdir())[0]
    broken.write_bytes(b"broken")
    with pytest.raises(DataError, match=broken.name):
        train(check_config(tiny(), "t"), copy, tmp_path / "run")


def test_a_data_set_without_validation_says_what_to_do(dataset: Path, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        folder = tmp_path / "only" / "train" / kind
        folder.mkdir(parents=True)
        for path in (dataset / "train" / kind).iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"train\.monitor=last"):
        train(check_config(tiny(), "t"), tmp_path / "only", tmp_path / "run")
    result = train(
        check_config(tiny(monitor="lung_dice", epochs=1), "t"), tmp_path / "only", tmp_path / "run"
    )
    assert result.epochs == 1


def test_each_slice_is_seen_equally_often_and_the_order_follows_the_seed(
    dataset: Path,
) -> None:
    from lungseg.dataset.reading import read_layout
    from lungseg.training.pipeline import Pipeline

    config = check_config(tiny(samples_per_epoch=10), "t")
    parts = read_layout(dataset, config)
    pipeline = Pipeline(config, parts["train"], parts["valid"])
    count = len(parts["train"])
    seen = [pipeline.slice_of(k).case for k in range(3 * count)]
    assert all(seen.count(case) == 3 for case in set(seen))
    assert seen[:count] != seen[count : 2 * count]
    again = Pipeline(config, parts["train"], parts["valid"])
    assert [again.slice_of(k).case for k in range(3 * count)] == seen
    assert (pipeline.steps, pipeline.samples_per_epoch) == (3, 12)
    batches = list(pipeline.training(1, 2))
    assert [tuple(image.shape) for image, _ in batches] == [(4, 64, 64, 1)] * 3
    # The second epoch begins where the first ends, whether or not the first was run here.
    assert pipeline.cases_of(1, 0) == seen[12:16]


def test_validation_slices_are_read_unchanged(dataset: Path) -> None:
    from lungseg.dataset.reading import read_layout
    from lungseg.imaging.masks import read_labels
    from lungseg.imaging.pixels import read_slice
    from lungseg.training.pipeline import Pipeline

    config = check_config(tiny(), "t")
    parts = read_layout(dataset, config)
    stream = Pipeline(config, parts["train"], parts["valid"]).validation()
    assert stream is not None
    images = np.concatenate([image.numpy() for image, _ in stream])
    labels = np.concatenate([mask.numpy() for _, mask in stream])
    for s, image, mask in zip(parts["valid"], images, labels, strict=True):
        np.testing.assert_array_equal(image[..., 0], read_slice(s.image, config.data))
        np.testing.assert_array_equal(mask, read_labels(s.mask, config.data))


def test_further_slices_are_trained_on_and_nothing_else(
    dataset: Path, prepared: Path, raw: Path, tmp_path: Path
) -> None:
    from lungseg.dataset.reading import read_layout

    further = tmp_path / "further"
    write_phantoms(tmp_path / "raw2", patients=9, slices=1)
    for kind in ("images", "masks"):
        for number in range(1, 6):  # patients of the data set itself
            (tmp_path / "raw2" / kind / f"patient{number:02d}_slice01.png").unlink()
    given = tiny(epochs=1)
    prepare(check_config(given, "test"), tmp_path / "raw2/images", tmp_path / "raw2/masks", further)
    given["data"] = {**given["data"], "train_only": [str(further)]}
    config = check_config(given, "test")
    run = tmp_path / "run"
    train(config, dataset, run)
    own = read_layout(dataset, config)
    rows = read_csv(run / "data.csv")
    counts = {part: sum(row["part"] == part for row in rows) for part in own}
    assert counts["train"] == len(own["train"]) + 4
    assert counts["valid"] == len(own["valid"])
    assert counts["test"] == len(own["test"])
    assert {f"patient{n:02d}" for n in range(6, 10)} <= {row["group"] for row in rows}


@pytest.mark.parametrize(("share", "times"), [(0.25, 16), (0.5, 6), (0.9, 1)])
def test_slices_of_other_sources_are_at_most_their_share_of_what_is_shown(
    share: float, times: int
) -> None:
    from lungseg.dataset.slices import mix_sources

    def some(count: int, prefix: str) -> list[Slice]:
        name = [f"{prefix}{n}" for n in range(count)]
        return [Slice(n, n, n, Path(n), Path(n), 0.2, "", "") for n in name]

    shown = mix_sources(some(10, "own"), some(52, "more"), share)
    assert sum(s.case.startswith("own") for s in shown) == 10 * times
    assert times == 1 or 52 / len(shown) <= share
    assert mix_sources([], some(3, "more"), share) == some(3, "more")
    # Few of them are shown as they are.
    assert len(mix_sources(some(100, "own"), some(4, "more"), share)) == 104


def test_an_epoch_shows_patients_with_few_slices_as_often_as_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lungseg.verbs import train as verb

    def some(many: str, few: str) -> list[Slice]:
        named = [(many, k) for k in range(4)] + [(few, 0)]
        return [Slice(f"{g}{k}", "", g, Path(), Path(), 0.2, f"{g}{k}", "") for g, k in named]

    own, more = some("a", "b"), some("c", "d")
    monkeypatch.setattr(verb, "read_layout", lambda *_: {"train": [*own], "valid": [], "test": []})
    monkeypatch.setattr(verb, "read_manifest", lambda *_: more)
    given = {"train": {"patient_balance": 1, "monitor": "last"}}
    listed, shown = verb._read_parts(check_config(given, "t"), tmp_path)
    assert [s.group for s in shown] == ["a"] * 4 + ["b"] * 4
    assert listed["train"] == own
    # Slices of other sources, of which half may be shown: those of the data set are not repeated.
    given["data"] = {"train_only": [str(tmp_path)], "train_only_share": 0.5}
    listed, shown = verb._read_parts(check_config(given, "t"), tmp_path)
    assert [s.group for s in shown] == [g for group in "abcd" for g in [group] * 4]
    assert listed["train"] == own + more


def test_a_second_process_on_a_run_is_refused_with_the_firsts_number(
    dataset: Path, tiny_config: Config, tmp_path: Path
) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from lungseg.system.run_files import open_run\n"
        "with open_run(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    run = tmp_path / "run"
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(run)], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match=rf"process {first.pid} is writing here"):
        train(tiny_config, dataset, run)
    assert not (run / "config.yaml").exists()
    first.kill()
    first.wait()
    from lungseg.system.run_files import open_run

    # A lock dies with its process, even one killed outright.
    with open_run(run):
        pass


def test_a_run_is_replaced_only_as_it_was_left(
    dataset: Path, tmp_path: Path, lungseg: Callable[..., Result]
) -> None:
    config = tmp_path / "short.yaml"
    config.write_text(dump_config(check_config(tiny(epochs=1, schedule="constant"), "test")))
    (tmp_path / "disk").mkdir()
    run = tmp_path / "run"
    run.symlink_to("disk")
    command = ("train", "--data", dataset, "--run", run)
    assert lungseg(*command, "-c", config).exit_code == 0
    (run / "notes.txt").write_text("mine")
    result = lungseg(*command, "-c", config, "--overwrite")
    assert (result.exit_code, "by lungseg, and would be lost: notes.txt" in result.stderr) == (2, 1)
    (run / "notes.txt").unlink()
    stale = run / "epoch_change_infer" / "epoch_0001.png"
    os.utime(stale, ns=(1, 1))
    assert lungseg(*command, "-c", config, "--overwrite").exit_code == 0
    assert run.is_symlink()
    assert stale.stat().st_mtime_ns > 1
    # A config that was edited by hand is read, and stays as it is.
    edited = "# longer\n" + (run / "config.yaml").read_text().replace("epochs: 1", "epochs: 2")
    (run / "config.yaml").write_text(edited)
    assert lungseg("train", "--data", dataset, "--run", run, "--resume").exit_code == 0
    assert len(read_csv(run / "history.csv")) == 2
    assert (run / "config.yaml").read_text() == edited
    result = lungseg(*command, "-c", config, "--overwrite")
    assert (result.exit_code, "changed since" in result.stderr) == (2, True)


def test_the_last_epoch_is_kept_when_nothing_is_watched(dataset: Path, tmp_path: Path) -> None:
    result = train(check_config(tiny(monitor="last"), "test"), dataset, tmp_path / "run")
    assert result.best_epoch == result.epochs == 2


def test_the_dice_of_a_class_chooses_the_epoch(dataset: Path, tmp_path: Path) -> None:
    given = tiny(monitor="val_dice_left_lung", epochs=3)
    given["data"]["rgb_map"] = {
        "background": [0, 0, 0], "right lung": [9, 9, 9], "left lung": [255, 255, 255],
    }  # fmt: skip
    result = train(check_config(given, "test"), dataset, tmp_path / "run")
    rows = read_csv(tmp_path / "run" / "history.csv")
    values = [float(row["val_dice_left_lung"]) for row in rows]
    # The masks hold one class only, so the Dice of each class differs.
    assert values != [float(row["val_dice_right_lung"]) for row in rows]
    assert (result.monitor, result.best) == ("val_dice_left_lung", max(values))
    assert result.best_epoch == 1 + values.index(max(values))
