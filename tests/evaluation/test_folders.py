"""Folders of masks: which belong together, whose they are, what is said of them and drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.evaluation import drawing, edge_limit
from lungseg.evaluation.drawing import draw_pair, draw_volume_pair
from lungseg.evaluation.folders import (
    CaseNote,
    FolderScores,
    Pairing,
    pair_masks,
    report_problems,
    score_case,
    score_pairs,
    with_patients,
)
from lungseg.evaluation.loading import Case, LoadedMasks, load_masks
from lungseg.evaluation.metrics import PixelSize
from lungseg.evaluation.naming import name_patients
from lungseg.imaging.pixels import write_png
from lungseg.system.tables import write_csv
from tests.support.volumes import image_of

LEAVE_OUT = with_overrides(Config(), {"evaluate.missing": "leave_out"})


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list that warnings and notes go to."""
    texts: list[str] = []
    for level in ("warn", "note"):
        monkeypatch.setattr(f"lungseg.system.console.{level}", texts.append)
    return texts


def mask(side: int = 8) -> np.ndarray:
    labels = np.zeros((side, side), np.uint8)
    labels[2:5, 2:5] = 255
    return labels


def write(path: Path, side: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, mask(side))
    return path


def test_masks_are_paired_by_stem_and_those_without_a_truth_are_named(tmp_path: Path) -> None:
    truth, pred, images = tmp_path / "truth", tmp_path / "pred", tmp_path / "images"
    for name in ("b10.png", "b9.png", "lone.png"):
        write(truth / name)
    for name in ("B9.png", "b10.png", "z.png", "deep/y.png"):
        write(pred / name)
    write(images / "b9.png")
    found = pair_masks(pred, truth, images)
    assert [(case.name, case.prediction, case.image) for case in found.cases] == [
        ("b9", pred / "B9.png", images / "b9.png"),
        ("b10", pred / "b10.png", None),
        ("lone", None, None),
    ]
    assert (found.predictions, found.truth) == (pred, truth)
    assert found.extra == ["deep/y.png", "z.png"]
    assert [case.image for case in pair_masks(pred, truth).cases] == [None] * 3
    write(truth / "deep" / "B9.png")
    assert len(pair_masks(pred, truth).cases) == 4  # deep_B9 is another case
    write(truth / "B9.bmp")
    with pytest.raises(DataError, match=r"b9\.png and B9\.bmp|B9\.bmp and b9\.png"):
        pair_masks(pred, truth)
    for path in pred.rglob("*.png"):
        path.unlink()
    write(pred / "z.png")
    (truth / "B9.bmp").unlink()
    with pytest.raises(DataError, match=f"holds no mask with the stem of one in {truth}"):
        pair_masks(pred, truth)
    with pytest.raises(DataError, match=r"images: holds no mask \(PNG"):
        for path in images.iterdir():
            path.unlink()
        pair_masks(pred, images)


def test_a_missing_mask_is_scored_as_empty_or_left_out(tmp_path: Path) -> None:
    truth = write(tmp_path / "t.png")
    other = write(tmp_path / "larger" / "t.png", 9)
    cases = [Case("a", truth, truth), Case("b", truth, None), Case("c", truth, other)]
    scores = score_pairs(cases, Config())
    assert [note.case for note in scores.problems] == ["b", "c"]
    assert scores.problems[0].detail == "there is no prediction"
    assert scores.problems[1].detail == "prediction is 9 x 9, truth 8 x 8; nothing is resized"
    of_model = [row for row in scores.rows if row.method == "model"]
    assert [(row.case, row.scores.dice, row.scores.flag) for row in of_model] == [
        ("a", 1.0, ""),
        ("b", 0.0, "not_comparable"),
        ("c", 0.0, "not_comparable"),
    ]
    baselines = [row for row in scores.rows if row.method != "model"]
    assert {row.scores.flag for row in baselines} == {"prediction_empty"}
    left = score_pairs(cases, LEAVE_OUT)
    assert {row.case for row in left.rows} == {"a"}
    assert left.problems == scores.problems


def test_the_patient_of_a_row_is_that_of_the_case_or_the_case_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "t.png")
    for patient, group in (("anna", "anna"), ("", "a")):
        case = Case("a", path, path, patient=patient)
        assert {row.group for row in score_case(case, load_masks(case, Config()), Config())} == {
            group
        }


