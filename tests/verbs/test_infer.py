"""Masks come back at each image's own size; what fails is listed and stops nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import Result

from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.imaging.pixels import labels_of, read_pixels, write_png
from lungseg.inference.predictor import Predictor, at_size
from lungseg.system.tables import read_csv
from lungseg.verbs.infer import infer
from tests.support.phantoms import SIDE

Cli = Callable[..., Result]


def test_masks_have_the_images_size_and_the_maps_colours(
    trained_run: Path, dataset: Path, tmp_path: Path, tiny_config: Config
) -> None:
    source = sorted((dataset / "test" / "images").iterdir())[1]
    grey = read_pixels(source)
    folder = tmp_path / "in"
    folder.mkdir()
    for name, size in (("large.png", (150, 200)), ("same.png", (SIDE, SIDE)), ("s.tif", (31, 47))):
        cv2.imwrite(str(folder / name), cv2.resize(grey, size[::-1]))
    result = infer(tiny_config, [folder, source], tmp_path / "out", run=trained_run)
    rows = {row["case"]: row for row in read_csv(tmp_path / "out" / "cases.csv")}
    assert set(rows) == {"large", "same", "s", source.stem}
    assert result.failed == []
    for name, size in (("large", (150, 200)), ("same", (SIDE, SIDE)), ("s", (31, 47))):
        mask = read_pixels(tmp_path / "out" / f"{name}.png")
        assert mask.shape == size
        assert set(np.unique(mask)) <= {0, 255}
        assert int(rows[name]["lung_pixels"]) == np.count_nonzero(mask)
        assert (int(rows[name]["height"]), int(rows[name]["width"])) == size
    assert not (tmp_path / "out" / "overlays").exists()


def test_the_mask_is_the_networks_most_probable_class(
    trained_run: Path, dataset: Path, tmp_path: Path, tiny_config: Config
) -> None:
    source = sorted((dataset / "test" / "images").iterdir())[1]
    infer(tiny_config, [source], tmp_path / "out", model=trained_run / "model.onnx")
    predictor = Predictor(trained_run / "model.onnx")
    p = predictor.probabilities([read_pixels(source)])[0]
    mask = read_pixels(tmp_path / "out" / source.name)
    np.testing.assert_array_equal(mask > 0, p.argmax(-1) == 1)


def test_overlays_are_drawn_when_asked(
    trained_run: Path, dataset: Path, tmp_path: Path, lungseg: Cli
) -> None:
    images = dataset / "test" / "images"
    result = lungseg("infer", "--run", trained_run, images, "-o", tmp_path / "out", "--overlay")
    assert result.exit_code == 0
    names = {path.name for path in images.iterdir()}
    assert {path.name for path in (tmp_path / "out" / "overlays").iterdir()} == names
    picture = read_pixels(tmp_path / "out" / "overlays" / sorted(names)[1])
    assert picture.shape == (SIDE, SIDE, 3)


def test_one_bad_image_is_listed_and_the_others_are_done(
    trained_run: Path, dataset: Path, tmp_path: Path, lungseg: Cli
) -> None:
    folder = tmp_path / "in"
    shutil.copytree(dataset / "test" / "images", folder)
    count = len(list(folder.iterdir()))
    (folder / "broken.png").write_bytes(b"broken")
    first = sorted(folder.iterdir())[1]
    shutil.copy(first, folder / f"{first.stem}.bmp")
    result = lungseg("infer", "--run", trained_run, folder, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 4
    assert "broken.png" in result.stderr
    rows = json.loads(result.stdout)["cases"]
    failed = {row["input"]: row["detail"] for row in rows if row["status"] == "failed"}
    assert set(failed) == {"broken.png", first.name}
    assert "same file name" in failed[first.name]
    assert sum(row["status"] == "done" for row in rows) == count
    assert len(read_csv(tmp_path / "out" / "cases.csv")) == count + 2


def test_nothing_but_bad_images_is_unusable_data(
    trained_run: Path, tmp_path: Path, lungseg: Cli
) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    result = lungseg("infer", "--run", trained_run, tmp_path / "bad.png", "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "empty (0 bytes)" in result.stderr


def test_inputs_and_models_that_are_missing_are_named(
    trained_run: Path, dataset: Path, tmp_path: Path, lungseg: Cli
) -> None:
    images, out = dataset / "test" / "images", tmp_path / "out"
    for arguments, said in (
        (("--run", trained_run, tmp_path / "no.png"), "no.png: there is no such file"),
        (("--run", tmp_path / "no", images), "no such run folder"),
        (("--run", dataset, images), "has no exported model"),
        (("--model", tmp_path / "no.onnx", images), "no such model file"),
        (("--model", "x.onnx", "--run", trained_run, images), "either"),
    ):
        result = lungseg("infer", *arguments, "-o", out)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
        assert not out.exists()
    (tmp_path / "empty").mkdir()
    result = lungseg("infer", "--run", trained_run, tmp_path / "empty", "-o", out)
    assert (result.exit_code, "holds no PNG" in result.stderr) == (3, True)


def test_a_damaged_or_foreign_model_is_refused(
    trained_run: Path, dataset: Path, tmp_path: Path, tiny_config: Config
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    content = (trained_run / "model.onnx").read_bytes()
    (run / "model.onnx").write_bytes(content[: len(content) // 2])
    images = [dataset / "test" / "images"]
    with pytest.raises(DataError, match=r"model\.json: expected beside"):
        infer(tiny_config, images, tmp_path / "out", run=run)
    description = json.loads((trained_run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(description))
    with pytest.raises(DataError, match="not a usable ONNX model"):
        infer(tiny_config, images, tmp_path / "out", run=run)
    (run / "model.onnx").write_bytes(content)
    description["input"]["size"] = [32, 32]
    (run / "model.json").write_text(json.dumps(description))
    with pytest.raises(DataError, match="belong to different models"):
        infer(tiny_config, images, tmp_path / "out", run=run)
    (run / "model.json").write_text("{}")
    with pytest.raises(DataError, match="is not what lungseg train writes"):
        infer(tiny_config, images, tmp_path / "out", run=run)
    assert not (tmp_path / "out").exists()


def test_an_output_that_holds_something_is_refused(
    trained_run: Path, dataset: Path, tmp_path: Path, tiny_config: Config
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    images = [dataset / "test" / "images"]
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"not empty.*mine\.txt"):
            infer(tiny_config, images, tmp_path / "out", run=trained_run, overwrite=overwrite)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_probabilities_are_enlarged_before_the_class_is_chosen() -> None:
    p = np.zeros((4, 4, 3), np.float32)
    p[:2, :, 0] = 1
    p[2:, :, 2] = 1
    labels = labels_of(at_size(p, (16, 16)))
    assert labels.shape == (16, 16)
    # A ramp from class 0 to class 2 never passes through class 1.
    assert set(np.unique(labels)) == {0, 2}
    write = labels_of(at_size(p, (4, 4)))
    np.testing.assert_array_equal(write, p.argmax(-1))


def test_hu_images_are_seen_through_the_models_window(
    trained_run: Path, tmp_path: Path, tiny_config: Config
) -> None:
    from lungseg.imaging.pixels import apply_window
    from lungseg.phantom.drawing import make_slice
    from lungseg.phantom.patient import make_patient

    hu, _ = make_slice(make_patient(1), 0.4, SIDE)
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "hu.tif"), hu)
    write_png(tmp_path / "in" / "grey.png", apply_window(hu, (-1000, 400)))
    infer(tiny_config, [tmp_path / "in"], tmp_path / "out", run=trained_run)
    np.testing.assert_array_equal(
        read_pixels(tmp_path / "out" / "hu.png"), read_pixels(tmp_path / "out" / "grey.png")
    )
