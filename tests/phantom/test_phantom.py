"""Phantoms are repeatable, anatomically plausible, and differ as patients do."""

import cv2
import numpy as np
import pytest

from lungseg.dataset.likeness import Looks, describe
from lungseg.imaging.pixels import apply_window
from lungseg.phantom.drawing import make_slice, make_volume
from lungseg.phantom.patient import make_patient


def test_a_seed_gives_one_slice() -> None:
    first, mask = make_slice(make_patient(4), 0.5, 96)
    again, same = make_slice(make_patient(4), 0.5, 96)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(mask, same)
    assert (first.dtype, mask.dtype) == (np.dtype(np.int16), np.dtype(np.uint8))


@pytest.mark.parametrize("seed", range(12))
def test_a_slice_through_the_middle_holds_two_lungs_of_air(seed: int) -> None:
    hu, mask = make_slice(make_patient(seed), 0.3, 256)
    assert 0.08 < mask.mean() < 0.45
    assert -920 < np.median(hu[mask > 0]) < -700
    assert -1024 <= hu.min() < -900
    assert 400 < hu.max() <= 3071
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    large = sorted(stats[1:, cv2.CC_STAT_AREA])[::-1]
    assert len(large) >= 2
    assert large[1] > 0.4 * large[0]
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert not border.any()


def test_the_trachea_is_air_but_no_lung() -> None:
    hu, mask = make_slice(make_patient(2), 0.15, 256)
    dark = ((hu < -900) & (mask == 0)).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(dark)
    outside = parts[0, 0]
    inner = [i for i in range(1, len(stats)) if i != outside and stats[i, cv2.CC_STAT_AREA] > 60]
    assert inner


def test_some_patients_are_ill() -> None:
    patients = [make_patient(seed) for seed in range(40)]
    kinds = {lesion.kind for patient in patients for lesion in patient.lesions}
    assert kinds == {"nodule", "consolidation"}
    assert any(max(patient.effusion) > 0 for patient in patients)
    assert any(not patient.lesions and max(patient.effusion) == 0 for patient in patients)


def test_slices_of_a_patient_resemble_each_other_more_than_other_patients() -> None:
    places = [(0, 0.50), (0, 0.52), *((seed, 0.50) for seed in range(1, 6))]
    slices = (make_slice(make_patient(seed), z, 128)[0] for seed, z in places)
    looks = Looks.read([describe(apply_window(hu, (-1000, 400))) for hu in slices])
    neighbour, *others = looks.similarities(np.zeros(6, int), looks, np.arange(1, 7))
    assert neighbour > max(others)


def test_a_volume_runs_from_apex_to_base() -> None:
    areas = [mask.mean() for _, mask in make_volume(make_patient(0), 9, 64)]
    assert areas[0] < max(areas[3:6])
    assert areas[-1] < max(areas[3:6])


@pytest.mark.parametrize("z", [-0.3, -0.01, 1.01, 1.3])
def test_a_slice_beyond_the_lungs_holds_none(z: float) -> None:
    hu, mask = make_slice(make_patient(1), z, 128)
    assert not mask.any()
    body = hu[40:88, 40:88]
    assert np.median(body) > 30  # muscle or liver, no fat
    again, _ = make_slice(make_patient(1), z, 128)
    np.testing.assert_array_equal(hu, again)
