"""Slices of patients with few are shown more often, as far as is asked for."""

from collections import Counter
from pathlib import Path

import pytest

from lungseg.dataset.slices import Slice, balance_patients

SIZES = {"volume": 100, "short": 25, "single": 1}


def slices() -> list[Slice]:
    """Slices of three patients, shuffled."""
    return [
        Slice(f"{name}{k}", "", name, Path(), Path(), 0.2, "", "")
        for k in range(max(SIZES.values()))
        for name, size in SIZES.items()
        if k < size
    ]


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        (1.0, {"volume": 100, "short": 100, "single": 100}),
        (0.5, {"volume": 100, "short": 50, "single": 10}),
        (0.25, {"volume": 100, "short": 35, "single": 3}),  # 25 x 4 ** 0.25, 100 ** 0.25
    ],
)
def test_patients_with_few_slices_are_shown_more(strength: float, expected: dict[str, int]) -> None:
    shown = balance_patients(slices(), strength)
    assert Counter(s.group for s in shown) == expected
    times = Counter(s.case for s in shown)
    assert times.keys() == {s.case for s in slices()}
    for name in SIZES:
        of_one = [n for case, n in times.items() if case.startswith(name)]
        assert max(of_one) - min(of_one) <= 1


def test_without_balance_the_list_is_as_it_was() -> None:
    assert balance_patients(slices(), 0) == slices()
    assert balance_patients([], 0.5) == []
