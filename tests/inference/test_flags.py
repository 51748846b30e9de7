"""Each flag is raised beyond its limit and not within it; what is reported is documented."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungseg.errors import DataError
from lungseg.evaluation.cases import CASE_METRICS, ClassScores
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import Input
from lungseg.inference.certainty import Certainty, Usual
from lungseg.inference.flags import FLAGS, find_flags, flag_all_empty, summary, uncertain
from lungseg.inference.origins import Origin
from lungseg.inference.rows import (
    CaseRow,
    LungMeasures,
    Measures,
    PartMeasures,
    Quality,
    done_row,
    failed_row,
)
from lungseg.system.tables import columns_of
from tests.support.places import REPOSITORY

PAGE = (REPOSITORY / "docs" / "measures.md").read_text(encoding="utf-8")
THIRD = PartMeasures(1000.0)
BOTH = LungMeasures(4000.0, p50_hu=-850.0, upper=THIRD, middle=THIRD, lower=THIRD)
GOOD = Measures(BOTH, LungMeasures(1850.0), LungMeasures(2150.0), 50, False)
TRUSTED = Quality(0.99, 0.97, 0.001, 2, 0.46, True)


def codes(
    measures: dict[str, Any] | None = None,
    quality: dict[str, Any] | None = None,
    findings: tuple[Finding, ...] = (),
) -> list[str]:
    measured, trusted = replace(GOOD, **measures or {}), replace(TRUSTED, **quality or {})
    return [flag.code for flag in find_flags(measured, trusted, findings)]


def lungs(left: float, right: float, median: float = -850.0) -> dict[str, Any]:
    both = replace(BOTH, volume_ml=left + right, p50_hu=median)
    return {"lung": both, "left": LungMeasures(left), "right": LungMeasures(right)}


def test_a_good_mask_has_no_flag() -> None:
    assert codes() == []


@pytest.mark.parametrize(
    ("code", "beyond", "within"),
    [
        ("volume", lungs(450, 540), lungs(460, 540)),
        ("volume", lungs(4200, 4900), lungs(4100, 4900)),
        ("uneven_sides", lungs(1700, 3300), lungs(1750, 3250)),
        ("uneven_sides", lungs(3100, 1900), lungs(3000, 2000)),
        ("missing_side", lungs(0, 2000), lungs(1000, 1000)),
        ("missing_side", lungs(2000, 0), lungs(1000, 1000)),
        ("doubtful_hu", lungs(1850, 2150, -961), lungs(1850, 2150, -960)),
        ("doubtful_hu", lungs(1850, 2150, -499), lungs(1850, 2150, -500)),
        ("cut_off", {"touches_border": True}, {"touches_border": False}),
    ],
)
def test_a_measurement_beyond_its_limit(
    code: str, beyond: dict[str, Any], within: dict[str, Any]
) -> None:
    assert codes(beyond) == [code]
    assert codes(within) == []


@pytest.mark.parametrize(
    ("code", "beyond", "within"),
    [
        ("many_parts", {"parts_found": 9}, {"parts_found": 8}),
        ("much_dropped", {"dropped_share": 0.101}, {"dropped_share": 0.1}),
        ("low_certainty", {"certainty": 0.949}, {"certainty": 0.95}),
        ("threshold_differs", {"threshold_dice": 0.849}, {"threshold_dice": 0.85}),
        ("missing_side", {"left_of_middle_share": 0.09}, {"left_of_middle_share": 0.1}),
        ("missing_side", {"left_of_middle_share": 0.91}, {"left_of_middle_share": 0.9}),
        ("doubtful_hu", {"tissues_in_place": False}, {"tissues_in_place": None}),
    ],
)
def test_a_mask_that_cannot_be_trusted(
    code: str, beyond: dict[str, Any], within: dict[str, Any]
) -> None:
    assert codes(quality=beyond) == [code]
    assert codes(quality=within) == []


def test_values_that_had_to_be_converted_are_doubtful() -> None:
    assert codes(findings=(Finding("hu_converted", "repaired", "", None),)) == ["doubtful_hu"]
    assert codes(findings=(Finding("no_modality", "warning", "", None),)) == []


def test_the_volume_of_a_part_of_the_lungs_is_not_too_small() -> None:
    assert codes({**lungs(300, 400), "touches_border": True}) == ["cut_off"]
    assert codes({**lungs(5000, 5000), "touches_border": True}) == ["cut_off", "volume"]


def test_no_lung_is_one_flag_not_many() -> None:
    nothing = {"lung": LungMeasures(0.0), "left": LungMeasures(0.0), "right": LungMeasures(0.0)}
    known = dict.fromkeys(("certainty", "threshold_dice", "dropped_share", "left_of_middle_share"))
    assert codes({**nothing, "slices_with_lung": 0}, {**known, "parts_found": 0}) == ["no_lung"]


def test_sides_that_are_not_known_are_not_judged() -> None:
    assert codes({"left": LungMeasures(), "right": LungMeasures()}) == []


def test_what_is_not_known_because_of_a_cut_is_said() -> None:
    known = find_flags(replace(GOOD, touches_border=True), TRUSTED, ())
    without = replace(GOOD, touches_border=True, lung=replace(BOTH, upper=None))
    [flag] = find_flags(without, TRUSTED, ())
    assert "thirds are not known" in flag.detail
    assert "thirds" not in known[0].detail


def test_certainty_is_the_dice_of_mask_and_probability() -> None:
    certainty = Certainty()
    assert certainty.value is None
    p = np.full((2, 5), 0.1, np.float32)
    p[0, :4] = 0.8  # 4 of 10 pixels are lung
    for rows in (p[:1], p[1:]):
        certainty.add(np.stack([1 - rows, rows], axis=-1), rows > 0.5)
    assert certainty.value == pytest.approx(2 * 3.2 / (4 + 3.2 + 0.6), abs=1e-4)


def test_an_image_can_be_uncertain() -> None:
    assert [code for code, _ in uncertain(0.949)] == ["low_certainty"]
    assert uncertain(0.95) == uncertain(None) == []


def probabilities(of_lung: float, pixels: int) -> np.ndarray:
    """Return a slice of 100 pixels, so many of them lung with a probability, the others 0."""
    p = np.zeros(100, np.float32)
    p[:pixels] = of_lung
    return np.stack([1 - p, p], axis=-1).reshape(10, 10, 2)


def test_what_is_usual_is_measured_of_slices_with_lung() -> None:
    # Certainty of one slice: 2 n p / (n + n p).
    slices = [probabilities(p, 40) for p in np.linspace(0.6, 1.0, 21)]
    usual = Usual.of([*slices, probabilities(0.4, 40)])  # no mask in the last
    assert usual is not None
    ps = np.linspace(0.6, 1.0, 21)
    assert usual.slice == pytest.approx(2 * 0.62 / 1.62, abs=1e-3)  # the second of 21
    assert usual.slices == 21
    total = ps.sum()
    assert usual.together == pytest.approx(2 * total / (21 + total + 0.4), abs=1e-3)
    assert Usual.of([probabilities(0.4, 40)]) is None


def test_a_mask_is_uncertain_if_it_is_less_certain_than_usual() -> None:
    usual = Usual(together=0.80, slice=0.60, slices=9)
    for limit, image in ((0.77, False), (0.57, True)):
        assert uncertain(limit + 0.001, usual, image=image) == []
        [(code, detail)] = uncertain(limit - 0.001, usual, image=image)
        assert code == "low_certainty"
        assert f"expected at least {limit:.2f}" in detail
    sure = replace(TRUSTED, certainty=0.78)
    assert find_flags(GOOD, sure, (), usual) == []
    assert [flag.code for flag in find_flags(GOOD, sure, ())] == ["low_certainty"]


def row(name: str, lung_pixels: int, flags: list[str] | None = None) -> CaseRow:
    item, origin = Input(Path(f"{name}.png"), name, False), Origin("", "", "")
    return done_row(item, f"{name}.png", (1, 9, 9), lung_pixels, "", origin, flags=flags or [])


BROKEN = failed_row(Input(Path("x.png"), "x", False), DataError(Path("x.png"), "is damaged."))


def test_all_cases_of_a_call_may_be_empty() -> None:
    flags = [each.flags for each in flag_all_empty([row("a", 0), BROKEN, row("b", 0, ["volume"])])]
    assert flags == ["all_empty", "", "volume all_empty"]
    flags = [each.flags for each in flag_all_empty([row("a", 0), row("b", 1)])]
    assert flags == ["", ""]
    assert flag_all_empty([BROKEN]) == [BROKEN]


def test_a_case_that_is_not_empty_takes_the_flag_away() -> None:
    before = flag_all_empty([row("a", 0, ["no_lung"])])
    assert before[0].flags == "no_lung all_empty"
    assert [each.flags for each in flag_all_empty([*before, row("b", 5)])] == ["no_lung", ""]


def test_the_summary_counts_and_names_the_cases() -> None:
    rows = [row("a", 1, ["cut_off", "volume"]), row("b", 1), row("c", 1, ["cut_off"])]
    assert summary(rows[1:2]) == ""
    assert summary(rows) == (
        "2 of 3 cases are flagged, so look at their masks: a (cut_off, volume); c (cut_off). "
        "Flags: cut_off 2, volume 1"
    )
    assert "a (cut_off, volume); and 1 more. Flags: cut_off 2" in summary(rows, names=1)


@pytest.mark.parametrize("code", FLAGS)
def test_the_page_has_each_flag_with_its_limit_and_what_it_found(code: str) -> None:
    assert f"| `{code}` | {FLAGS[code]} |" in PAGE


def test_the_page_defines_each_number() -> None:
    names = set(columns_of(CaseRow)) - set(columns_of(Measures))
    for kind in (LungMeasures, Quality):
        names |= {each.name for each in fields(kind)} - {"upper", "middle", "lower"}
    scores = {each.name for each in fields(ClassScores)} - {"nsd", "truth_sha256"}
    missing = {name for name in names | scores | set(CASE_METRICS) if f"`{name}`" not in PAGE}
    assert missing == set()


def details(measures: dict[str, Any] | None = None, **quality: Any) -> list[str]:
    measured, trusted = replace(GOOD, **measures or {}), replace(TRUSTED, **quality)
    found = find_flags(measured, trusted, ())
    assert {flag.severity for flag in found} == {"warning"}
    return [flag.detail for flag in found]


def test_a_flag_says_what_was_found_and_what_is_usual() -> None:
    assert details(lungs(4200, 4900)) == [
        "the lungs have 9100 mL; those of adults have 1000 to 9000 mL"
    ]
    assert details(lungs(1700, 3300)) == ["the right lung has 66% of the volume; usual: 40% to 65%"]
    assert details(parts_found=9) == ["the network found 9 parts; expected at most 8"]
    assert details(dropped_share=0.254) == ["25% of the network's mask was dropped in tidying"]
    assert details(threshold_dice=0.5) == [
        "the lungs found by a threshold agree with a Dice of 0.50 only"
    ]
    assert details(certainty=0.5) == ["the network's certainty is 0.50; expected at least 0.95"]
    assert details(lungs(1850, 2150, -961.4)) == [
        "HU are doubtful, or disease is severe: the median is -961 HU"
    ]


def test_one_known_side_alone_is_not_uneven_and_a_missing_one_is_said_once() -> None:
    assert codes({"left": LungMeasures()}) == []
    assert codes({"left": LungMeasures(0.0), "right": LungMeasures()}) == ["missing_side"]
    assert codes(lungs(0, 2000), {"left_of_middle_share": 0.0}) == ["missing_side"]
    assert codes(quality={"left_of_middle_share": None}) == []
    # A few voxels on the side of the missing lung: the body says that it is missing.
    assert codes(lungs(60, 2940), {"left_of_middle_share": 0.02}) == ["missing_side"]


def test_values_that_are_not_known_raise_no_flag() -> None:
    unknown = dict.fromkeys(each.name for each in fields(Quality))
    assert codes({"lung": replace(BOTH, p50_hu=None)}, unknown) == []


def test_doubtful_hu_are_said_once() -> None:
    converted = (Finding("hu_converted", "repaired", "", None),)
    assert codes(lungs(1850, 2150, 0), {"tissues_in_place": False}, converted) == ["doubtful_hu"]
    found = find_flags(GOOD, replace(TRUSTED, tissues_in_place=False), converted)
    assert [flag.detail for flag in found] == [
        "HU are doubtful, because the values had to be converted"
    ]
    assert details(tissues_in_place=False) == [
        "HU are doubtful: air, fat or soft tissue do not lie where they should"
    ]


def test_the_certainty_of_parts_together_is_that_of_all_slices() -> None:
    rng = np.random.default_rng(0)
    slices = rng.uniform(size=(4, 5, 6)).astype(np.float32)
    together, whole = Certainty(), Certainty()
    for p in slices:
        one = Certainty()
        for each in (one, whole):
            each.add(np.stack([1 - p, p], axis=-1), p > 0.5)
        together.include(one)
    mask = slices > 0.5
    expected = 2 * slices[mask].sum() / (mask.sum() + slices.sum())
    assert together.value == whole.value == pytest.approx(expected, abs=1e-4)


def test_what_is_usual_if_the_model_does_not_say() -> None:
    for image in (False, True):
        assert Usual().least(image=image) == pytest.approx(0.95)
    assert Usual().slices == 0
    known = Usual(together=0.9, slice=0.7, slices=3)
    assert known.least() == pytest.approx(0.87)
    assert known.least(image=True) == pytest.approx(0.67)


def test_twenty_cases_are_named_and_the_others_counted() -> None:
    rows = [row(f"c{k}", 1, ["volume"]) for k in range(21)]
    assert "; c19 (volume). Flags: volume 20" in summary(rows[:20])
    assert "; c19 (volume); and 1 more. Flags: volume 21" in summary(rows)
    assert summary([]) == ""
