"""Bands of HU, and the shares in them up to which values are right, surely right, or possible."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lungseg.imaging.hounsfield import (
    AS_HU,
    PLUS_1024,
    Tissues,
    are_tissues_in_place,
    find_reading,
    tissues_of,
)

CHEST = Tissues(0.0, 0.3, 0.3, 0.3, 0.05, 0.1, 0.3, 0.05)
LUNGS = Tissues(0.0, 0.3, 0.3, 0.6, 0.1, 0.0, 0.0, 0.0)
BODY = Tissues(0.0, 0.0, 0.0, 0.0, 0.1, 0.1, 0.5, 0.1)


def test_the_bands_are_those_of_their_tissues() -> None:
    values = np.arange(-1400, 400)  # one of each HU
    found = tissues_of(values, np.ones(1800))
    wide = {"below_air": 150, "air": 400, "sure_air": 250, "lung": 350, "between": 300}
    wide |= {"fat": 100, "soft": 120, "above": 200}
    assert vars(found) == pytest.approx({name: hu / 1800 for name, hu in wide.items()})


def test_a_value_of_which_there_are_many_counts_as_two_percent() -> None:
    values = np.arange(-1000, 0)
    counts = np.ones(1000)
    air = 0.5 + 0.02  # of 2000, the half, and the one value
    found = tissues_of(np.append(values, 40), np.append(counts, 1000))
    assert found.soft == pytest.approx(0.02 / air)
    # Below air it is 0.2 %, if it is no padding.
    found = tissues_of(np.append(values, [-1260, -1261]), np.append(counts, [500, 500]))
    assert found.below_air == pytest.approx(0.004 / 0.504)
    # At -1250 it is not below air.
    found = tissues_of(np.append(values, [-1250, -1251]), np.append(counts, [500, 500]))
    assert found.below_air == pytest.approx(0.002 / 0.522)


@pytest.mark.parametrize(
    ("change", "is_right"),
    [
        ({}, True),
        ({"below_air": 0.049}, True),
        ({"below_air": 0.05}, False),
        ({"air": 0.011}, True),
        ({"air": 0.01}, False),
        ({"soft": 0.021, "between": 0.0}, True),
        ({"soft": 0.02, "between": 0.0}, False),
        # Per HU, 1.5 times as much between 0 and 120 as between -550 and -250.
        ({"soft": 0.3, "between": 0.49}, True),
        ({"soft": 0.3, "between": 0.51}, False),
    ],
)
def test_values_are_right_if_air_and_soft_tissue_are(
    change: dict[str, float], is_right: bool
) -> None:
    assert replace(CHEST, **change, fat=0.3).are_right is is_right
    assert not is_right or not replace(CHEST, **change, fat=0.0).are_surely_right


@pytest.mark.parametrize(
    ("change", "is_sure"),
    [
        ({}, True),
        ({"air": 0.0}, False),  # not even right
        ({"sure_air": 0.011}, True),
        ({"sure_air": 0.01}, False),
        ({"above": 0.39}, True),
        ({"above": 0.41}, False),
        ({"fat": 0.25, "soft": 0.25, "above": 0.5}, False),
        ({"fat": 0.006, "between": 0.0}, True),
        ({"fat": 0.005, "between": 0.0}, False),
        # Per HU, 1.2 times as much between -150 and -50 as between -550 and -250.
        ({"fat": 0.041, "between": 0.1}, True),
        ({"fat": 0.039, "between": 0.1}, False),
    ],
)
def test_values_are_surely_right_if_fat_is_as_well(change: dict[str, float], is_sure: bool) -> None:
    assert replace(CHEST, **change).are_surely_right is is_sure


@pytest.mark.parametrize(
    ("tissues", "change", "is_possible"),
    [
        (LUNGS, {}, True),
        (LUNGS, {"below_air": 0.05}, False),
        (LUNGS, {"lung": 0.51}, True),
        (LUNGS, {"lung": 0.5}, False),
        (LUNGS, {"between": 0.19}, True),
        (LUNGS, {"between": 0.2}, False),
        (LUNGS, {"above": 0.049}, True),
        (LUNGS, {"above": 0.05}, False),
        (BODY, {}, True),
        (BODY, {"below_air": 0.049}, True),
        (BODY, {"below_air": 0.05}, False),
        (BODY, {"fat": 0.021}, True),
        (BODY, {"fat": 0.02}, False),
        (BODY, {"fat": 0.5, "soft": 0.11}, True),
        (BODY, {"fat": 0.5, "soft": 0.1}, False),
        (BODY, {"fat": 0.2, "soft": 0.21}, True),
        (BODY, {"fat": 0.2, "soft": 0.19}, False),
        (BODY, {"above": 0.59}, True),
        (BODY, {"above": 0.61}, False),
        (BODY, {"fat": 0.25, "soft": 0.25, "above": 0.5}, False),
        (BODY, {"fat": 0.0, "soft": 0.5}, False),
    ],
)
def test_lungs_alone_and_a_body_without_air_are_possible(
    tissues: Tissues, change: dict[str, float], is_possible: bool
) -> None:
    assert replace(tissues, **change).are_possible is is_possible


def chest(count: int) -> NDArray[np.int64]:
    """Return HU of a chest: 40 % air, 20 % fat and 40 % soft tissue, 11 values of each."""
    places = np.array([-1000, -1000, -100, 40, 40])[np.arange(count) % 5]
    return places + np.arange(count) // 5 % 11


def test_a_thousand_values_of_sixteen_kinds_say_what_they_mean() -> None:
    for count, reading in ((1000, PLUS_1024), (999, AS_HU)):
        assert find_reading(chest(count) + 1024, AS_HU) is reading
        assert are_tissues_in_place(chest(count)) is (True if count == 1000 else None)
        assert are_tissues_in_place(chest(count) + 1024) is (False if count == 1000 else None)
    # Six kinds of air and soft tissue each, and four of fat.
    few = np.array([*range(-1000, -994)] * 2 + [*range(-100, -96)] + [*range(40, 46)] * 2)
    many = np.tile(few, 40)
    assert (many.size, len(np.unique(many))) == (1120, 16)
    assert find_reading(many + 1024, AS_HU) is PLUS_1024
    assert are_tissues_in_place(many) is True
    fifteen = np.where(many == -97, -98, many)
    assert find_reading(fifteen + 1024, AS_HU) is AS_HU
    assert are_tissues_in_place(fifteen) is None


def test_a_ramp_is_no_chest() -> None:
    assert are_tissues_in_place(np.arange(-1024, 1024)) is None
    # Half as many more in one of sixteen parts are too many for a ramp.
    values = np.arange(-1024, 1024)
    assert are_tissues_in_place(np.append(values, np.tile(values[:128], 1))) is False


@pytest.mark.parametrize(("share", "is_beside"), [(0.96, True), (0.94, False)])
def test_a_slice_of_air_alone_is_beside_the_patient_but_a_volume_is_not(
    share: float, is_beside: bool
) -> None:
    air = np.random.default_rng(0).integers(-1040, -960, 10_000)
    air[: round(10_000 * (1 - share))] = np.random.default_rng(1).integers(
        300, 400, round(10_000 * (1 - share))
    )
    assert find_reading(air.reshape(100, 100), AS_HU) is (AS_HU if is_beside else None)
    assert find_reading(air.reshape(10, 10, 100), AS_HU) is None


def test_a_large_volume_is_judged_by_a_sample_of_all_its_columns() -> None:
    # Of two columns every fourth value would be one column, which has air alone.
    body = np.random.default_rng(0).permutation(chest(2_100_000)) + 1024
    values = np.stack([body, np.full(body.shape, 24)], axis=1).astype(np.int16)
    assert find_reading(values, AS_HU) is PLUS_1024
    assert find_reading(values[:, ::-1], AS_HU) is PLUS_1024
