"""Phantoms on disk: the same bytes for the same seed, and pairs that the other verbs can read."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name
from typer.testing import Result

from lungseg.config.loading import check_config
from lungseg.errors import UsageError
from lungseg.imaging.pixels import apply_window, read_pixels
from lungseg.phantom.drawing import FIELD_OF_VIEW_MM, make_slice
from lungseg.phantom.patient import make_patient
from lungseg.verbs.phantom import phantom
from lungseg.verbs.prepare import prepare
from tests.support.phantoms import tiny

Cli = Callable[..., Result]


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")  # the list of files has times
    }


def test_a_slice_is_the_drawing_through_the_window_and_its_mask(tmp_path: Path) -> None:
    phantom(tmp_path / "raw", patients=2, slices=3, size=64, seed=5, window=(-800, 200))
    hu, lungs = make_slice(make_patient(6), 1.5 / 3, 64)
    name = "patient02_slice02.png"
    image, mask = (read_pixels(tmp_path / "raw" / kind / name) for kind in ("images", "masks"))
    np.testing.assert_array_equal(image, apply_window(hu, (-800, 200)))
    np.testing.assert_array_equal(mask, lungs * 255)
    assert len(hashes(tmp_path / "raw")) == 2 * 2 * 3


def test_slices_in_hu_keep_every_value(tmp_path: Path) -> None:
    phantom(tmp_path / "raw", patients=1, slices=1, size=64, hounsfield=True)
    image = cv2.imread(str(tmp_path / "raw/images/patient01_slice01.tif"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(image, make_slice(make_patient(0), 0.5, 64)[0], strict=True)


@pytest.mark.parametrize("volumes", [False, True])
def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path, volumes: bool) -> None:
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        phantom(tmp_path / folder, patients=1, slices=2, size=64, seed=seed, volumes=volumes)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert hashes(tmp_path / "a") != hashes(tmp_path / "c")


def test_a_volume_runs_from_the_feet_up_in_mm(tmp_path: Path) -> None:
    result = phantom(tmp_path / "raw", patients=2, slices=10, size=64, volumes=True)
    assert (result.patients, result.pairs) == (2, 2)
    for kind, index in (("images", 0), ("masks", 1)):
        volume = sitk.ReadImage(str(tmp_path / "raw" / kind / "patient02.nii.gz"))
        assert volume.GetSpacing() == pytest.approx((FIELD_OF_VIEW_MM / 64,) * 2 + (35.0,))
        slices = sitk.GetArrayFromImage(volume)
        for k, z in ((0, 8.5 / 8), (1, 7.5 / 8), (9, -0.5 / 8)):
            drawn = make_slice(make_patient(1), z, 64)[index]
            np.testing.assert_array_equal(slices[k], drawn, strict=True)


def test_slices_of_a_volume_are_5_mm_apart_unless_their_number_is_given(tmp_path: Path) -> None:
    phantom(tmp_path / "raw", patients=1, size=32, volumes=True)
    volume = sitk.ReadImage(str(tmp_path / "raw" / "images" / "patient01.nii.gz"))
    assert volume.GetSpacing()[2] == pytest.approx(5.0)
    assert volume.GetSize() == (32, 32, 58)


@pytest.mark.parametrize("slices", [3, 10])
def test_the_lungs_end_within_a_volume(tmp_path: Path, slices: int) -> None:
    phantom(tmp_path / "raw", patients=3, slices=slices, size=64, volumes=True)
    for path in sorted((tmp_path / "raw" / "masks").iterdir()):
        held = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).any(axis=(1, 2))
        assert not held[0] and not held[-1]
        assert held[1:-1].all()


def test_prepare_reads_the_volumes(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    phantom(raw, patients=1, slices=6, size=64, volumes=True)
    config = check_config(tiny(), "test")
    prepared = prepare(config, raw / "images", raw / "masks", tmp_path / "prepared")
    # Of the two slices beyond the lungs, one is kept as an example without lung.
    assert prepared.slices == 5
    assert ["left out" in issue.detail for issue in prepared.issues] == [True]


def test_what_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    kept = tmp_path / "raw" / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        phantom(kept.parent, patients=1, slices=1, size=32)
    assert kept.read_text() == "mine"
    with pytest.raises(UsageError, match=r"mine\.txt"):
        phantom(kept.parent, patients=1, slices=1, size=32, overwrite=True)
    assert [path.name for path in kept.parent.iterdir()] == ["mine.txt"]


def test_the_command_says_in_json_what_it_wrote(tmp_path: Path, lungseg: Cli) -> None:
    arguments = ("--patients", 1, "--size", 32, "--json", "-q")
    result = lungseg("phantom", "-o", tmp_path / "raw", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    expected = {"output": str(tmp_path / "raw"), "patients": 1, "pairs": 8}
    assert json.loads(result.stdout) == expected


def test_a_window_that_is_none_is_refused(tmp_path: Path, lungseg: Cli) -> None:
    result = lungseg("phantom", "-o", tmp_path / "raw", "--low", 400, "--high", 400)
    assert (result.exit_code, "low must be below high" in result.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []
