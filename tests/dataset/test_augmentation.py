"""Image and mask move by one draw, and a seed says which."""

import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

import lungseg.dataset.augmentation as augment_module
from lungseg.config.schema import Config
from lungseg.config.training import AugmentConfig, TransformsConfig
from lungseg.dataset.augmentation import Augmenter, draw_seed, soft_tissue
from lungseg.errors import UsageError
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient

_, LABELS = make_slice(make_patient(3), 0.5, 256)
GEOMETRIC = {
    "hflip": {"hflip": 1.0},
    "vflip": {"vflip": 1.0},
    "rotate90": {"rotate90": 1.0},
    "affine": {"affine": {"p": 1.0, "rotate": 25, "scale": 0.2, "shift": 0.1}},
    "shear": {"shear": {"p": 1.0, "limit": 0.3}},
    "elastic": {"elastic": {"p": 1.0, "alpha": 120, "sigma": 8}},
    "crop": {"crop": {"p": 1.0, "limit": 0.6}},
    "barrel": {"barrel": {"p": 1.0, "limit": 0.5}},
    "grid": {"grid": {"p": 1.0, "limit": 0.4}},
}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize("name", GEOMETRIC)
def test_image_and_mask_are_moved_by_the_same_draw(name: str) -> None:
    # The image shows the mask itself: wherever the image goes, the mask must have gone too.
    augment = Augmenter(TransformsConfig.model_validate(GEOMETRIC[name]))
    moved_at_all = 0
    for seed in range(12):
        image, mask = augment(LABELS * np.uint8(255), LABELS, seed)
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 1}
        assert dice(image > 127, mask > 0) > 0.985
        moved_at_all += not np.array_equal(mask, LABELS)
    assert moved_at_all >= 8


@pytest.mark.parametrize("name", GEOMETRIC)
def test_labels_are_not_mixed_where_classes_meet(name: str) -> None:
    classes = ("background", "heart", "lung")
    augment = Augmenter(TransformsConfig.model_validate(GEOMETRIC[name]), classes)
    for seed in range(6):
        _, mask = augment(LABELS * np.uint8(255), LABELS * np.uint8(2), seed)
        assert set(np.unique(mask)) <= {0, 2}


def test_a_mask_moved_by_another_draw_would_be_found_out() -> None:
    # The test above can fail: two draws of the same transform do not agree.
    augment = Augmenter(TransformsConfig.model_validate(GEOMETRIC["elastic"]))
    image, _ = augment(LABELS * np.uint8(255), LABELS, 1)
    _, mask = augment(LABELS * np.uint8(255), LABELS, 2)
    assert dice(image > 127, mask > 0) < 0.985


@pytest.mark.parametrize("name", ["window", "gamma", "brightness", "sharpen", "noise", "blur"])
def test_grey_transforms_leave_the_mask_alone(name: str) -> None:
    augment = Augmenter(TransformsConfig.model_validate({name: {"p": 1.0, "limit": 0.3}}))
    hu, labels = make_slice(make_patient(1), 0.5, 256)
    image = np.clip(hu / 8 + 128, 0, 255).astype(np.uint8)
    changed, mask = augment(image, labels, 5)
    np.testing.assert_array_equal(mask, labels)
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, image)


def test_a_crop_shows_a_part_of_the_slice_anywhere_with_its_proportions() -> None:
    # Rows grow in one channel and columns in another, so a crop tells where it is from.
    rows, columns = np.indices((240, 120)).astype(np.uint8)
    image = np.dstack([rows, columns, rows])
    augment = Augmenter(TransformsConfig.model_validate({"crop": {"p": 1.0, "limit": 0.6}}))
    kept, firsts = [], []
    for seed in range(200):
        moved = augment(image, np.zeros((240, 120), np.uint8), seed)[0].astype(int)
        assert moved.shape == image.shape
        height, width = np.ptp(moved[..., 0]) + 1, np.ptp(moved[..., 1]) + 1
        assert height / 240 == pytest.approx(width / 120, abs=0.015)
        kept.append(height / 240)
        firsts.append(moved[0, 0, 0] / max(1, 240 - height))
    assert 0.4 - 0.005 <= min(kept) < 0.42
    assert 0.95 < max(kept) <= 1
    # What is cut off lies above and below alike often.
    assert np.mean(firsts) == pytest.approx(0.5, abs=0.07)
    assert (min(firsts), max(firsts)) == pytest.approx((0, 1), abs=0.03)


