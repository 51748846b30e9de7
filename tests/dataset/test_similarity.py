"""An audit finds a patient or a picture that is in two parts."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from lungseg.config.datasets import SplitConfig
from lungseg.dataset.likeness import describe
from lungseg.dataset.similarity import most_alike_pairs, report_leaks
from lungseg.dataset.slices import PARTS, Slice
from lungseg.errors import DataError
from tests.support.bodies import body

PAIRS = list(combinations(PARTS, 2))
BODIES = [describe(np.ascontiguousarray(body(k))) for k in range(4)]


def slice_of(case: str, likeness: str, named: bool = True) -> Slice:
    group = f"patient of {case}"
    return Slice(case, case, group, Path(case), Path(case), 0.2, case, likeness, named)


@pytest.fixture
def parts() -> dict[str, list[Slice]]:
    train, *others = (slice_of(f"s{k}", likeness) for k, likeness in enumerate(BODIES))
    return {"train": [train, others[0]], "valid": [others[1]], "test": [others[2]]}


def test_each_two_parts_are_compared(parts: dict[str, list[Slice]]) -> None:
    assert [found.parts for found in most_alike_pairs(parts, SplitConfig())] == PAIRS


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_patient_in_two_parts_is_a_leak_however_the_slices_look(
    one: str, other: str, parts: dict[str, list[Slice]]
) -> None:
    parts[other].append(replace(parts[one][-1], case="other", likeness=""))
    strict = SplitConfig(leak_similarity=1, patient_similarity=1)
    audit = {found.parts: found for found in most_alike_pairs(parts, strict)}
    assert [pair for pair, found in audit.items() if found.leaks] == [(one, other)]
    assert audit[one, other].cases == (parts[one][-1].case, "other")
    with pytest.raises(DataError, match=f"{one} / {other}: .* {parts[one][-1].case} and other"):
        report_leaks(list(audit.values()), strict)


@pytest.mark.parametrize("named", [True, False])
def test_a_leak_is_at_least_as_alike_as_the_config_says(named: bool) -> None:
    """Known patients are a leak from `leak_similarity`, unknown ones from `patient_similarity`."""
    parts = {"train": [slice_of("a", BODIES[0], named)], "test": [slice_of("b", BODIES[1], named)]}
    (found,) = most_alike_pairs(parts, SplitConfig(leak_similarity=1, patient_similarity=1))
    assert not found.leaks
    limits = {"leak_similarity": 1.0, "patient_similarity": 1.0}
    key = "leak_similarity" if named else "patient_similarity"
    for by, leaks in ((-0.001, True), (0.001, False)):
        split = SplitConfig.model_validate({**limits, key: found.similarity + by})
        assert most_alike_pairs(parts, split)[0].leaks == leaks
        if leaks:
            with pytest.raises(DataError, match="train / test"):
                report_leaks(most_alike_pairs(parts, split), split)
            report_leaks(
                most_alike_pairs(parts, split), split.model_copy(update={"allow_leakage": True})
            )