def test_the_patients_come_from_a_rule_or_the_list_that_names_the_mask(tmp_path: Path) -> None:
    a, b = write(tmp_path / "in" / "masks" / "a1.png"), write(tmp_path / "in" / "masks" / "b1.png")
    masks = {"A": a, "B": b}
    found = name_patients(masks, Config())
    assert (found.patients, found.source) == ({"A": "A", "B": "B"}, "files")
    by_name = with_overrides(Config(), {"split.group_regex": r"([AB])$"})
    pairing = Pairing(tmp_path, tmp_path, [Case("A", a, None), Case("B", b, None)], ["x"])
    named = with_patients(pairing, by_name)
    assert ([case.patient for case in named.cases], named.extra) == (["A", "B"], ["x"])
    assert named.patients_from == "split.group_regex"
    rows = [
        {"mask": "masks/a1.png", "group": "anna"},
        {"mask": "masks/b1.png", "group": "bert"},
        {"mask": "other/a1.png", "group": "not this"},
        {"mask": "masks/b1.png", "group": ""},
    ]
    listed = [{**row, "mask": f"in/{row['mask']}"} for row in rows]
    write_csv(tmp_path / "split.csv", ("mask", "group"), listed)
    assert name_patients(masks, Config()).source == "split.csv"
    assert name_patients(masks, Config()).patients["A"] == "anna"
    write_csv(tmp_path / "split.csv", ("mask", "group"), listed[:1])
    found = name_patients(masks, Config())
    assert (found.patients, found.source) == ({"A": "A", "B": "B"}, "files"), "B is not listed"
    write_csv(tmp_path / "in" / "manifest.csv", ("mask", "group"), rows)
    found = name_patients(masks, Config())
    assert (found.patients, found.source) == ({"A": "anna", "B": "bert"}, "manifest.csv")
    write_csv(tmp_path / "table.csv", ("case", "group"), [{"case": c, "group": "g"} for c in "AB"])
    by_table = with_overrides(Config(), {"split.group_csv": str(tmp_path / "table.csv")})
    found = name_patients(masks, by_table)
    assert (found.patients, found.source) == ({"A": "g", "B": "g"}, "split.group_csv")