def test_a_shear_moves_a_row_by_its_distance_from_the_middle() -> None:
    augment = Augmenter(TransformsConfig.model_validate({"shear": {"p": 1.0, "limit": 0.3}}))
    slopes = []
    for seed in range(40):
        image = np.zeros((201, 201), np.uint8)
        image[:, 98:103] = 255
        moved, _ = augment(image, image // 255, seed)
        rows = np.arange(60, 141)
        places = (moved[rows] * np.arange(201.0)).sum(1) / moved[rows].sum(1)
        slope, middle = np.polyfit(rows - 100, places, 1)
        assert middle == pytest.approx(100, abs=1.5)
        slopes.append(abs(slope))
    assert 0.2 < max(slopes) < 0.31
    assert min(slopes) < 0.1


def test_sharpening_adds_up_to_limit_times_the_difference_from_the_neighbours() -> None:
    augment = Augmenter(TransformsConfig.model_validate({"sharpen": {"p": 1.0, "limit": 0.5}}))
    image = np.random.default_rng(0).integers(110, 140, (40, 40), np.uint8)
    kernel = np.full((3, 3), -1.0)
    kernel[1, 1] = 8
    edges = cv2.filter2D(image.astype(float), -1, kernel)[1:-1, 1:-1]
    strengths = []
    for seed in range(30):
        changed, _ = augment(image, np.zeros_like(image), seed)
        added = (changed.astype(float) - image)[1:-1, 1:-1]
        inside = (changed[1:-1, 1:-1] > 0) & (changed[1:-1, 1:-1] < 255)
        strength = float((added * edges)[inside].sum() / (edges**2)[inside].sum())
        assert np.abs(added - strength * edges)[inside].max() < 1.01
        strengths.append(strength)
    assert 0.4 < max(strengths) <= 0.5
    assert 0 <= min(strengths) < 0.1


def test_brightness_multiplies_and_shifts_within_its_limits() -> None:
    given = {"brightness": {"p": 1.0, "limit": 0.1, "contrast": 0.3}}
    augment = Augmenter(TransformsConfig.model_validate(given))
    image = np.arange(64, 144, dtype=np.uint8)[None].repeat(4, axis=0)
    factors, shifts = [], []
    for seed in range(60):
        changed, _ = augment(image, np.zeros_like(image), seed)
        factor, shift = np.polyfit(image[0].astype(float), changed[0].astype(float), 1)
        assert np.abs(factor * image[0] + shift - changed[0]).max() < 1.5
        factors.append(factor)
        shifts.append(shift)
    assert (0.69 < min(factors) < 0.8, 1.2 < max(factors) < 1.31) == (True, True)
    assert (-27 < min(shifts) < -15, 15 < max(shifts) < 27) == (True, True)


def test_a_seed_gives_one_result_in_any_thread_and_order() -> None:
    augment = Augmenter(AugmentConfig().online)
    image = LABELS * np.uint8(200)
    first = [augment(image, LABELS, seed)[0] for seed in range(16)]
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda s: augment(image, LABELS, s)[0], reversed(range(16))))
    for one, other in zip(first, reversed(again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({one.tobytes() for one in first}) > 12


def test_rgb_slices_keep_their_channels() -> None:
    image = np.repeat((LABELS * np.uint8(200))[..., None], 3, axis=2)
    moved, mask = Augmenter(AugmentConfig().online)(image, LABELS, 1)
    assert moved.shape == image.shape
    assert mask.shape == LABELS.shape


def test_by_default_nobody_stands_on_their_head() -> None:
    assert Config().augment.online.vflip == 0
    assert Config().augment.online.rotate90 == 0


def test_draws_differ_by_position_and_repeat_by_seed() -> None:
    assert draw_seed(1, 2) == draw_seed(1, 2)
    assert len({draw_seed(seed, k) for seed in range(4) for k in range(50)}) == 200


def test_soft_tissue_is_the_middle_of_what_is_brighter_than_the_mean() -> None:
    # Air 0 and lung 20 are darker than the mean; fat 100, muscle 120 and bone 250 are not.
    image = np.array([[0] * 20, [20] * 5 + [100] * 5 + [120] * 8 + [250] * 2], np.uint8)
    assert image.mean() < 100
    assert soft_tissue(image) == 120
    assert soft_tissue(np.full((4, 4), 7, np.uint8)) == 255


def test_a_lesion_makes_lung_opaque_and_leaves_the_rest_and_the_labels() -> None:
    hu, labels = make_slice(make_patient(1), 0.5, 256)
    image = np.clip(hu / 8 + 128, 0, 255).astype(np.uint8)
    augment = Augmenter(TransformsConfig.model_validate({"lesion": {"p": 1.0}}))
    for seed in range(6):
        changed, mask = augment(image, labels, seed)
        np.testing.assert_array_equal(mask, labels)
        np.testing.assert_array_equal(changed[labels == 0], image[labels == 0])
        assert changed[labels > 0].mean() > image[labels > 0].mean()
    empty = np.zeros_like(labels)
    np.testing.assert_array_equal(augment(image, empty, 0)[0], image)


def test_a_lesion_of_an_rgb_slice_is_that_of_the_grey_one() -> None:
    augment = Augmenter(TransformsConfig.model_validate({"lesion": {"p": 1.0}}))
    image = np.where(LABELS > 0, 30, 120).astype(np.uint8)
    grey, _ = augment(image, LABELS, 5)
    colour, _ = augment(np.dstack([image] * 3), LABELS, 5)
    assert (grey != image).any()
    np.testing.assert_array_equal(colour, np.dstack([grey] * 3))


def test_lesions_are_masses_and_fringes_along_the_wall() -> None:
    hu, labels = make_slice(make_patient(1), 0.5, 256)
    image = np.clip(hu / 8 + 128, 0, 255).astype(np.uint8)
    augment = Augmenter(TransformsConfig.model_validate({"lesion": {"p": 1.0}}))
    depth = cv2.distanceTransform(labels, cv2.DIST_L2, 5)
    wall_shares = []
    for seed in range(40):
        changed = augment(image, labels, seed)[0].astype(int) - image > 10
        if changed.any():
            wall_shares.append(float((depth[changed] < 8).mean()))
    assert sum(share > 0.7 for share in wall_shares) >= 4
    assert sum(share < 0.4 for share in wall_shares) >= 12


def test_a_lesion_leaves_most_of_a_lung_however_little_of_it_is_seen() -> None:
    # A crescent, as at the bases: covered whole, its label would call the liver beside it lung.
    crescent = np.zeros((256, 256), np.uint8)
    cv2.ellipse(crescent, (128, 128), (90, 70), 0, 30, 150, 1, 12)
    image = np.where(crescent > 0, 20, 120).astype(np.uint8)
    augment = Augmenter(TransformsConfig.model_validate({"lesion": {"p": 1.0}}))
    covered = [
        float((augment(image, crescent, seed)[0][crescent > 0] > 60).mean()) for seed in range(60)
    ]
    assert 0.05 < np.mean(covered) < 0.25


def test_no_window_hides_soft_tissue() -> None:
    # As a site clips lungs to black: what is left must not be drawn black, too.
    augment = Augmenter(TransformsConfig.model_validate({"window": {"p": 1.0, "limit": 0.9}}))
    image = np.where(LABELS > 0, 0, 90).astype(np.uint8)
    for seed in range(40):
        changed, _ = augment(image, LABELS, seed)
        contrast = int(changed[LABELS == 0][0]) - int(changed[LABELS > 0][0])
        assert contrast >= 5


def test_windows_clip_and_lift() -> None:
    augment = Augmenter(TransformsConfig.model_validate({"window": {"p": 1.0, "limit": 0.5}}))
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    labels = np.zeros_like(ramp)
    seen = [augment(ramp, labels, seed)[0][0] for seed in range(40)]
    assert any(line[0] > 20 for line in seen)  # black lifted to grey
    assert any(line[60] == 0 for line in seen)  # dark grey clipped to black
    assert all((np.diff(line.astype(int)) >= 0).all() for line in seen)


def windows(draws: int, **settings: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of random windows of a grey ramp: where its line reaches 0 and 255."""
    augment = Augmenter(TransformsConfig.model_validate({"window": {"p": 1.0, **settings}}))
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    ends = []
    for seed in range(draws):
        line = augment(ramp, np.zeros_like(ramp), seed)[0][0].astype(float)
        free = np.flatnonzero((line > 0) & (line < 255))
        slope, offset = np.polyfit(free, line[free], 1)
        ends.append([-offset / slope / 255, (255 - offset) / slope / 255])
    low, high = np.array(ends).T
    return low, high


def test_windows_move_both_ends_within_their_limits() -> None:
    limit = 0.2
    low, high = windows(300, limit=limit)
    assert low.min() == pytest.approx(-limit, abs=0.01)
    assert low.max() == pytest.approx(limit, abs=0.01)
    # The upper end falls by half of the limit at most. Once in three it may rise by four limits.
    assert high.min() == pytest.approx(1 - 0.5 * limit, abs=0.01)
    assert high.max() == pytest.approx(1 + 4 * limit, abs=0.05)
    # A uniform draw between -0.1 and 0.8 is above 0.2 in two thirds of the cases.
    assert np.mean(high > 1 + limit + 0.01) == pytest.approx(1 / 3 * 2 / 3, abs=0.07)


def test_mediastinal_windows_show_soft_tissue_only() -> None:
    soft = 191.5 / 255  # of the ramp: the median above the mean
    low, high = windows(200, limit=0.2, mediastinal=1.0)
    assert (low.min() / soft, low.max() / soft) == pytest.approx((0.6, 0.9), abs=0.02)
    assert (high.min() / soft, high.max() / soft) == pytest.approx((1.05, 1.5), abs=0.03)
    # Others begin at 0.2 or below.
    low, _ = windows(300, limit=0.2, mediastinal=0.25)
    assert np.mean(low > 0.3) == pytest.approx(0.25, abs=0.07)


def test_a_new_thread_does_not_build_the_pipeline_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    # TensorFlow calls from threads that are new to Python each time.
    built: list[TransformsConfig] = []
    real = augment_module.build_pipeline

    def counted(transforms: TransformsConfig, swap: list[int]) -> object:
        built.append(transforms)
        return real(transforms, swap)

    monkeypatch.setattr(augment_module, "build_pipeline", counted)
    augment = Augmenter(TransformsConfig.model_validate({"hflip": 0.5}))
    for seed in range(5):
        thread = threading.Thread(target=augment, args=(LABELS, LABELS, seed))
        thread.start()
        thread.join()
    assert len(built) == 1


SIDED = ("background", "left lung", "right lung", "trachea")


def sided() -> np.ndarray:
    labels = np.zeros((8, 8), np.uint8)
    labels[1:3, 1:3], labels[1:5, 5:7], labels[6, 4] = 2, 1, 3
    return labels


@pytest.mark.parametrize(
    ("transform", "moved"),
    [
        ({"hflip": 1.0}, np.array([0, 2, 1, 3])[sided()[:, ::-1]]),
        ({"vflip": 1.0}, np.array([0, 2, 1, 3])[sided()[::-1]]),
        ({"hflip": 1.0, "vflip": 1.0}, sided()[::-1, ::-1]),
    ],
)
def test_a_mirrored_left_lung_is_a_right_lung(
    transform: dict[str, float], moved: np.ndarray
) -> None:
    augment = Augmenter(TransformsConfig.model_validate(transform), SIDED)
    _, mask = augment(sided(), sided(), 0)
    np.testing.assert_array_equal(mask, moved)


def test_a_turned_slice_keeps_its_sides() -> None:
    augment = Augmenter(TransformsConfig(rotate90=1.0), SIDED)
    for seed in range(4):
        _, mask = augment(sided(), sided(), seed)
        assert np.bincount(mask.ravel()).tolist() == np.bincount(sided().ravel()).tolist()


@pytest.mark.parametrize(
    ("transform", "classes", "said"),
    [
        ({"lesion": {"p": 0.1}}, ("background", "lung", "infection"), "infection may be what"),
        ({"lesion": {"p": 0.1}}, SIDED, "trachea may be what"),
        ({"hflip": 0.5}, ("background", "left lung", "other"), "the other side of left lung"),
        ({"vflip": 0.5}, ("background", "right"), "the other side of right"),
    ],
)
def test_a_transform_that_contradicts_a_class_is_refused(
    transform: dict[str, object], classes: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        Augmenter(TransformsConfig.model_validate(transform), classes)


def test_lesions_may_lie_in_either_lung_and_in_a_class_of_any_name() -> None:
    lesion = TransformsConfig.model_validate({"lesion": {"p": 0.1}})
    for classes in (("background", "left", "right"), ("none", "pulmo")):
        Augmenter(lesion, classes)
