"""cases.csv gives back the very rows that were written, and a damaged one is named."""

import dataclasses
from pathlib import Path

import pytest

from lungseg.errors import DataError
from lungseg.imaging.folders import Input
from lungseg.inference.origins import Origin
from lungseg.inference.rows import (
    CaseRow,
    LungMeasures,
    Measures,
    PartMeasures,
    Quality,
    case_log,
    done_row,
    failed_row,
    holds_cases,
    in_words,
    read_done,
    write_cases,
)
from lungseg.system import console
from lungseg.system.tables import read_json

SCAN = Input(Path("scan.mha"), "scan", True)
FUSED = Input(Path("fused.mha"), "fused", True)
IMAGE = Input(Path("007.png"), "007", False)
ORIGIN = Origin("1" * 64, "2" * 64, "3" * 64)
THIRD = PartMeasures(4.0, -812.5, 0.0123, 0.1, 0.05, 0.0)
LUNG = LungMeasures(
    12.0, -812.5, 0.01, 0.1, 0.05, 0.0, -950.0, -900.1, -820.0, -300.0, THIRD, THIRD, THIRD
)
QUALITY = Quality(0.98, 0.95, 0.01, 3, 0.45, True)
NO_LUNG = LungMeasures(0.0)
UNKNOWN = LungMeasures()


def test_rows_come_back_with_their_types(tmp_path: Path) -> None:
    measures = Measures(LUNG, LUNG, NO_LUNG, slices_with_lung=3, touches_border=False)
    unknown = Measures(LUNG, UNKNOWN, UNKNOWN, slices_with_lung=3, touches_border=False)
    flags = ["cut_off", "volume"]
    rows = [
        done_row(SCAN, "scan.mha", (4, 10, 20), 123, "a; b", ORIGIN, measures, QUALITY, flags),
        done_row(IMAGE, "007.png", (1, 3, 3), 1, "1e5", ORIGIN, quality=Quality(0.9)),
        done_row(FUSED, "fused.mha", (4, 10, 20), 123, "", ORIGIN, unknown, QUALITY),
    ]
    for row in rows:
        (tmp_path / str(row.mask)).touch()
    write_cases(tmp_path, rows)
    read = list(read_done(tmp_path).values())
    assert read == rows
    assert [dataclasses.asdict(row) for row in read] == [dataclasses.asdict(row) for row in rows]
    assert read[1].case == "007"
    scan, image, fused = read_json(tmp_path / "cases.json")
    assert (scan["flags"], fused["flags"]) == ("cut_off volume", "")
    assert (scan["left_upper_below_950_share"], scan["right_volume_ml"]) == (0.0123, 0.0)
    assert "right_volume_ml" not in fused
    assert (scan["threshold_dice"], image["certainty"]) == (0.95, 0.9)
    assert (scan["lung_volume_ml"], scan["slices_with_lung"]) == (12.0, 3)
    assert "right_mean_hu" not in scan
    assert "lung_volume_ml" not in image
    assert image["lung_fraction"] == 0.111111
    text = (tmp_path / "cases.csv").read_text()
    assert ",123,0.153750,cut_off volume,a; b,12.0,-812.5," in text
    assert text.startswith("case,input,status,mask,height,width,slices,lung_pixels,lung_fraction,")


def test_rows_without_the_name_of_the_network_are_read(tmp_path: Path) -> None:
    row = done_row(IMAGE, "007.png", (1, 3, 3), 1, "", dataclasses.replace(ORIGIN, network="x"))
    (tmp_path / "007.png").touch()
    write_cases(tmp_path, [row])
    assert read_done(tmp_path) == {"007": row}
    # As versions wrote it that did not name the network.
    table = tmp_path / "cases.csv"
    table.write_text("".join(f"{r.rpartition(',')[0]}\n" for r in table.read_text().splitlines()))
    assert "network" not in table.read_text()
    assert read_done(tmp_path)["007"].origin == ORIGIN


