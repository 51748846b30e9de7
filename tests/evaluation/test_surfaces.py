"""Distances against SimpleITK, DeepMind's surface-distance, SciPy, and closed forms."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import surface_distance
from scipy import ndimage
from sklearn.metrics import f1_score, jaccard_score

from lungseg.evaluation import metrics
from lungseg.evaluation.surfaces import boundary_iou, crop_to_both, surface, surface_distances


def blob(seed: int, shape: tuple[int, ...], share: float = 0.3) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.0)
    return noise > np.quantile(noise, 1 - share)


def single(shape: tuple[int, ...], *at: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[at] = True
    return mask


def box(shape: tuple[int, ...], start: int, stop: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[(slice(start, stop),) * len(shape)] = True
    return mask


PLANE, SPACE = (40, 52), (14, 20, 24)
PAIRS = {
    "blobs": (blob(1, PLANE), blob(2, PLANE)),
    "dense and sparse": (blob(3, PLANE, 0.7), blob(4, PLANE, 0.05)),
    "single pixels": (single(PLANE, 3, 4), single(PLANE, 30, 44)),
    "a pixel and a blob": (single(PLANE, 0, 0), blob(5, PLANE)),
    "the same": (blob(6, PLANE), blob(6, PLANE)),
    "full and a box": (np.ones(PLANE, bool), box(PLANE, 10, 20)),
    "touching": (box(PLANE, 5, 15), np.roll(box(PLANE, 5, 15), 10, axis=0)),
    "at the border": (box(PLANE, 0, 8), box(PLANE, 0, 12)),
    "volumes": (blob(7, SPACE), blob(8, SPACE)),
    "a voxel and a volume": (single(SPACE, 13, 0, 23), blob(9, SPACE)),
}
SPACINGS: dict[int, list[tuple[float, ...]]] = {
    2: [(1.0, 1.0), (0.7, 0.7), (2.5, 0.6)],
    3: [(1.0, 1.0, 1.0), (5.0, 0.7, 0.9)],
}
CASES = [
    pytest.param(*pair, spacing, id=f"{name}, {spacing}")
    for name, pair in PAIRS.items()
    for spacing in SPACINGS[pair[0].ndim]
]


def by_simpleitk(
    truth: np.ndarray, guess: np.ndarray, spacing: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Directed distances by SimpleITK's Maurer transform on the full image."""

    def image(mask: np.ndarray) -> sitk.Image:
        # A rim of background: ITK does not count the image's border as a contour.
        made = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
        made.SetSpacing(spacing[::-1])
        return made

    def contour(mask: np.ndarray) -> np.ndarray:
        edge = sitk.LabelContour(image(mask), fullyConnected=False)
        return np.asarray(sitk.GetArrayFromImage(edge) > 0)

    def distance(mask: np.ndarray) -> np.ndarray:
        edge = sitk.LabelContour(image(mask), fullyConnected=False)
        found = sitk.SignedMaurerDistanceMap(
            edge, insideIsPositive=False, squaredDistance=True, useImageSpacing=True
        )
        # Inside the one-pixel contour the signed map is at or below zero: distance nought.
        return np.asarray(np.sqrt(np.maximum(sitk.GetArrayFromImage(found), 0)))

    return distance(guess)[contour(truth)], distance(truth)[contour(guess)]


@pytest.mark.parametrize(("truth", "guess", "spacing"), CASES)
def test_distances_equal_simpleitks(
    truth: np.ndarray, guess: np.ndarray, spacing: tuple[float, ...]
) -> None:
    found = surface_distances(truth, guess, spacing)
    one, other = by_simpleitk(truth, guess, spacing)
    np.testing.assert_allclose(np.sort(found.to_prediction), np.sort(one), atol=1e-4)
    np.testing.assert_allclose(np.sort(found.to_truth), np.sort(other), atol=1e-4)
    hd95 = max(np.percentile(one, 95), np.percentile(other, 95))
    assert found.hd95() == pytest.approx(hd95, abs=1e-4)
    both = np.concatenate([one, other])
    assert found.assd() == pytest.approx(both.mean(), abs=1e-4)
    for tolerance in (1.05, 2.05):
        assert found.nsd(tolerance) == pytest.approx((both <= tolerance).mean())


@pytest.mark.parametrize(("truth", "guess", "spacing"), CASES)
def test_distances_equal_the_plain_scipy_way(
    truth: np.ndarray, guess: np.ndarray, spacing: tuple[float, ...]
) -> None:
    def edge(mask: np.ndarray) -> np.ndarray:
        return mask & ~ndimage.binary_erosion(mask)

    to_guess = ndimage.distance_transform_edt(~edge(guess), sampling=spacing)[edge(truth)]
    to_truth = ndimage.distance_transform_edt(~edge(truth), sampling=spacing)[edge(guess)]
    found = surface_distances(truth, guess, spacing)
    np.testing.assert_allclose(np.sort(found.to_prediction), np.sort(to_guess), atol=1e-9)
    np.testing.assert_allclose(np.sort(found.to_truth), np.sort(to_truth), atol=1e-9)


