"""A mask on another grid than its scan, the key of patients, and slices that nobody labelled."""

import hmac
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.cutting import cut_volume, onto_grid_of, patient_group, patient_key
from lungseg.errors import DataError, UsageError
from lungseg.imaging.folders import Pair
from lungseg.imaging.labels import UNLABELLED
from lungseg.imaging.volumes import LabelVolume
from tests.support.volumes import image_of

PATH = Path("mask.mha")
SPACING = (0.5, 0.5, 2.0)
ORIGIN = (-30.0, 10.0, 5.0)
SHAPE = (10, 20, 20)


def scan() -> sitk.Image:
    return image_of(np.zeros(SHAPE, np.int16), SPACING, ORIGIN)


def labels() -> np.ndarray:
    """Return a block of 1000 voxels that reaches from the first to the last slice."""
    block = np.zeros(SHAPE, np.uint8)
    block[:, 5:15, 5:15] = 1
    return block


def volume(
    block: np.ndarray,
    spacing: tuple[float, ...] = SPACING,
    origin: tuple[float, ...] = ORIGIN,
) -> LabelVolume:
    return LabelVolume(image_of(block, spacing, origin))


def test_a_mask_on_the_grid_of_its_scan_stays_as_it_is() -> None:
    mask = volume(labels())
    assert onto_grid_of(scan(), mask, PATH) == (mask, [])


@pytest.mark.parametrize("lost", [0, 10, 11])
def test_a_hundredth_of_the_labels_may_lie_outside(lost: int) -> None:
    block = np.zeros(SHAPE, np.uint8)
    block.ravel()[400 : 400 + 1000 - lost] = 1
    block[0].ravel()[:lost] = 1
    # The mask begins a slice below the scan.
    moved = volume(block, origin=(ORIGIN[0], ORIGIN[1], ORIGIN[2] - 2))
    if lost > 10:
        said = r"11 of 1000 labelled voxels \(1\.10%\) of the mask lie outside its image: .* If its"
        with pytest.raises(DataError, match=said):
            onto_grid_of(scan(), moved, PATH)
        return
    found, [finding] = onto_grid_of(scan(), moved, PATH)
    np.testing.assert_array_equal(found.labels[:-1], block[1:])
    assert not found.labels[-1].any()
    assert (finding.code, finding.severity, finding.path) == ("mask_resampled", "repaired", PATH)
    assert finding.detail.startswith("the mask was resampled onto the image: ")
    tail = "; 10 of 1000 labelled voxels (1.00%) lie outside it and are lost"
    assert finding.detail.endswith(tail) == bool(lost)
    assert ("lost" in finding.detail) == bool(lost)


def test_a_mask_without_labels_has_nothing_to_lose() -> None:
    moved = volume(labels() * 0, origin=(ORIGIN[0], ORIGIN[1], ORIGIN[2] - 2))
    found, [finding] = onto_grid_of(scan(), moved, PATH)
    assert not found.labels.any()
    assert "lost" not in finding.detail


@pytest.mark.parametrize(
    ("spacing", "origin", "unset"),
    [
        ((1.0, 1.0, 1.0), ORIGIN, True),
        (SPACING, (0.0, 0.0, 0.0), True),
        # A corner at the origin: that on the other side of the first axis.
        (SPACING, (-9.5, 0.0, 0.0), True),
        # A corner that is 0 along one axis alone lies somewhere.
        ((1.0, 1.0, 2.0), (ORIGIN[0], 0.0, 5.5), False),
    ],
)
def test_a_mask_whose_place_was_lost_is_refused(
    spacing: tuple[float, ...], origin: tuple[float, ...], unset: bool
) -> None:
    block = np.zeros(SHAPE, np.uint8)
    block[2:8, 12:15, 3:6] = 1
    mask = volume(block, spacing, origin)
    said = r"the mask's geometry looks as if it was lost: .* If its voxels are those of the image"
    if unset:
        with pytest.raises(DataError, match=said):
            onto_grid_of(scan(), mask, PATH)
    else:
        assert len(onto_grid_of(scan(), mask, PATH)[1]) == 1
    # If the scan has no place either, it may be right, and of another size it is no copy.
    for other in (image_of(np.zeros(SHAPE, np.int16)), image_of(np.zeros((11, 20, 20), np.int16))):
        try:
            onto_grid_of(other, mask, PATH)
        except DataError as problem:
            assert "looks as if it was lost" not in str(problem)
            assert ("If its voxels" in str(problem)) == (other.GetSize() == mask.image.GetSize())


