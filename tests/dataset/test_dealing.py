"""How groups of slices are dealt to parts, and which names lie next to each other."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.patients import (
    _close_numbers,
    _deal,
    _imbalance,
    assign_groups,
    share_out,
    warn_of_few_patients,
    warn_of_unknown_patients,
)
from lungseg.dataset.slices import PARTS, Slice
from lungseg.errors import DataError


def slice_of(case: str, group: str, area: float = 0.2) -> Slice:
    return Slice(case, case, group, Path(case), Path(case), area, case, "")


def copy_of(original: Slice) -> Slice:
    return replace(original, case=f"{original.case}_aug01", source=original.case)


def test_numbers_up_to_the_gap_apart_are_close_within_one_series() -> None:
    cases = ["p_10", "p_4", "q_3", "p_1", "name", "p_03a", "7"]
    i, j = _close_numbers(cases, 2)
    found = [{cases[a], cases[b]} for a, b in zip(i, j, strict=True)]
    # 1 and 3 are 2 apart, 3 and 4 are 1, but 1 and 4 are 3.
    assert found == [{"p_1", "p_03a"}, {"p_03a", "p_4"}]
    for none in ([], ["p_1", "p_9"], ["a", "b"]):
        i, j = _close_numbers(none, 2)
        assert (len(i), len(j)) == (0, 0)


@pytest.mark.parametrize(
    ("sizes", "wanted", "dealt"),
    [
        # One for each part. The next goes to the first, which lacks 9.5 - 2 slices of 19.
        ([2, 3, 1, 13], [0.5, 0.25, 0.25], [0, 1, 2, 0]),
        # Of 20 slices the parts lack 4, 6 and 1; with four more the second still lacks most.
        ([2, 4, 3, 4, 7], [0.3, 0.5, 0.2], [0, 1, 2, 1, 0]),
        # A part without a share gets nothing.
        ([1, 1, 6, 1], [0.75, 0.0, 0.25], [0, 2, 0, 2]),
    ],
)
def test_each_part_gets_a_group_and_then_the_part_that_lacks_most(
    sizes: list[int], wanted: list[float], dealt: list[int]
) -> None:
    open_parts = np.flatnonzero(wanted)
    order = np.random.default_rng(1).permutation(len(sizes))
    by_group = np.zeros(len(sizes), int)
    by_group[order] = sizes
    shares = _deal(order, by_group, np.array(wanted), open_parts)
    assert shares[order].tolist() == dealt


def test_imbalance_adds_sizes_twice_and_each_quartile_of_areas() -> None:
    strata = np.array([[3, 0], [0, 1]])  # three small lungs in one group, a large one in the other
    # Sizes are 3/4 and 1/4 in place of 1/2 each: 2 x (1/4 + 1/4). Of the small ones 3 and 0 in
    # place of 1.5, of the large ones 0 and 1 in place of 0.5: (1.5 + 1.5 + 0.5 + 0.5) / 4.
    assert _imbalance(np.array([0, 1]), strata, np.array([0.5, 0.5])) == pytest.approx(1 + 1)
    together = _imbalance(np.array([0, 0]), strata, np.array([1.0, 0.0]))
    assert together == pytest.approx(0)


def test_each_group_is_enough_for_one_part_and_fewer_are_an_error() -> None:
    groups = {name: [slice_of(name, name)] for name in "abc"}
    assert sorted(assign_groups(groups, list(groups), (2, 1, 1), 0)) == [0, 1, 2]
    assert sorted(assign_groups(groups, ["a", "b"], (0.5, 0.0, 0.5), 0)) == [0, 2]
    said = r"2 group\(s\) of slices cannot fill 3 parts .*split\.fractions.*split\.group_regex"
    with pytest.raises(DataError, match=said):
        assign_groups(groups, ["a", "b"], (2, 1, 1), 0)


def test_a_seed_gives_one_assignment_and_another_seed_another() -> None:
    groups = {f"p{k}": [slice_of(f"p{k}", f"p{k}", k / 40)] for k in range(40)}
    shares = [assign_groups(groups, list(groups), (0.5, 0.5), seed) for seed in (3, 3, 4)]
    assert shares[0] == shares[1] != shares[2]


def test_copies_are_shared_out_to_train_alone_and_cases_in_the_order_of_their_numbers() -> None:
    originals = [slice_of(f"p{k}_{n}", f"p{k}") for k in range(9) for n in (10, 9)]
    config = with_overrides(Config(), {"split.fractions": [0.4, 0.3, 0.3]})
    plans = share_out([*originals, *map(copy_of, originals)], config)
    assert list(plans) == [""]
    parts = plans[""]
    assert list(parts) == list(PARTS)
    train = [s.case for s in parts["train"] if not s.is_copy]
    assert {s.source for s in parts["train"] if s.is_copy} == set(train)
    assert not any(s.is_copy for part in ("valid", "test") for s in parts[part])
    assert {s.case for s in originals} == {s.case for p in parts.values() for s in p} - {
        s.case for s in parts["train"] if s.is_copy
    }
    for slices in parts.values():
        cases = [s.case for s in slices if not s.is_copy]
        assert [c.split("_")[1] for c in cases] == ["9", "10"] * (len(cases) // 2)


def test_each_fold_tests_other_patients_and_validates_on_a_share_of_the_rest() -> None:
    originals = [slice_of(f"p{k}", f"p{k}") for k in range(12)]
    config = with_overrides(Config(), {"split.fractions": [0.5, 0.25, 0.25], "split.folds": 3})
    plans = share_out([*originals, *map(copy_of, originals)], config)
    assert list(plans) == ["fold_1", "fold_2", "fold_3"]
    tested: list[str] = []
    for parts in plans.values():
        names = {part: [s.case for s in slices if not s.is_copy] for part, slices in parts.items()}
        # A third of 12 is held out. Of the other 8, train and valid have 2 to 1.
        assert len(names["test"]) == 4
        assert len(names["valid"]) in (2, 3)
        assert sorted(itertools.chain(*names.values())) == sorted(s.case for s in originals)
        assert {s.source for s in parts["train"] if s.is_copy} == set(names["train"])
        tested += names["test"]
    assert sorted(tested) == sorted(s.case for s in originals)


@pytest.mark.parametrize(
    ("patients", "named", "said"),
    [
        (0, True, []),
        (1, True, ["the test part has 1 patient. "]),
        (4, True, ["the test part has 4 patients. "]),
        (4, False, ["the test part has 4 groups. "]),
        (5, True, []),
    ],
)
def test_fewer_than_five_patients_in_a_part_are_warned_of(
    patients: int, named: bool, said: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr("lungseg.system.console.warn", warned.append)
    slices = [
        replace(slice_of(f"{k}_{n}", str(k)), named=named) for k in range(patients) for n in (1, 2)
    ]
    warn_of_few_patients(slices, "test")
    assert [text[: len(start)] for text, start in zip(warned, said, strict=True)] == said
    warned.clear()
    assert warn_of_unknown_patients(slices) == (0 if named else 2 * patients)
    assert [text.split(". ")[0] for text in warned] == (
        [] if named else [f"the patients of {2 * patients} of {2 * patients} slices are unknown"]
    )
