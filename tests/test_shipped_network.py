"""The network in the package: its files belong together, its card is true, and it finds lungs."""

import hashlib
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name

import lungseg
from lungseg.config.loading import load_config
from lungseg.config.schema import Config
from lungseg.imaging.pixels import apply_window, with_channels
from lungseg.inference.predictor import Predictor
from lungseg.system.shipped import FOLDER
from lungseg.system.tables import read_csv, read_json
from scripts.maintain import make_labels, write_card
from tests.support.places import REPOSITORY, SHARED_DATA
from tests.support.volumes import phantom_arrays, phantom_volume

CARD = (FOLDER / "model-card.md").read_text(encoding="utf-8")
OPEN_CT = SHARED_DATA / "open-ct"
needs_data = pytest.mark.skipif(not OPEN_CT.exists(), reason=f"needs {OPEN_CT}")


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def part(name: str) -> str:
    return CARD.split(f"<!-- {name} -->")[1].split(f"<!-- end of {name} -->")[0]


def test_it_is_a_finished_run_that_names_no_place() -> None:
    names = {path.name for path in FOLDER.iterdir()}
    run = {"config.yaml", "run.json", "data.csv", "history.csv"}
    assert names == {
        *run, "model.json", "model.keras", "model.onnx", "evaluation.json", "model-card.md"
    }  # fmt: skip
    assert read_json(FOLDER / "run.json")["status"] == "finished"
    assert load_config(FOLDER / "config.yaml").model == Config().model
    for path in FOLDER.iterdir():
        if path.suffix != ".keras":  # compressed
            assert not re.search(rb"/(home|root|tmp|work|Users)/", path.read_bytes()), path


def test_it_is_small_enough() -> None:
    onnx, keras = ((FOLDER / name).stat().st_size for name in ("model.onnx", "model.keras"))
    assert onnx <= 10_000_000
    assert onnx + keras <= 20_000_000


@pytest.mark.slow
def test_both_files_give_the_same_masks() -> None:
    from lungseg.training.exporting import load_best

    predictor = Predictor(FOLDER / "model.onnx")
    data = predictor.data
    planes = phantom_arrays(slices=3, side=data.image_size[0])[0]
    images = [with_channels(apply_window(plane, data.window), data.channels) for plane in planes]
    by_onnx = predictor.probabilities(images)
    batch = np.stack(images).astype(np.float32).reshape(by_onnx.shape[0], *data.image_size, -1)
    by_keras = np.asarray(load_best(FOLDER).predict(batch, batch_size=1, verbose=0))
    np.testing.assert_allclose(by_onnx, by_keras, atol=1e-4)
    # Where both classes are as probable, rounding decides.
    sure = np.abs(by_keras[..., 0] - 0.5) > 1e-4
    np.testing.assert_array_equal(by_onnx.argmax(-1)[sure], by_keras.argmax(-1)[sure])
    assert (by_onnx.argmax(-1) == 1).any()


@pytest.mark.slow
def test_a_training_by_the_default_config_can_start_from_it() -> None:
    from lungseg.training.compiling import compile_model
    from lungseg.training.starting import start_with

    assert start_with(compile_model(Config(), 1), FOLDER) == []


def test_it_finds_the_lungs_of_a_phantom() -> None:
    scan, lung = phantom_volume(slices=16, side=256)
    found = sitk.GetArrayFromImage(lungseg.Segmenter().segment_volume(scan).image)
    assert dice(found > 0, sitk.GetArrayFromImage(lung) > 0) >= 0.95


@needs_data
@pytest.mark.slow
def test_it_finds_the_lungs_of_a_patient_whom_it_was_not_trained_on() -> None:
    name = "nsclc-radiogenomics-r01-001.nii.gz"
    found = lungseg.Segmenter().segment_volume(OPEN_CT / "volumes" / name)
    mask, truth = (
        sitk.GetArrayFromImage(image) > 0
        for image in (found.image, sitk.ReadImage(str(OPEN_CT / "masks" / name)))
    )
    assert dice(mask, truth) >= 0.97
    assert not any("R01-001" in row["group"] for row in read_csv(FOLDER / "data.csv"))


def test_the_card_has_the_hashes_of_the_files() -> None:
    for name in ("model.onnx", "model.keras"):
        digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
        assert re.search(rf"`{re.escape(name)}` \| [\d.]+ \| `{digest}`", part("files"))
    assert f"`{Predictor(FOLDER / 'model.onnx').sha256}`" in part("files")


def test_the_figures_of_the_card_are_those_of_the_evaluation() -> None:
    found = read_json(FOLDER / "evaluation.json")
    assert part("scores").strip().splitlines() == write_card.describe_scores(found)
    rows = [line.split(" | ") for line in part("scores").splitlines() if " | volumes | " in line]
    patients = found["cross_validation"]["patients"]
    if not found["cross_validation"]["measured"]:
        assert "has not been done yet" in part("scores")
        return
    dice = [p["dice"] for p in patients if p["kind"] == "volume" and p["dice"] is not None]
    (everyone,) = (row for row in rows if row[0] == "| **all**")
    assert everyone[3] == f"{statistics.median(dice):.4f}"
    assert everyone[4] == f"{statistics.fmean(dice):.4f}"
    assert everyone[6] == f"{min(dice):.4f}"
    assert len(rows) == 1 + len({p["collection"] for p in patients if p["kind"] == "volume"})


@needs_data
def test_the_card_names_each_collection_with_its_terms() -> None:
    for path in make_labels.find_inputs(SHARED_DATA):
        files = sorted(path.glob("**/*.nii.gz")) if path.name == "slices" else [path]
        for file in files:
            _, terms, citation = make_labels.find_source(file)
            (row,) = (
                line
                for line in part("data").splitlines()
                if all(one.strip() in line for one in citation.split("|"))
            )
            assert f"| {terms.partition(' http')[0]} |" in row


def test_the_documentation_shows_this_card() -> None:
    page = (REPOSITORY / "docs" / "model-card.md").read_text(encoding="utf-8")
    assert page == '--8<-- "lungseg/shipped/model-card.md"\n'


def test_the_terms_of_the_data_are_kept() -> None:
    """What CC BY asks for: who made the data, the terms with their address, what was changed."""
    for asked in (
        "https://creativecommons.org/licenses/by/3.0/",
        "https://creativecommons.org/licenses/by/4.0/",
        "https://www.apache.org/licenses/LICENSE-2.0",
        "doi:10.1007/s10278-013-9622-7",
        "**What was changed.**",
        "Not a medical device",
    ):
        assert asked in CARD
    assert not list(Path(FOLDER).glob("*.nii*")), "no CT is in the package"