def test_a_damaged_cell_is_named(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("case,input,status,mask,height\na,a.png,done,a.png,tall\n")
    with pytest.raises(DataError, match=r"cases\.csv: line 2, column height: .* found 'tall'"):
        read_done(tmp_path)


def test_a_row_without_its_mask_is_not_done(tmp_path: Path) -> None:
    write_cases(tmp_path, [done_row(IMAGE, "007.png", (1, 3, 3), 1, "", ORIGIN)])
    assert read_done(tmp_path) == {}


def test_a_row_that_was_not_finished_is_not_done(tmp_path: Path) -> None:
    measures = Measures(LUNG, LUNG, LUNG, 3, True)
    rows = [
        done_row(IMAGE, "007.png", (1, 3, 3), 1, "", ORIGIN),
        done_row(SCAN, "scan.mha", (4, 10, 20), 123, "a; b", ORIGIN, measures),
    ]
    for row in rows:
        (tmp_path / str(row.mask)).touch()
    write_cases(tmp_path, rows)
    path = tmp_path / "cases.csv"
    content = path.read_bytes()
    start = content.index(b"scan")
    # Killed after any number of bytes of the last row.
    for end in range(start, len(content)):
        path.write_bytes(content[:end])
        assert list(read_done(tmp_path).values()) == rows[:1], content[start:end]
    path.write_bytes(content)
    assert list(read_done(tmp_path).values()) == rows


def test_a_row_is_on_disk_before_the_next_case_begins(tmp_path: Path) -> None:
    row = done_row(IMAGE, "007.png", (1, 3, 3), 1, "", ORIGIN)
    (tmp_path / "007.png").touch()
    rows: list[CaseRow] = []
    with case_log(tmp_path, rows) as log:
        log([row])
        assert read_done(tmp_path) == {"007": row}
    assert rows == [row]


def test_a_file_that_is_no_table_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("notes of a person")
    with pytest.raises(DataError, match="expected the columns case"):
        read_done(tmp_path)
    assert (tmp_path / "cases.csv").read_text() == "notes of a person"


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        (1849.6, 2150.2, "left 1850, right 2150"),
        (0.0, 2000.0, "left 0, right 2000"),
        (None, 2000.0, "right 2000"),
        (None, None, "left and right are not known"),
    ],
)
def test_a_volume_in_words_has_its_sides(
    left: float | None, right: float | None, said: str
) -> None:
    both = LungMeasures(3999.8)
    measures = Measures(both, LungMeasures(left), LungMeasures(right), 3, False)
    row = done_row(SCAN, "scan.mha", (4, 10, 20), 123, "", ORIGIN, measures)
    assert in_words(row) == f"scan: 4000 mL of lung ({said}); no flags"
    flagged = dataclasses.replace(row, flags="cut_off volume")
    assert in_words(flagged) == f"scan: 4000 mL of lung ({said}); flags: cut_off, volume"


def test_an_image_and_a_failure_in_words() -> None:
    row = done_row(IMAGE, "007.png", (1, 3, 3), 1, "", ORIGIN)
    assert in_words(row) == "007: no flags"
    failed = failed_row(IMAGE, DataError(Path("007.png"), "is damaged."))
    assert failed.failed
    assert not row.failed
    assert in_words(failed) == f"007: failed: {failed.detail}"
    assert (failed.mask, failed.status) == (None, "failed")


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (DataError(Path("007.png"), "is damaged."), "007.png: is damaged."),
        (DataError(None, "no memory"), "007.png: no memory"),
    ],
)
def test_a_failure_is_told_with_its_file_once(
    problem: DataError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(console, "warn", warned.append)
    failed_row(IMAGE, problem)
    assert warned == [said]


def test_the_lung_is_a_share_of_all_voxels() -> None:
    row = done_row(SCAN, "scan.mha", (4, 10, 20), 123, "", ORIGIN)
    assert (row.slices, row.height, row.width) == (4, 10, 20)
    assert row.lung_fraction == 0.15375
    assert done_row(SCAN, "scan.mha", (7, 10, 20), 1, "", ORIGIN).lung_fraction == 0.000714


def test_a_table_of_the_program_is_known_by_its_first_columns(tmp_path: Path) -> None:
    assert not holds_cases(tmp_path)
    write_cases(tmp_path, [])
    assert holds_cases(tmp_path)
    (tmp_path / "cases.csv").write_text("case,input,mask,status,height\n")
    assert not holds_cases(tmp_path)


def test_a_failed_case_is_not_done(tmp_path: Path) -> None:
    (tmp_path / "007.png").touch()
    row = done_row(IMAGE, "007.png", (1, 3, 3), 1, "", ORIGIN)
    write_cases(tmp_path, [dataclasses.replace(row, status="failed")])
    assert read_done(tmp_path) == {}
