"""The transforms with chosen draws in place of random ones, against their closed form."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from lungseg.config.training import TransformsConfig
from lungseg.dataset.augmentation import build_pipeline
from lungseg.dataset.transforms import RandomCrop

LUNG = np.zeros((40, 50), np.float32)
LUNG[10:30, 15:40] = 1
MIDDLE = (20, 25)


class Draws:
    """A random generator whose draws lie at a share of their range."""

    def __init__(self, share: float, at: int = 0) -> None:
        """Set the share of each range, and the place of each choice."""
        self.share, self.at = share, at

    def random(self) -> float:
        return self.share

    def uniform(self, low: float, high: float, size: Any = None) -> Any:
        value = low + self.share * (high - low)
        return value if size is None else np.full(size, value)

    def normal(self, mean: float, deviation: float) -> float:
        return mean + self.share * deviation

    def integers(self, low: int, high: int) -> int:
        return low + int(self.share * (high - 1 - low))

    def choice(self, values: Sequence[float]) -> float:
        return values[self.at]


def modules() -> Any:
    """Return the module, which is imported as `augmentation` says."""
    build_pipeline(TransformsConfig(), [0, 1])
    from lungseg.dataset import transforms

    return transforms


def steady(monkeypatch: pytest.MonkeyPatch, value: float) -> list[int]:
    """Make the noise the same everywhere; return the list of its cells."""
    cells: list[int] = []

    def noise(shape: tuple[int, int], count: int, _: object) -> np.ndarray:
        cells.append(count)
        return np.full(shape, value, np.float32)

    monkeypatch.setattr(modules(), "_smooth_noise", noise)
    return cells


ALL = {
    "hflip": 0.11, "vflip": 0.12, "rotate90": 0.13,
    "crop": {"p": 0.15, "limit": 0.6},
    "affine": {"p": 0.14, "rotate": 25, "scale": 0.2, "shift": 0.1},
    "shear": {"p": 0.16, "limit": 0.3},
    "elastic": {"p": 0.17, "alpha": 120, "sigma": 9},
    "barrel": {"p": 0.18, "limit": 0.5},
    "grid": {"p": 0.19, "limit": 0.4},
    "lesion": {"p": 0.2, "limit": 0.35},
    "window": {"p": 0.21, "limit": 0.45, "mediastinal": 0.25},
    "gamma": {"p": 0.22, "limit": 0.4},
    "brightness": {"p": 0.23, "limit": 0.1, "contrast": 0.3},
    "blur": {"p": 0.24, "limit": 0.5},
    "sharpen": {"p": 0.25, "limit": 0.4},
    "noise": {"p": 0.26, "limit": 0.05},
}  # fmt: skip


def test_each_step_has_the_limits_and_the_chance_of_the_config() -> None:
    steps = build_pipeline(TransformsConfig.model_validate(ALL), [0, 1]).transforms
    chances = {name: step["p"] if isinstance(step, dict) else step for name, step in ALL.items()}
    order = ["hflip", "vflip", "rotate90", "crop", "affine", "shear", "elastic", "barrel", "grid",
             "lesion", "window", "gamma", "brightness", "blur", "sharpen", "noise"]  # fmt: skip
    assert [step.p for step in steps] == [chances[name] for name in order]
    by_name = dict(zip(order, steps, strict=True))
    affine, shear = by_name["affine"], by_name["shear"]
    assert affine.rotate == (-25, 25)
    assert affine.scale == {"x": (0.8, 1.2), "y": (0.8, 1.2)}
    assert affine.translate_percent == {"x": (-0.1, 0.1), "y": (-0.1, 0.1)}
    slant = math.degrees(math.atan(0.3))
    assert shear.shear["x"] == pytest.approx((-slant, slant))
    assert (by_name["elastic"].alpha, by_name["elastic"].sigma) == (120, 9)
    assert by_name["barrel"].distort_limit == (-0.5, 0.5)
    assert by_name["grid"].distort_limit == (-0.4, 0.4)
    assert (by_name["crop"].limit, by_name["lesion"].limit) == (0.6, 0.35)
    assert (by_name["window"].limit, by_name["window"].mediastinal) == (0.45, 0.25)
    assert by_name["gamma"].gamma_limit == pytest.approx((60, 140))  # per cent
    assert by_name["brightness"].brightness_limit == (-0.1, 0.1)
    assert by_name["brightness"].contrast_limit == (-0.3, 0.3)
    assert by_name["blur"].sigma_limit == (0.1, 1.5)  # pixels; 3 at limit 1
    assert by_name["blur"].blur_limit == (0, 0)  # the size of the kernel follows from sigma
    assert (by_name["sharpen"].alpha, by_name["sharpen"].lightness) == ((0, 0.4), (1, 1))
    assert by_name["noise"].std_range == (0, 0.05)
    for name in ("affine", "shear", "elastic", "barrel", "grid"):
        step = by_name[name]
        # OpenCV's numbers: linear is 1, nearest 0; a constant border is 0.
        assert (step.interpolation, step.mask_interpolation, step.border_mode) == (1, 0, 0)
        assert (step.fill, step.fill_mask) == (0, 0)


def test_a_step_without_a_chance_is_left_out_and_weak_limits_are_possible() -> None:
    assert build_pipeline(TransformsConfig(), [0, 1]).transforms == []
    given = {"gamma": {"p": 1.0, "limit": 1.0}, "blur": {"p": 1.0, "limit": 0.01}}
    gamma, blur = build_pipeline(TransformsConfig.model_validate(given), [0, 1]).transforms
    assert gamma.gamma_limit == (1, 200)
    assert blur.sigma_limit == (0.1, 0.1)


@pytest.mark.parametrize("limit", [0.05, 0.5])
@pytest.mark.parametrize(("share", "wider"), [(0.0, 1), (0.5, 4), (1.0, 4)])
@pytest.mark.parametrize("grey", [20, 200])
def test_a_window_has_ends_within_its_limits(
    grey: int, share: float, wider: float, limit: float
) -> None:
    step = modules().RandomWindow(limit, 0.0, p=1.0)
    step.py_random = Draws(share, at=0 if wider == 1 else 2)
    image = np.zeros((4, 4), np.uint8)
    image[:2] = grey  # soft tissue: the median of what is brighter than the mean
    found = step.get_params_dependent_on_data({}, {"image": image})
    darkest = min(limit, 0.6 * grey / 255)
    low = -limit + share * (darkest + limit)
    high = 1 - 0.5 * limit + share * (wider + 0.5) * limit
    assert found == pytest.approx({"low": low, "high": max(high, low + 0.2)})


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("grey", [20, 200])
def test_a_mediastinal_window_begins_below_soft_tissue_and_is_a_tenth_wide(
    grey: int, share: float
) -> None:
    step = modules().RandomWindow(0.2, 1.0, p=1.0)
    step.py_random = Draws(share)
    image = np.zeros((4, 4), np.uint8)
    image[:2] = grey
    found = step.get_params_dependent_on_data({}, {"image": image})
    soft = grey / 255
    low, high = soft * (0.6 + 0.3 * share), soft * (1.05 + 0.45 * share)
    assert found == pytest.approx({"low": low, "high": max(high, low + 0.1)})


def test_a_window_maps_its_ends_to_black_and_white() -> None:
    step = modules().RandomWindow(0.2, 0.0, p=1.0)
    image = np.arange(255, dtype=np.uint8).reshape(5, 17, 3)
    found = step.apply(image, low=0.2, high=0.8)
    expected = [min(255, max(0, round((grey - 51) / 0.6))) for grey in range(255)]
    np.testing.assert_array_equal(found.ravel(), expected)
    assert (found.shape, found.dtype) == (image.shape, np.uint8)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_mass_is_a_ragged_ellipse_about_a_pixel_of_lung(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = steady(monkeypatch, 0.5)
    inside = np.flatnonzero(LUNG)
    at = int(np.flatnonzero(inside == MIDDLE[0] * 50 + MIDDLE[1])[0])
    draws = Draws(share, at)
    lengths = iter([np.array([6.0, 18.0]) / 20])  # of the half axes; reach is 20 pixels
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float, size: Any = None) -> Any:
        drawn.append((low, high))
        return next(lengths) if size == 2 else low + share * (high - low)

    draws.uniform = uniform  # type: ignore[method-assign]
    found = modules()._mass(LUNG, 20.0, draws)
    assert drawn == [(0.15, 1.0), (0, np.pi), (0, 0.6), (0.05, 1.0)]
    assert cells == [8 + int(share * 39)]
    angle, ragged, edge = share * math.pi, share * 0.6 * 0.5, 0.05 + share * 0.95
    for row, column in ((20, 25), (20, 30), (24, 25), (13, 21), (27, 36), (20, 45), (2, 25)):
        y, x = row - MIDDLE[0], column - MIDDLE[1]
        # In the axes of the ellipse, which is turned by the angle.
        along = (x * math.cos(angle) + y * math.sin(angle)) / 6
        across = (y * math.cos(angle) - x * math.sin(angle)) / 18
        expected = (1 - math.sqrt(along**2 + across**2) + ragged) / edge
        assert found[row, column] == pytest.approx(min(1, max(0, expected)), abs=1e-5)
    assert (found.shape, found.dtype) == (LUNG.shape, np.float32)


@pytest.mark.parametrize(
    ("share", "way", "pixels"),
    [
        # Below 0.7 at the back: a normal angle about 90 degrees. Depth and noise at their shares.
        (0.0, (1, 0), 0.05 * (0.5 + 0.3)),
        # From 0.7 at any angle; a whole turn is to the right.
        (1.0, (0, 1), 1.0 * (0.5 + 1.0)),
        (0.75, (-1, 0), (0.05 + 0.75 * 0.95) * (0.5 + 0.3 + 0.75 * 0.7)),
    ],
)
def test_a_fringe_covers_what_lies_so_near_to_the_wall(
    share: float, way: tuple[int, int], pixels: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = steady(monkeypatch, 1.0)
    reach = 4 / pixels  # so that the fringe is 4 pixels deep
    found = modules()._fringe(LUNG, reach, Draws(share))
    assert cells == [6 + int(share * 33)]
    expected = LUNG - LUNG * np.roll(LUNG, (-4 * way[0], -4 * way[1]), (0, 1))
    np.testing.assert_allclose(found * LUNG, expected, atol=1e-3)


@pytest.mark.parametrize("noise", [-1.0, 0.5])
@pytest.mark.parametrize("share", [0.1, 0.69, 0.7, 0.8])
def test_a_fringe_looks_ahead_by_its_depth_at_its_angle(
    share: float, noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady(monkeypatch, noise)
    rows, columns = np.indices((60, 60)).astype(np.float32)
    slope = 0.01 * rows + 0.002 * columns
    found = modules()._fringe(slope, 9.0, Draws(share))
    angle = math.pi / 2 + 0.4 * share if share < 0.7 else 2 * math.pi * share
    # A depth below 0 would look back.
    depth = 9 * (0.05 + 0.95 * share) * max(0.0, 0.5 + noise * (0.3 + 0.7 * share))
    ahead = slope + 0.01 * depth * math.sin(angle) + 0.002 * depth * math.cos(angle)
    inside = (slice(15, 45), slice(15, 45))
    np.testing.assert_allclose(found[inside], 1 - ahead[inside], atol=5e-4)


def test_the_noise_has_a_value_for_each_cell_between_which_it_is_linear() -> None:
    found = modules()._smooth_noise((20, 30), 1, np.random.default_rng(3))
    corners = np.random.default_rng(3).uniform(-1, 1, (2, 2))  # at least two cells to a side
    assert (found.shape, found.dtype) == ((20, 30), np.float32)
    np.testing.assert_allclose(found[[0, 0, -1, -1], [0, -1, 0, -1]], corners.ravel(), rtol=1e-6)
    # Between the middles of the cells, which are half of the picture apart.
    steps = np.diff(found[0, 8:22])
    np.testing.assert_allclose(steps, (corners[0, 1] - corners[0, 0]) / 15, rtol=1e-4)
    cells = modules()._smooth_noise((9, 9), 3, np.random.default_rng(3))
    expected = np.random.default_rng(3).uniform(-1, 1, (3, 3))
    np.testing.assert_allclose(cells[1::3, 1::3], expected, rtol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.39, 0.4, 1.0])
def test_a_lesion_is_a_fringe_or_one_to_three_masses_of_the_size_of_the_lung(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = modules()
    made: list[tuple[str, float]] = []

    def draw(name: str) -> Any:
        def of(lung: np.ndarray, reach: float, _: object) -> np.ndarray:
            made.append((name, reach))
            return np.full(lung.shape, 0.25 * len(made), np.float32)

        return of

    for name in ("_mass", "_fringe"):
        monkeypatch.setattr(module, name, draw(name))
    cells = steady(monkeypatch, 1.0)
    step = module.RandomLesion(0.4, p=1.0)
    step.random_generator = Draws(share, at=1)
    image = np.where(LUNG > 0, 10, 110).astype(np.uint8)
    given = {"image": image, "mask": LUNG.astype(np.uint8) * np.uint8(2)}
    found = step.get_params_dependent_on_data({}, given)
    reach = 0.4 * math.sqrt(500)  # 20 x 25 pixels of lung
    if share < 0.4:
        assert [name for name, _ in made] == ["_fringe"]
        reach /= 2
    else:
        assert [name for name, _ in made] == ["_mass"] * (1 + int(share * 2))
    assert [size for _, size in made] == pytest.approx([reach] * len(made))
    # Masses are joined by their maximum, here that of the last. The opacity may be partial.
    opacity = 0.25 * len(made) * (0.3 + 0.7 * share)
    np.testing.assert_allclose(found["opacity"], opacity * LUNG, rtol=1e-6)
    # Soft tissue is 110; its grey may differ by a factor and a texture.
    grey = 110 * (0.85 + share * 0.25 + share * 0.15)
    np.testing.assert_allclose(found["grey"], np.full(LUNG.shape, grey), rtol=1e-6)
    assert cells == [50 // 8]
    whole = step.apply(image, found["opacity"], found["grey"])
    inside = min(255, max(0, round(10 + (grey - 10) * opacity)))
    np.testing.assert_array_equal(whole, np.where(LUNG > 0, inside, 110))


def test_a_slice_without_lung_has_no_lesion() -> None:
    step = modules().RandomLesion(0.4, p=1.0)
    image = np.full((9, 9), 110, np.uint8)
    found = step.get_params_dependent_on_data({}, {"image": image, "mask": image * 0})
    assert found == {"opacity": None, "grey": None}
    assert step.apply(image, **found) is image


def test_a_crop_keeps_its_share_of_both_sides_wherever_it_lies() -> None:
    crop = RandomCrop(limit=0.4, p=1)
    firsts: list[set[int]] = [set(), set()]
    for seed in range(200):
        crop.set_random_seed(seed)
        part = crop.get_params_dependent_on_data({"shape": (5, 10, 3)}, {})["part"]
        sides = [span.stop - span.start for span in part]
        assert 3 <= sides[0] <= 5 and 6 <= sides[1] <= 10
        for found, span, whole in zip(firsts, part, (5, 10), strict=True):
            assert span.start >= 0 and span.stop <= whole
            found.add(span.start)
    assert firsts == [{0, 1, 2}, {0, 1, 2, 3, 4}], "up to the last pixel"