def scores_of(*units: str | None, problems: int = 0, remarks: int = 0) -> FolderScores:
    """Return the rows of a case for each unit, with so many notes."""
    rows = []
    for number, unit in enumerate(units):
        size = PixelSize((1.0, 1.0) if unit else None)
        loaded = LoadedMasks(mask(), mask(), size, [])
        case = Case(f"case{number}", Path("t"), Path("p"))
        rows += score_case(case, replace(loaded, truth=mask() // 255), Config())
    notes = [CaseNote(f"n{k}", f"why {k}") for k in range(5)]
    return FolderScores(rows, notes[:problems], notes[:remarks])


def pairing_of(count: int, extra: int = 0) -> Pairing:
    cases = [Case(f"c{k}", Path(f"c{k}.png"), None) for k in range(count)]
    return Pairing(Path("pred"), Path("truth"), cases, [f"x{k}" for k in range(extra)])


def test_what_was_not_compared_and_what_was_assumed_is_said(said: list[str]) -> None:
    report_problems(pairing_of(2), scores_of("mm"), Config())
    assert said == []
    report_problems(pairing_of(3, extra=4), scores_of("mm", problems=2, remarks=2), Config())
    assert said == [
        "4 predictions have no truth and are not scored: x0, x1, x2 and 1 more",
        "2 cases could not be compared and are scored as empty: n0 (why 0), n1 (why 1)",
        "2 masks were read with an assumption, the first: n0: why 0",
    ]
    said.clear()
    report_problems(pairing_of(3), scores_of(None, problems=1), LEAVE_OUT)
    assert said == ["1 cases could not be compared and are left out: n0 (why 0)"]


def test_nothing_to_compare_and_two_units_are_errors() -> None:
    with pytest.raises(DataError, match=r"pred: none of the 2 cases can be .* First: n0: why 0"):
        report_problems(pairing_of(2), scores_of("mm", problems=2), Config())
    with pytest.raises(DataError, match="truth: pixel size is known for only some cases"):
        report_problems(pairing_of(2), scores_of("mm", None), Config())


def volume_of(path: Path, slices: int, spacing: float = 0.5) -> Path:
    labels = np.stack([mask() // 255] * slices)
    sitk.WriteImage(image_of(labels, (spacing, spacing, 2.0)), str(path))
    return path


def test_masks_that_do_not_fit_say_how_and_count_as_empty(tmp_path: Path) -> None:
    truth = volume_of(tmp_path / "t.nii.gz", 3)
    alike = load_masks(Case("a", truth, volume_of(tmp_path / "a.nii.gz", 3)), Config())
    assert alike.problem == ""
    assert alike.pixel_size.spacing == pytest.approx((2.0, 0.5, 0.5))
    assert alike.prediction.any()
    moved = volume_of(tmp_path / "m.nii.gz", 3, spacing=0.75)
    other = load_masks(Case("a", truth, moved), Config())
    assert other.problem.startswith("prediction and truth differ in geometry: ")
    assert other.prediction.shape == alike.truth.shape
    assert not other.prediction.any()
    flat = load_masks(Case("a", truth, write(tmp_path / "a.png")), Config())
    assert flat.problem == "prediction is 8 x 8, truth 3 x 8 x 8; nothing is resized"
    (tmp_path / "broken.png").write_bytes(b"nothing")
    broken = load_masks(Case("a", truth, tmp_path / "broken.png"), Config())
    assert "broken.png" in broken.problem
    with pytest.raises(DataError, match="broken"):
        load_masks(Case("a", tmp_path / "broken.png", truth), Config())


@pytest.mark.parametrize(
    ("name", "remarks"),
    [
        ("p1", []),
        ("folder_p1", []),
        ("P1", ["prediction: paired with p1.png, which differs in capital letters"]),
        ("folder_P1", ["prediction: paired with p1.png, which differs in capital letters"]),
    ],
)
def test_a_pair_that_differs_in_capital_letters_is_said(
    name: str, remarks: list[str], tmp_path: Path
) -> None:
    path = write(tmp_path / "p1.png")
    assert load_masks(Case(name, path, path), Config()).remarks == remarks


def test_remarks_say_which_mask_they_are_about(tmp_path: Path) -> None:
    two = mask()
    two[5:7, 5:7] = 100
    write_png(tmp_path / "greys.png", two)
    plain = write(tmp_path / "plain.png")
    first = load_masks(Case("greys", tmp_path / "greys.png", plain), Config()).remarks
    second = load_masks(Case("greys", plain, tmp_path / "greys.png"), Config()).remarks
    assert first and {text.split(":")[0] for text in first} == {"truth"}
    assert second and {text.split(":")[0] for text in second} == {"prediction"}


def test_the_picture_of_a_volume_is_its_slice_with_most_wrong_pixels() -> None:
    truth = np.zeros((5, 16, 16), np.uint8)
    truth[1, 2:12, 2:12] = 1
    truth[3, 2:6, 2:6] = 1
    right = draw_volume_pair(None, truth, truth, None)
    assert (right.number, right.caption) == (2, "slice 2 of 5")
    guess = truth.copy()
    guess[3, 3:5, 2:6] = 0
    guess[4, 0, 0] = 1
    assert draw_volume_pair(None, truth, guess, (2.0, 1.0, 1.0)).number == 4
    # A slice that is wrong throughout sums up to more than one with higher classes.
    guess = truth.copy()
    guess[0, 0, 0] = 200
    guess[2, :2] = 1
    assert draw_volume_pair(None, truth, guess, None).number == 3
    hu = np.full(truth.shape, -1350, np.int16)  # black in the window of the lung
    hu[1] = 150  # white
    assert draw_volume_pair(hu, truth, truth, None).picture[15, 15].tolist() == [255] * 3
    assert right.picture[15, 15].tolist() == [0] * 3


def test_the_slice_of_the_picture_is_among_those_to_look_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[list[int], list[int]]] = []

    def watch(
        ground: object, outlines: object, spacing: object, numbers: object, *_: object, **__: object
    ) -> None:
        asked.append(numbers)  # type: ignore[arg-type]
        assert spacing == (1.0, 1.0, 1.0)

    monkeypatch.setattr(drawing, "draw_directions", watch)
    monkeypatch.setattr(drawing, "AXIAL", 2)
    monkeypatch.setattr(drawing, "CORONAL", 2)
    truth = np.zeros((8, 12, 4), np.uint8)
    truth[7, 0, 0] = 1
    drawn = draw_volume_pair(None, truth, truth, None)
    # The middles of two halves: 3 and 7 of 1 to 8, and 4 and 10 of 1 to 12.
    assert asked == [([3, 7, 8], [4, 10])]
    assert drawn.number == 8


def test_a_slice_is_drawn_on_its_image_or_on_black() -> None:
    truth = (mask(32) > 0).astype(np.uint8)
    grey = np.full((32, 32), 77, np.uint8)
    for image, expected in ((None, 0), (grey, 77), (np.dstack([grey] * 3), 77)):
        drawn = draw_pair(image, truth, truth)
        assert drawn.picture[31, 31].tolist() == [expected] * 3
        assert (drawn.number, drawn.caption) == (None, "")


@pytest.mark.parametrize(("band", "code"), [("0", 2), ("-1", 2), ("1", 0)])
def test_the_band_of_the_edge_limit_is_a_pixel_or_more(
    band: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(edge_limit, "edge_limits", lambda *_: {"a": [0.5], "mean": [0.25]})
    if code:
        with pytest.raises(SystemExit) as stopped:
            edge_limit.main([str(tmp_path), "--band", band])
        assert stopped.value.code == code
        assert "--band must be at least 1" in capsys.readouterr().err
        return
    assert edge_limit.main([str(tmp_path), "--band", band]) == code
    assert capsys.readouterr().out.splitlines() == [
        "| slice | 50% | 60% | 70% | 80% | 90% |",
        "|---|---|---|---|---|---|",
        "| a | 0.5000 |",
        "| mean | 0.2500 |",
    ]


def test_an_image_of_another_size_or_kind_is_no_ground_for_the_threshold(tmp_path: Path) -> None:
    path = write(tmp_path / "t.png")
    image = write(tmp_path / "i.png", 8)

    def methods(**given: Path | None) -> list[str]:
        case = Case("a", path, path, **given)  # type: ignore[arg-type]
        return [row.method for row in score_case(case, load_masks(case, Config()), Config())]

    both = ["model", "all_background"]
    assert methods() == both
    assert methods(image=image) == [*both, "grey_threshold"]
    assert methods(image=volume_of(tmp_path / "v.nii.gz", 1)) == both
    for side in (6, 9):
        with pytest.raises(UsageError, match=f"the image is {side} x {side}, its mask 8 x 8"):
            methods(image=write(tmp_path / "other.png", side))