def test_the_largest_label_that_would_be_lost_is_named() -> None:
    fine = np.zeros((20, 20, 20), np.uint8)
    fine[::2, 5:15, 5:15] = 1
    fine[1, 5, 5:7], fine[3, 5, 5:8] = 2, 3
    with pytest.raises(DataError, match="label 3 would be lost, because its 3 voxels lie between"):
        onto_grid_of(scan(), volume(fine, (0.5, 0.5, 1.0)), PATH)


def test_slices_that_nobody_labelled_are_left_out(tmp_path: Path) -> None:
    block = np.zeros((8, 20, 20), np.uint8)
    block[1:4, 5:15, 5:15] = 1
    block[4:6] = UNLABELLED
    hu = np.full(block.shape, -900, np.int16)
    pair = Pair("ct", tmp_path / "ct.mha", tmp_path / "mask.mha")
    sitk.WriteImage(image_of(hu, SPACING), str(pair.image))
    sitk.WriteImage(image_of(block, SPACING), str(pair.mask))
    for ratio, kept in ((9.0, [1, 2, 3, 4, 7, 8]), (0.0, [2, 3, 4])):
        config = with_overrides(Config(), {"prepare.empty_slices": ratio})
        slices, count, findings = cut_volume(pair, config)
        assert [s.case for s in slices] == [f"ct_z{number:04d}" for number in kept]
        assert count == len(kept)
        told = {f.code: (f.severity, f.detail, f.path) for f in findings}
        assert told["unlabelled_slices"] == (
            "left_out",
            "2 of 8 slices are not labelled",
            pair.mask,
        )
        expected = ("left_out", "3 of 8 slices hold no lung and are left out", pair.image)
        assert told.get("empty_slices") == (expected if ratio == 0 else None)
        assert "no_lung" not in told


def test_a_key_is_read_without_blanks_and_must_be_long_enough(tmp_path: Path) -> None:
    path = tmp_path / "key"
    for text, length in (("  0123456789abcdef\n", 16), ("0123456789abcde\n\n", 15)):
        path.write_text(text)
        if length == 16:
            assert patient_key(path) == b"0123456789abcdef"
        else:
            with pytest.raises(UsageError, match="needs 16 random characters or more, not 15"):
                patient_key(path)
    with pytest.raises(UsageError, match=r"gone: prepare\.patient_key cannot be read"):
        patient_key(tmp_path / "gone")
    random = {patient_key(None) for _ in range(3)}
    assert len(random) == 3
    assert {len(key) for key in random} == {32}


def test_a_group_is_a_hash_of_the_patient_or_the_name_of_the_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def identity(folder: Path, files: object) -> str:
        asked.append(folder)
        return "" if folder.name == "none" else "P-1"

    monkeypatch.setattr("lungseg.imaging.dicom.series.patient_id", identity)
    for name in ("series", "none"):
        (tmp_path / name).mkdir()
    (tmp_path / "file.dcm").touch()
    digest = hmac.digest(b"key", b"P-1", "sha256").hex()
    groups = [
        patient_group(Pair("case", tmp_path / name, PATH), b"key")
        for name in ("series", "none", "file.dcm")
    ]
    assert groups == [f"patient_{digest[:12]}", "case", "case"]
    assert asked == [tmp_path / "series", tmp_path / "none"]
