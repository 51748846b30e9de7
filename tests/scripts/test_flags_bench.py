"""The bench of the flags runs: a good phantom has no flag, and a fault has its own."""

import numpy as np

from scripts.bench import flags


def test_a_good_phantom_has_no_flag_and_a_crop_is_cut_off() -> None:
    scan = flags.draw(flags.FIRST_SEED)
    assert flags.row_of(scan).flags == ""
    crop = flags.cropped(scan, np.random.default_rng(1))
    assert "cut_off" in flags.row_of(crop).flags.split()
