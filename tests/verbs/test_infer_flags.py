"""Faults are flagged in the tables, on the console and in the result; the exit code stays 0."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from typer.testing import Result

from lungseg.config.schema import Config
from lungseg.imaging.folders import Input
from lungseg.inference.cases import segment_case
from lungseg.inference.rows import CaseRow
from lungseg.phantom.dataset import write_phantom_volumes
from lungseg.system.tables import read_csv, read_json
from lungseg.verbs.infer import infer
from tests.support.networks import write_network
from tests.support.volumes import image_of, phantom_volume

Cli = Callable[..., Result]
SIDE = 48
SPACING = (8.0, 8.0, 20.0)
RIGHT, LEFT = slice(6, 20), slice(28, 42)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_network(tmp_path / "run", (SIDE, SIDE))


def body(*, lungs: bool) -> np.ndarray:
    """Return a body with a bubble of 2.6 mL, with or without lungs of 3,441 mL each."""
    hu = np.full((12, SIDE, SIDE), 60, np.int16)
    hu[6, 40, 20:22] = -900
    if lungs:
        hu[2:10, 12:36, RIGHT] = hu[2:10, 12:36, LEFT] = -900
    return hu


def write_scan(
    path: Path, *, lungs: bool = True, hu: np.ndarray | None = None, shrink: float = 1.0
) -> Path:
    path.parent.mkdir(exist_ok=True)
    values = body(lungs=lungs) if hu is None else hu
    sitk.WriteImage(image_of(values, [shrink * side for side in SPACING]), str(path))
    return path


def no_left(hu: np.ndarray) -> None:
    hu[:, :, LEFT] = 60


def half_a_left(hu: np.ndarray) -> None:
    hu[:, :24, LEFT] = 60


def from_the_first_slice(hu: np.ndarray) -> None:
    hu[:2, 12:36, LEFT] = -900


def nine_bubbles(hu: np.ndarray) -> None:
    hu[4, 4, 4:22:2] = -900  # 1.28 mL each


def too_dense_for_the_threshold(hu: np.ndarray) -> None:
    hu[2:10, 12:36, RIGHT] = hu[2:10, 12:36, LEFT] = -310


FAULTS: dict[str, Callable[[np.ndarray], None]] = {
    "missing_side": no_left,
    "uneven_sides": half_a_left,
    "cut_off": from_the_first_slice,
    "many_parts": nine_bubbles,
    "threshold_differs": too_dense_for_the_threshold,
    "doubtful_hu": too_dense_for_the_threshold,
}


def flags_of(scan: Path, run: Path, output: Path) -> list[str]:
    infer(Config(), [scan], output, run=run)
    [row] = read_csv(output / "cases.csv")
    return row.get("flags", "").split()


def test_a_good_scan_has_no_flag_but_that_of_its_network(run: Path, tmp_path: Path) -> None:
    assert flags_of(write_scan(tmp_path / "ct.mha"), run, tmp_path / "out") == ["low_certainty"]


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_is_flagged(code: str, run: Path, tmp_path: Path) -> None:
    hu = body(lungs=True)
    FAULTS[code](hu)
    assert code in flags_of(write_scan(tmp_path / "ct.mha", hu=hu), run, tmp_path / "out")


def test_a_phantom_volume_is_cut_off_only_if_its_ends_are_left_out(
    run: Path, tmp_path: Path
) -> None:
    write_phantom_volumes(tmp_path / "raw", 1, 24, 96)
    whole = tmp_path / "raw" / "images" / "patient01.nii.gz"
    assert "cut_off" not in flags_of(whole, run, tmp_path / "out")
    cut = tmp_path / "cut.mha"
    sitk.WriteImage(sitk.ReadImage(str(whole))[:, :, 1:-1], str(cut))
    assert "cut_off" in flags_of(cut, run, tmp_path / "other")


def test_lungs_of_another_size_are_flagged(run: Path, tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "ct.mha", shrink=0.5)
    assert "volume" in flags_of(scan, run, tmp_path / "out")


def test_values_that_were_converted_are_flagged(run: Path, tmp_path: Path) -> None:
    ct, _ = phantom_volume(12, 96)
    right, shifted = tmp_path / "right.mha", tmp_path / "shifted.mha"
    sitk.WriteImage(ct, str(right))
    sitk.WriteImage(ct + 1024, str(shifted))
    assert "doubtful_hu" in flags_of(shifted, run, tmp_path / "out")
    assert "doubtful_hu" not in flags_of(right, run, tmp_path / "other")


def test_the_shares_of_a_made_scan_are_known(run: Path, tmp_path: Path) -> None:
    hu = body(lungs=True)
    hu[2:10, 12:36, RIGHT] = -920
    hu[2:5, 12:36, RIGHT] = -960  # 3 of the 8 slices, which are the lower third
    hu[7:10, 12:18, RIGHT] = -400  # a quarter of the upper third
    hu[8, 20:30, 8:18:2] = 0  # 50 of 2,688 voxels; they are filled as holes
    infer(Config(), [write_scan(tmp_path / "ct.mha", hu=hu)], tmp_path / "out", run=run)
    [row] = read_csv(tmp_path / "out" / "cases.csv")
    expected = {
        "right_volume_ml": 3440.64,
        "right_below_950_share": 3 / 8,
        "right_below_910_share": 1 - 3 / 8 * 1 / 4 - 50 / 2688,
        "right_infiltrated_share": 3 / 8 * 1 / 4,
        "right_collapsed_share": 50 / 2688,
        "right_lower_volume_ml": 3440.64 * 3 / 8,
        "right_lower_below_950_share": 1,
        "right_middle_volume_ml": 3440.64 * 2 / 8,
        "right_upper_below_950_share": 0,
        "right_upper_infiltrated_share": 0.25,
        "left_below_910_share": 0,
        "lung_below_950_share": 3 / 16,
    }
    found = {name: float(row.get(name, "nan")) for name in expected}
    assert found == pytest.approx(expected, abs=6e-5)


def test_a_call_without_any_lung_ends_well_and_names_its_cases(
    run: Path, tmp_path: Path, lungseg: Cli
) -> None:
    for name in ("a", "b"):
        write_scan(tmp_path / "in" / f"{name}.mha", lungs=False)
    result = lungseg("infer", "--run", run, tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 0
    said = " ".join(result.stderr.split())
    assert "2 of 2 cases are flagged" in said
    named = "(no_lung, much_dropped, low_certainty, all_empty)"
    assert f"a {named}; b {named}" in said
    assert "Flags: no_lung 2, much_dropped 2, low_certainty 2, all_empty 2" in said
    for rows in (read_csv(tmp_path / "out" / "cases.csv"), read_json(tmp_path / "out/cases.json")):
        flags = "no_lung much_dropped low_certainty all_empty"
        assert [row["flags"] for row in rows] == [flags] * 2
        assert all("no lung was found" in row["detail"] for row in rows)


def test_a_case_with_lung_that_is_added_takes_all_empty_away(run: Path, tmp_path: Path) -> None:
    write_scan(tmp_path / "in" / "a.mha", lungs=False)
    first = infer(Config(), [tmp_path / "in"], tmp_path / "out", run=run)
    assert ["all_empty" in case.flags.split() for case in first.flagged] == [True]
    write_scan(tmp_path / "in" / "b.mha", lungs=True)
    second = infer(Config(), [tmp_path / "in"], tmp_path / "out", run=run, resume=True)
    flags = {case.case: case.flags.split() for case in second.cases}
    assert "no_lung" in flags["a"]
    assert "no_lung" not in flags["b"]
    assert "all_empty" not in flags["a"] + flags["b"]
    assert "all_empty" not in read_csv(tmp_path / "out" / "cases.csv")[0]["flags"]


def test_the_flags_of_a_scan_are_in_its_row_and_its_detail(run: Path, tmp_path: Path) -> None:
    # Black and white are -1000 and 400 HU, so this network gives 60 HU a probability of 0.24.
    scan = write_scan(tmp_path / "scan.mha", lungs=True)
    [case] = infer(Config(), [scan], tmp_path / "out", run=run).cases
    assert "low_certainty" in case.flags.split()
    assert case.quality is not None
    certainty = case.quality.certainty
    assert certainty is not None
    assert certainty < 0.95
    assert f"the network's certainty is {certainty:.2f}; expected at least 0.95" in case.detail


@pytest.mark.parametrize(("grey", "flags"), [(0, ""), (100, "low_certainty"), (255, "all_empty")])
def test_an_image_can_be_uncertain_and_all_images_empty(
    grey: int, flags: str, run: Path, tmp_path: Path
) -> None:
    image = np.full((SIDE, SIDE), 255, np.uint8)
    image[10:30, 10:30] = grey
    cv2.imwrite(str(tmp_path / "a.png"), image)
    [case] = infer(Config(), [tmp_path / "a.png"], tmp_path / "out", run=run).cases
    assert case.flags == flags


def test_each_volume_is_said_with_its_millilitres_sides_and_flags(
    run: Path, tmp_path: Path, lungseg: Cli
) -> None:
    write_scan(tmp_path / "in" / "a.mha")
    write_scan(tmp_path / "in" / "b.mha", lungs=False)
    (tmp_path / "in" / "c.mha").write_bytes(b"no image")
    result = lungseg("infer", "--run", run, tmp_path / "in", "-o", tmp_path / "out")
    lines = [line.strip() for line in result.stderr.splitlines()]
    rows = {row["case"]: row for row in read_csv(tmp_path / "out" / "cases.csv")}
    for number, case in enumerate("abc", 1):
        place = lines.index(f"volume {number} of 3: {case}")
        said = next(line for line in lines[place + 1 :] if line.startswith(f"{case}: "))
        if case == "c":
            assert said == f"c: failed: {rows[case]['detail']}"
            continue
        said = next(
            line for line in lines[place + 1 :] if line.startswith(f"{case}: ") and "mL" in line
        )
        ml = {k: rows[case][f"{k}_volume_ml"] for k in ("lung", "left", "right")}
        sides = [f"{k} {float(ml[k]):.0f}" for k in ("left", "right") if ml[k]]
        assert said.startswith(
            f"{case}: {float(ml['lung'] or 0):.0f} mL of lung "
            f"({', '.join(sides) or 'left and right are not known'}); "
        )
        # That all are empty is known at the end only.
        flags = [each for each in rows[case]["flags"].split() if each != "all_empty"]
        assert said.endswith(f"; flags: {', '.join(flags)}" if flags else "; no flags")
    assert float(rows["a"]["lung_volume_ml"]) > 0


def test_on_a_terminal_the_progress_shows_the_tidying_of_each_volume(
    run: Path, tmp_path: Path, lungseg: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scan(tmp_path / "a.mha")
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich then draws as on a terminal
    monkeypatch.setenv("TERM", "xterm")
    result = lungseg("infer", "--run", run, tmp_path / "a.mha", "-o", tmp_path / "out")
    assert "a: tidy, sides" in result.stderr
    assert "2/2" in result.stderr


def test_with_a_scheduler_each_volume_is_said_as_well(
    run: Path, tmp_path: Path, lungseg: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_workers(
        scheduler: str, items: list[Input], paths: list[Path], output: Path, config: Config
    ) -> Iterator[CaseRow]:
        for item in reversed(items):
            yield segment_case(item, paths, output, config)

    monkeypatch.setattr("lungseg.verbs.infer.map_cases", on_workers)
    write_scan(tmp_path / "in" / "a.mha")
    (tmp_path / "in" / "b.mha").write_bytes(b"no image")
    cv2.imwrite(str(tmp_path / "in" / "c.png"), np.full((SIDE, SIDE), 200, np.uint8))
    command = ("infer", "--run", run, tmp_path / "in", "-o")
    alone = lungseg(*command, tmp_path / "alone").stderr.splitlines()
    shared = lungseg(*command, tmp_path / "shared", "--scheduler", "tcp://x:1").stderr.splitlines()
    assert [line for line in alone if "mL of lung" in line] == [
        line for line in shared if "mL of lung" in line
    ]
    assert any(line.startswith("a: ") and "mL of lung (" in line for line in shared)
    assert any(line.startswith("b: failed: ") for line in shared)
    assert not [line for line in shared if line.startswith("c: ")]
