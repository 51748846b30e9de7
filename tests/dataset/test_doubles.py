"""Pairs of slices that are alike: the issues of `prepare`, leaks across parts, and doubts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungseg.config.datasets import SplitConfig
from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.dataset import checks, similarity
from lungseg.dataset.checks import IssueRow, find_duplicates, read_pair
from lungseg.dataset.likeness import Looks, describe
from lungseg.dataset.patients import assign_patients
from lungseg.dataset.similarity import (
    Likeness,
    most_alike_pairs,
    most_similar,
    report_leaks,
    similar_across,
    similar_pairs,
)
from lungseg.dataset.slices import ManifestRow, Slice
from lungseg.errors import DataError
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import Pair
from lungseg.imaging.pixels import write_png
from tests.support.bodies import body

BODIES = [describe(np.ascontiguousarray(body(k))) for k in range(5)]
# Moved by a few pixels, so the two are alike, but not equal: about 0.95.
MOVED = [describe(np.roll(body(k), (3, 2), (0, 1))) for k in range(5)]


def row(case: str, looks: str, sha256: str, image: str = "") -> ManifestRow:
    return ManifestRow(
        case=case,
        source=case,
        image="",
        mask="",
        source_image=image or f"in/{case}.png",
        lung_fraction=0.2,
        sha256=sha256,
        likeness=looks,
    )


def told(issues: list[IssueRow]) -> list[tuple[str, str, str]]:
    return [(issue.code, issue.case, issue.file) for issue in issues]


def test_equal_and_similar_slices_are_issues_of_the_later_one() -> None:
    rows = [
        row("a", BODIES[0], "1"),
        replace(row("a_aug01", BODIES[0], "1"), source="a"),
        row("b", BODIES[1], "2"),
        row("c", MOVED[0], "3"),
        row("d", BODIES[1], "2"),
    ]
    issues = find_duplicates(rows, 0.9)
    assert told(issues) == [("near_duplicate", "c", "c.png"), ("exact_duplicate", "d", "d.png")]
    assert issues[0].detail.startswith("like a (similarity 0.94")
    assert issues[1].detail == "the same pixels as b"
    assert {issue.severity for issue in issues} == {"warning"}
    assert str(issues[1]) == "d.png: exact_duplicate: the same pixels as b"


def test_slices_of_one_ct_are_an_issue_only_if_they_are_equal() -> None:
    looks = [("z1", BODIES[0], "1"), ("z2", MOVED[0], "2"), ("z3", BODIES[0], "1")]
    one_ct = [row(case, look, sha, "ct.nii.gz") for case, look, sha in looks]
    assert told(find_duplicates(one_ct, 0.9)) == [("exact_duplicate", "z3", "ct.nii.gz")]


@pytest.mark.parametrize(("most", "issues"), [(9, 3), (3, 3 + 1), (2, 2 + 1)])
def test_the_list_of_duplicates_ends(
    most: int, issues: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MAX_REPORTED_PAIRS", most)
    found = find_duplicates([row(name, BODIES[0], "1") for name in "abc"], 0.9)
    assert len(found) == issues
    last = found[-1]
    if most < 9:
        assert (last.code, last.case, last.file) == ("more_duplicates", "", "")
        assert last.detail == f"the list ends after {most} pairs"


def test_an_issue_names_its_file_without_the_folder() -> None:
    finding = Finding("code", "failed", "why", Path("deep/in/a.png"))
    assert IssueRow.of(finding, "a") == IssueRow("failed", "code", "a", "a.png", "why")
    assert IssueRow.of(replace(finding, path=None), "a").file == ""


def read(folder: Path, image: np.ndarray, mask: np.ndarray, **settings: object) -> tuple[Any, ...]:
    config = with_overrides(
        Config(), {"data.image_size": [16, 16], "prepare.blank_contrast": 0, **settings}
    )
    pair = Pair("a", folder / "a.png", folder / "a_mask.png")
    write_png(pair.image, image)
    write_png(pair.mask, mask)
    return read_pair(pair, config)


def test_a_mask_of_other_colours_fails_with_its_size_known(tmp_path: Path) -> None:
    mask = np.zeros((10, 20, 3), np.uint8)
    mask[:5] = (250, 10, 99)
    image, labels, size, findings = read(tmp_path, np.full((10, 20), 50, np.uint8), mask)
    [failed] = [f for f in findings if f.severity == "failed"]
    assert (failed.code, failed.path) == ("mask_colours", tmp_path / "a_mask.png")
    assert not failed.detail.endswith(".")
    assert (size, labels.shape, image.shape[:2]) == ((10, 20), (10, 20), (10, 20))
    assert not labels.any()


@pytest.mark.parametrize("match", [True, False])
def test_a_mask_of_another_size_is_said_and_lies_on_the_image(match: bool, tmp_path: Path) -> None:
    image = np.zeros((16, 16), np.uint8)
    image[4:8] = 200
    mask = np.zeros((32, 48), np.uint8)
    mask[8:16] = 255
    settings = {"prepare.match_mask_size": match}
    pixels, labels, size, findings = read(tmp_path, image, mask, **settings)
    [finding] = findings
    assert (finding.code, finding.path) == ("size_mismatch", tmp_path / "a.png")
    assert finding.severity == ("repaired" if match else "failed")
    assert finding.detail.startswith("image 16 x 16, mask 32 x 48")
    assert size == (16, 16)
    np.testing.assert_array_equal(labels > 0, image > 0)
    np.testing.assert_array_equal(pixels.reshape(16, 16), image)


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path) -> None:
    image = np.full((16, 8), 200, np.uint8)
    mask = np.full((16, 8), 0, np.uint8)
    mask[:, :4] = 255
    # A pixel is twice as wide as high, so the slice is a square.
    pixels, labels, _, _ = read(tmp_path, image, mask, **{"data.pixel_spacing": [1.0, 2.0]})
    assert (pixels == 200).all()
    np.testing.assert_array_equal(labels[:, 8:], 0)
    np.testing.assert_array_equal(labels[:, :8], 1)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr("lungseg.system.console.warn", texts.append)
    return texts


def slice_of(case: str, looks: str, named: bool = True, group: str = "") -> Slice:
    return Slice(case, case, group or case, Path(), Path(), 0.2, case, looks, named)


def test_the_audit_names_the_most_similar_slices_and_counts_those_alike() -> None:
    train = [slice_of("a", BODIES[0]), slice_of("b", BODIES[1]), slice_of("c", BODIES[2])]
    test = [slice_of("x", BODIES[3]), slice_of("y", MOVED[1]), slice_of("z", BODIES[2])]
    split = SplitConfig(leak_similarity=0.999, patient_similarity=0.9)
    [found] = most_alike_pairs({"train": train, "valid": [], "test": test}, split)
    # y is b moved, z is c again.
    assert (found.parts, found.cases, found.alike) == (("train", "test"), ("c", "z"), 2)
    assert found.similarity == pytest.approx(1, abs=1e-5)
    assert found.leaks
    # Without the equal slice two names stand against the moved one, but one name does not.
    for known, leaks in ((True, False), (False, True)):
        others = [replace(s, named=known) for s in test[:2]]
        [found] = most_alike_pairs({"train": train, "test": others}, split)
        assert (found.cases, found.alike, found.leaks) == (("b", "y"), 1, leaks)
    [unlike] = most_alike_pairs({"train": train[:1], "test": test[:1]}, split)
    assert (unlike.cases, unlike.alike, unlike.leaks) == (("a", "x"), 0, False)
    assert 0.4 < unlike.similarity < 0.9


def test_a_shared_patient_is_counted_beside_those_that_look_alike() -> None:
    train = [slice_of("a", BODIES[0], group="anna"), slice_of("b", BODIES[1], group="bert")]
    test = [
        slice_of("x", MOVED[1], group="xaver"),
        slice_of("y", BODIES[3], group="anna"),
        slice_of("z", BODIES[4], group="anna"),
    ]
    split = SplitConfig(leak_similarity=1, patient_similarity=0.9)
    [found] = most_alike_pairs({"train": train, "test": test}, split)
    assert found == Likeness(("train", "test"), ("a", "y"), 1.0, 3, True)
    # A group of slices that look alike is no patient by name.
    unnamed = [replace(s, named=False) for s in test[1:]]
    [found] = most_alike_pairs({"train": train, "test": unnamed}, split)
    assert (found.alike, found.leaks) == (0, False)


def audit(*kinds: tuple[int, bool]) -> list[Likeness]:
    return [
        Likeness(("train", "test"), (f"a{k}", f"b{k}"), 0.9 + k / 100, alike, leaks)
        for k, (alike, leaks) in enumerate(kinds)
    ]


def test_leaks_are_errors_or_warnings_and_likeness_alone_is_a_doubt(said: list[str]) -> None:
    split = SplitConfig()
    report_leaks(audit((0, False)), split)
    assert said == []
    leak = "  train / test: 2 slices of test; the most similar are a0 and b0, similarity 0.900"
    with pytest.raises(DataError, match=f"too good:\n{leak}\nName the patients"):
        report_leaks(audit((2, True), (0, False)), split)
    assert said == []
    report_leaks(audit((2, True), (0, False)), split, strict=False)
    report_leaks(audit((2, True)), split.model_copy(update={"allow_leakage": True}))
    assert [text.endswith(f"every score too good:\n{leak}") for text in said] == [True, True]
    said.clear()
    report_leaks(audit((0, False), (3, False), (1, False)), split)
    [doubt] = said
    assert doubt.splitlines()[1:] == [
        "  train / test: 3 slices of test; the most similar are a1 and b1, similarity 0.910",
        "  train / test: 1 slices of test; the most similar are a2 and b2, similarity 0.920",
    ]
    assert "Was a patient named twice?" in doubt


def pairs_of(search: Callable[[], object]) -> list[tuple[int, int, float]]:
    return [
        (int(i), int(j), float(value))
        for block in search()  # type: ignore[attr-defined]
        for i, j, value in zip(*block, strict=True)
    ]


@pytest.mark.parametrize("all_pairs", [10**6, 0])
def test_pairs_are_those_of_at_least_the_similarity(
    all_pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similarity, "ALL_PAIRS", all_pairs)
    monkeypatch.setattr(similarity, "BLOCK", 4)  # a row of pairs at a time
    looks = Looks.read([*BODIES, MOVED[2], MOVED[0]])
    i, j = np.indices((7, 7)).reshape(2, -1)
    every = looks.similarities(i, looks, j)
    table = every.reshape(7, 7)
    limit = float(table[2, 5])
    found = pairs_of(lambda: similar_pairs(looks, limit))
    expected = [(a, b) for a in range(7) for b in range(a + 1, 7) if table[a, b] >= limit]
    assert (2, 5) in expected
    assert [(a, b) for a, b, _ in found] == expected
    assert [value for *_, value in found] == pytest.approx([table[a, b] for a, b in expected])
    above = pairs_of(lambda: similar_pairs(looks, limit + 1e-4))
    assert (2, 5) not in [(a, b) for a, b, _ in above]
    one, other = Looks.read(BODIES[:3]), Looks.read([MOVED[2], BODIES[4], MOVED[0], BODIES[1]])
    assert [(a, b) for a, b, _ in pairs_of(lambda: similar_across(one, other, 0.9))] == [
        (0, 2),
        (1, 3),
        (2, 0),
    ]
    best = most_similar(one, other)
    assert best is not None and best[:2] == (1, 3)
    assert best[2] == pytest.approx(1, abs=1e-5)
    assert pairs_of(lambda: similar_across(one, Looks.read([]), 0.0)) == []


def test_neighbours_by_number_are_one_patient_if_somewhat_alike() -> None:
    # Half of the trunk is another's, so the two are somewhat alike.
    mixed = np.array(body(0))
    mixed[:, 80:] = body(1)[:, 80:]
    looks = {"p_1": BODIES[0], "p_2": describe(mixed), "q_1": BODIES[3]}
    slices = [replace(slice_of(case, look, False), group="") for case, look in looks.items()]
    both = Looks.read([looks["p_1"], looks["p_2"]])
    alike = float(both.similarities(np.array([0]), both, np.array([1]))[0])
    apart = SplitConfig(patient_similarity=1, leak_similarity=1)

    def groups(**settings: float) -> tuple[list[str], list[list[str]]]:
        split = SplitConfig.model_validate({**apart.model_dump(), **settings})
        found, merged = assign_patients(slices, split)
        assert not any(s.named for s in found)
        return [s.group for s in found], merged

    near = {"neighbour_similarity": alike - 1e-3, "neighbour_gap": 1}
    assert groups(**near) == (["p_1", "p_1", "q_1"], [["p_1", "p_2"]])
    alone: tuple[list[str], list[list[str]]] = (["p_1", "p_2", "q_1"], [])
    assert groups(**{**near, "neighbour_similarity": alike + 1e-3}) == alone
    assert groups(**{**near, "neighbour_gap": 0}) == alone


def test_a_copy_has_the_patient_of_its_source_and_stands_for_itself_without_one() -> None:
    named = slice_of("a", "", group="anna")
    unnamed = replace(slice_of("b", ""), group="")
    copies = [
        replace(named, case="a_aug01", source="a", group="other"),
        replace(unnamed, case="b_aug01", source="b"),
        replace(unnamed, case="c_aug01", source="c"),
        replace(named, case="d_aug01", source="d", group="dora"),
    ]
    found, merged = assign_patients([named, unnamed, *copies], SplitConfig())
    assert merged == []
    assert [(s.case, s.group, s.named) for s in found] == [
        ("a", "anna", True),
        ("b", "b", False),
        ("a_aug01", "anna", True),
        ("b_aug01", "b", False),
        ("c_aug01", "c_aug01", False),
        ("d_aug01", "dora", True),
    ]
    by_name, merged = assign_patients([unnamed, copies[1]], SplitConfig(group_regex="(.)"))
    assert merged == []
    assert [(s.group, s.named) for s in by_name] == [("b", True), ("b", True)]
