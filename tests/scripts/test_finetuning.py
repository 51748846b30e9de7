"""Which slices the comparison of trainings on few slices trains on, and which it scores."""

from pathlib import Path

import pytest

from lungseg.dataset.slices import Slice
from scripts.bench.finetuning import draw

# Ten patients with 3 to 12 slices.
SLICES = [
    Slice(f"p{p}_z{z}", f"p{p}_z{z}", f"p{p}", Path("i"), Path("m"), 0.2, "", "")
    for p in range(10)
    for z in range(3 + p)
]


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_trained_on_and_scored(seed: int) -> None:
    for count in (1, 12):
        train, test = draw(SLICES, count, seed)
        assert len({s.case for s in train}) == len(train) == count
        assert not {s.group for s in train} & {s.group for s in test}
        # Every slice of half of the patients is scored, whatever the number trained on.
        scored = {s.group for s in draw(SLICES, 1, seed)[1]}
        assert len(scored) == 5
        assert {s.case for s in test} == {s.case for s in SLICES if s.group in scored}


def test_draws_differ_and_repeat() -> None:
    cases = [[s.case for s in draw(SLICES, 5, seed)[0]] for seed in (0, 0, 1)]
    assert cases[0] == cases[1] != cases[2]


def test_too_few_slices_are_an_error() -> None:
    with pytest.raises(ValueError, match="slices to train on, not 71"):
        draw(SLICES, 71, 0)