@pytest.mark.parametrize("name", ["blobs", "dense and sparse", "volumes"])
def test_scores_come_near_deepminds_which_weighs_surface_elements(name: str) -> None:
    # Theirs weighs each surface element by its area and puts it between pixels: near, not equal.
    truth, guess = PAIRS[name]
    spacing = (1.0,) * truth.ndim
    theirs = surface_distance.compute_surface_distances(truth, guess, spacing)
    found = surface_distances(truth, guess, spacing)
    hd95 = surface_distance.compute_robust_hausdorff(theirs, 95)
    assert found.hd95() == pytest.approx(hd95, abs=1.5)
    nsd = surface_distance.compute_surface_dice_at_tolerance(theirs, 2.0)
    assert found.nsd(2.0) == pytest.approx(nsd, abs=0.12)


@pytest.mark.parametrize("name", PAIRS)
def test_overlap_equals_scikit_learns_and_simpleitks(name: str) -> None:
    truth, guess = PAIRS[name]
    counts = metrics.count(truth, guess)
    assert metrics.dice(counts) == pytest.approx(f1_score(truth.ravel(), guess.ravel()))
    assert metrics.iou(counts) == pytest.approx(jaccard_score(truth.ravel(), guess.ravel()))
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(
        sitk.GetImageFromArray(truth.astype(np.uint8)),
        sitk.GetImageFromArray(guess.astype(np.uint8)),
    )
    assert metrics.dice(counts) == pytest.approx(overlap.GetDiceCoefficient())
    assert metrics.iou(counts) == pytest.approx(overlap.GetJaccardCoefficient())


@pytest.mark.parametrize("distance", [0, 1, 3, 8])
def test_two_squares_apart_by_d(distance: int) -> None:
    # Squares of 10 pixels, the second moved by d along one axis.
    truth = np.zeros((60, 60), bool)
    truth[20:30, 20:30] = True
    guess = np.roll(truth, distance, axis=1)
    found = surface_distances(truth, guess, (1.0, 2.0))
    assert found.hd95() <= 2.0 * distance
    if distance == 0:
        assert (found.hd95(), found.assd(), found.nsd(0.5)) == (0.0, 0.0, 1.0)
    # The column facing away is exactly d columns, 2 d mm, from the other square's.
    assert max(found.to_prediction) == pytest.approx(2.0 * distance)
    assert metrics.dice(metrics.count(truth, guess)) == pytest.approx(1 - distance / 10)


def test_two_parallel_plates_have_every_score_in_closed_form() -> None:
    one, other = np.zeros((4, 30), bool), np.zeros((4, 30), bool)
    one[:, 5], other[:, 12] = True, True
    found = surface_distances(one, other, (3.0, 0.5))
    assert (found.hd95(), found.assd()) == (3.5, 3.5)
    assert (found.nsd(3.4), found.nsd(3.5)) == (0.0, 1.0)


def test_empty_masks_follow_the_rule() -> None:
    empty, some = np.zeros((3, 4), bool), single((3, 4), 1, 1)
    both = surface_distances(empty, empty, (2.0, 2.0))
    assert (both.hd95(), both.assd(), both.nsd(1)) == (0.0, 0.0, 1.0)
    assert boundary_iou(empty, empty, (1.0, 1.0)) == 1.0
    for truth, guess in ((empty, some), (some, empty)):
        one = surface_distances(truth, guess, (2.0, 2.0))
        assert (one.hd95(), one.assd(), one.nsd(1)) == (10.0, 10.0, 0.0)
        assert boundary_iou(truth, guess, (1.0, 1.0)) == 0.0


@pytest.mark.parametrize(("truth", "guess", "spacing"), CASES)
def test_boundary_iou_equals_its_definition_on_the_full_image(
    truth: np.ndarray, guess: np.ndarray, spacing: tuple[float, ...]
) -> None:
    width = 0.05 * np.linalg.norm(np.multiply(truth.shape, spacing))

    def band(mask: np.ndarray) -> np.ndarray:
        depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)
        return mask & (depth <= width)[(slice(1, -1),) * mask.ndim]

    one, other = band(truth), band(guess)
    expected = (one & other).sum() / (one | other).sum()
    assert boundary_iou(truth, guess, spacing, 0.05) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(7, 9), (4, 5, 6)])
def test_a_surface_is_what_erosion_takes_away(shape: tuple[int, ...]) -> None:
    for seed in range(5):
        mask = blob(seed, shape, 0.6)
        np.testing.assert_array_equal(surface(mask), mask & ~ndimage.binary_erosion(mask))


def test_a_band_is_never_thinner_than_a_pixel() -> None:
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    assert boundary_iou(mask, mask, (1.0, 1.0)) == 1.0


def test_the_crop_holds_both_masks_and_no_more() -> None:
    one, other = crop_to_both(single((9, 9), 2, 7), single((9, 9), 5, 3))
    assert one.shape == other.shape == (4, 5)
    assert one.sum() == other.sum() == 1
