"""What is measured to judge a mask, on phantoms with a known fault."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.inference.quality import _left_of_middle, assess, thin_out
from lungseg.inference.threshold import label_lungs
from tests.support.volumes import image_of, phantom_volume


@pytest.fixture(scope="module")
def phantom() -> tuple[sitk.Image, sitk.Image]:
    """Return a scan and the lungs that a threshold finds in it."""
    ct, _ = phantom_volume(16, 96)
    return ct, label_lungs(ct)


def with_labels(image: sitk.Image, labels: np.ndarray) -> sitk.Image:
    changed = sitk.GetImageFromArray(labels.astype(np.uint8))
    changed.CopyInformation(image)
    return changed


def test_a_mask_that_is_right_has_the_best_values(phantom: tuple[sitk.Image, sitk.Image]) -> None:
    ct, lungs = phantom
    found = assess(ct, lungs, lungs, 0.99)
    assert (found.certainty, found.threshold_dice, found.dropped_share) == (0.99, 1.0, 0.0)
    assert found.left_of_middle_share == pytest.approx(0.5, abs=0.1)
    assert found.tissues_in_place is True


def test_half_of_the_lungs_agree_by_two_thirds(phantom: tuple[sitk.Image, sitk.Image]) -> None:
    ct, lungs = phantom
    labels = sitk.GetArrayFromImage(lungs)
    labels[tuple(np.argwhere(labels)[::2].T)] = 0
    found = assess(ct, lungs, with_labels(lungs, labels), None)
    assert found.threshold_dice == pytest.approx(2 / 3, abs=0.001)
    assert found.dropped_share == pytest.approx(0.5, abs=0.001)


def test_nothing_agrees_with_nothing_found() -> None:
    water = image_of(np.zeros((16, 70, 70), np.int16), (3.0, 3.0, 5.0))
    found = assess(water, water * 0, water * 0, None)
    assert (found.threshold_dice, found.dropped_share, found.left_of_middle_share) == (None,) * 3
    assert (found.parts_found, found.tissues_in_place) == (0, None)


def test_a_mask_that_misses_what_the_threshold_finds(
    phantom: tuple[sitk.Image, sitk.Image],
) -> None:
    ct, lungs = phantom
    assert assess(ct, lungs * 0, lungs * 0, None).threshold_dice == 0.0


def test_parts_of_a_millilitre_count() -> None:
    labels = np.zeros((9, 40, 40), np.uint8)
    labels[1, 1, 1:11] = labels[4, 5, 1:11] = 1  # 10 voxels of 0.1 mL
    labels[7, 9, 1:10] = 1  # 9 of them
    ct = image_of(np.zeros(labels.shape, np.int16), (5.0, 5.0, 4.0))
    mask = image_of(labels, (5.0, 5.0, 4.0))
    assert assess(ct, mask, mask, None).parts_found == 2


@pytest.mark.parametrize("side", ["left", "right"])
def test_one_lung_lies_on_one_side_of_the_body(
    side: str, phantom: tuple[sitk.Image, sitk.Image]
) -> None:
    ct, lungs = phantom
    labels = sitk.GetArrayFromImage(lungs)
    half = slice(None, 48) if side == "left" else slice(48, None)
    labels[:, :, half] = 0
    share = assess(ct, lungs, with_labels(lungs, labels), None).left_of_middle_share
    assert share is not None
    assert (share > 0.95) if side == "left" else (share < 0.05)


@pytest.mark.parametrize(("slope", "shift"), [(1, 200), (1, -200), (0.6, 0), (1.5, 0), (1, 1024)])
def test_values_on_another_scale_are_not_in_place(
    slope: float, shift: float, phantom: tuple[sitk.Image, sitk.Image]
) -> None:
    ct, lungs = phantom
    values = (sitk.GetArrayFromImage(ct) * slope + shift).astype(np.int16)
    wrong = image_of(values, ct.GetSpacing())
    assert assess(wrong, lungs, lungs, None).tissues_in_place is False


@pytest.mark.parametrize(
    ("size", "spacing", "expected"),
    [
        ((512, 512, 300), (0.7, 0.7, 1.0), (128, 128, 60)),
        ((512, 512, 40), (0.98, 0.98, 6.0), (171, 171, 40)),
        ((128, 96, 20), (0.01, 0.01, 0.01), (64, 96, 20)),  # no volume shrinks to nothing
        ((30, 30, 8), (5.0, 5.0, 10.0), (30, 30, 8)),
    ],
)
def test_about_one_voxel_per_2_and_5_mm_is_left(
    size: tuple[int, ...], spacing: tuple[float, ...], expected: tuple[int, ...]
) -> None:
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetSpacing(spacing)
    few = thin_out(image)
    assert few.GetSize() == expected
    steps = [round(new / old) for new, old in zip(few.GetSpacing(), spacing, strict=True)]
    assert steps == [-(-given // left) for given, left in zip(size, expected, strict=True)]


@pytest.mark.parametrize(("side_mm", "judged"), [(20.0, True), (19.0, False), (0.06, False)])
def test_a_field_smaller_than_any_body_is_not_judged(
    side_mm: float, judged: bool, phantom: tuple[sitk.Image, sitk.Image]
) -> None:
    # In metres instead of millimetres a kernel of 6 mm would have thousands of pixels.
    ct, lungs = (sitk.Image(image) for image in phantom)
    for image in (ct, lungs):
        image.SetSpacing((side_mm / 96, side_mm / 96, 1.0))
    found = assess(ct, lungs, lungs, None)
    assert (found.threshold_dice is not None) == judged
    assert (found.left_of_middle_share is not None) == judged
    assert found.tissues_in_place is True


def test_the_share_to_the_left_is_beside_the_median_of_the_body() -> None:
    body = np.zeros((2, 4, 11), bool)
    body[:, :, 2:9] = True  # the middle column is 5
    lungs = np.zeros_like(body)
    lungs[0, 0, 3:6] = lungs[0, 0, 6] = True  # column 5 is not beyond the middle
    assert _left_of_middle(body, lungs) == 0.25
    assert _left_of_middle(body & False, lungs) is None
    assert _left_of_middle(body, lungs & False) is None


def test_what_was_dropped_is_a_share_of_what_was_found() -> None:
    found = np.zeros((16, 40, 40), np.uint8)
    found[2:6, 5:15, 5:15] = 1  # 400 voxels
    kept = found.copy()
    kept[2, 5, 5:8] = 0
    kept[9, 20, 20:30] = 1  # what was filled is not dropped
    spacing = (2.0, 2.0, 5.0)
    ct = image_of(np.where(found, -800, 40).astype(np.int16), spacing)
    quality = assess(ct, image_of(found, spacing), image_of(kept, spacing), 0.5)
    assert quality.dropped_share == 0.0075
    assert quality.parts_found == 1
    assert quality.certainty == 0.5
