"""Every defect of a folder of pairs is found, listed, and never stops the good ones."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.imaging.pixels import read_pixels
from lungseg.system.tables import read_csv
from lungseg.verbs.prepare import prepare
from tests.support.phantoms import SIDE, tiny, write_phantoms


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a fresh folder with three good pairs."""
    write_phantoms(tmp_path / "raw", patients=1, slices=3)
    return tmp_path / "raw"


def run(folder: Path, config: Config) -> dict[str, dict[str, str]]:
    """Prepare and return the issues by file name, as written."""
    prepare(config, folder / "images", folder / "masks", folder / "out", overwrite=True)
    return {row["file"]: row for row in read_csv(folder / "out" / "issues.csv")}


RNG = np.random.default_rng(1)


def grey(*shape: int) -> np.ndarray:
    return RNG.integers(0, 255, shape, dtype=np.uint8)


def add(folder: Path, stem: str, image: np.ndarray, mask: np.ndarray) -> None:
    cv2.imwrite(str(folder / "images" / f"{stem}.png"), image)
    cv2.imwrite(str(folder / "masks" / f"{stem}.png"), mask)


def test_good_pairs_become_slices_with_a_manifest_and_a_plot(prepared: Path, raw: Path) -> None:
    rows = read_csv(prepared / "manifest.csv")
    assert len(rows) == 20
    assert [row["case"] for row in rows[:2]] == ["patient01_slice01", "patient01_slice02"]
    for row in rows:
        image, mask = read_pixels(prepared / row["image"]), read_pixels(prepared / row["mask"])
        assert image.shape == mask.shape == (SIDE, SIDE)
        assert image.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 255}
        assert float(row["lung_fraction"]) == pytest.approx((mask > 0).mean(), abs=1e-6)
    np.testing.assert_array_equal(
        read_pixels(prepared / rows[0]["image"]),
        read_pixels(raw / "images" / rows[0]["source_image"]),
    )
    with Image.open(prepared / "dataset_statistics.png") as plot:
        assert plot.size[0] > 800


def test_every_defect_is_listed_with_its_file(folder: Path, tiny_config: Config) -> None:
    half = np.zeros((SIDE, SIDE), np.uint8)
    half[: SIDE // 2] = 255
    add(folder, "unreadable", grey(SIDE, SIDE), half)
    (folder / "images" / "unreadable.png").write_bytes(b"\x89PNG broken")
    add(folder, "mask_cut", grey(SIDE, SIDE), half)
    whole = (folder / "masks" / "mask_cut.png").read_bytes()
    (folder / "masks" / "mask_cut.png").write_bytes(whole[: len(whole) // 2])
    add(folder, "sizes", grey(SIDE, SIDE), half[:, :40])
    add(folder, "red", grey(SIDE, SIDE), np.full((SIDE, SIDE, 3), (0, 0, 255), np.uint8))
    add(folder, "grey_mask", grey(SIDE, SIDE), cv2.GaussianBlur(half, (5, 5), 0))
    add(folder, "empty", grey(SIDE, SIDE), half * 0)
    add(folder, "full", grey(SIDE, SIDE), half * 0 + 255)
    add(folder, "blank", half * 0 + 7, half)
    add(folder, "wide", grey(SIDE, 2 * SIDE), np.hstack([half, half]))
    add(folder, "same", read_pixels(folder / "images" / "patient01_slice02.png"), half)
    shutil.copy(folder / "images" / "patient01_slice01.png", folder / "images" / "alone.png")
    shutil.copy(folder / "masks" / "patient01_slice01.png", folder / "masks" / "orphan.png")
    (folder / "images" / "notes.txt").write_text("x")
    issues = run(folder, tiny_config)
    found = {name: (row["code"], row["severity"]) for name, row in issues.items()}
    assert found["unreadable.png"] == ("unreadable", "failed")
    assert found["mask_cut.png"] == ("unreadable", "failed")
    assert "masks/mask_cut.png" in issues["mask_cut.png"]["detail"]
    assert found["sizes.png"] == ("size_mismatch", "failed")
    assert found["red.png"] == ("mask_colours", "failed")
    assert found["grey_mask.png"] == ("mask_grey", "repaired")
    assert found["empty.png"] == ("empty_mask", "warning")
    assert found["full.png"] == ("large_mask", "warning")
    assert found["blank.png"] == ("blank_image", "left_out")
    assert "wide.png" not in found  # it is padded
    assert found["same.png"] == ("exact_duplicate", "warning")
    assert found["alone.png"] == ("orphan_image", "left_out")
    assert found["orphan.png"] == ("orphan_mask", "left_out")
    assert found["notes.txt"] == ("unsupported_file", "left_out")
    kept = {row["case"] for row in read_csv(folder / "out" / "manifest.csv")}
    assert kept == {
        "patient01_slice01", "patient01_slice02", "patient01_slice03",
        "grey_mask", "empty", "full", "wide", "same",
    }  # fmt: skip


def test_the_labels_of_the_config_say_what_the_greys_of_masks_are(
    folder: Path, tiny_config: Config
) -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:40, 10:25], mask[20:40, 40:55], mask[5:10, 30:35] = 3, 4, 5
    add(folder, "luna", grey(SIDE, SIDE), mask)
    assert run(folder, tiny_config)["luna.png"]["severity"] == "failed"
    data = tiny_config.data.model_copy(update={"labels": {"lung": [3, 4]}})
    issues = run(folder, tiny_config.model_copy(update={"data": data}))
    assert issues["luna.png"]["code"] == "labels_mapped"
    written = read_pixels(folder / "out" / "masks" / "luna.png")
    np.testing.assert_array_equal(written > 0, (mask == 3) | (mask == 4))


def test_a_flipped_copy_has_its_sides_exchanged(folder: Path) -> None:
    sides = {"background": [0, 0, 0], "left": [90, 90, 90], "right": [255, 255, 255]}
    config = check_config(
        {
            "data": {"image_size": [SIDE, SIDE], "rgb_map": sides},
            "prepare": {"copies": 1},
            "augment": {"offline": {"hflip": 1.0}},
        },
        "test",
    )
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:40, 10:25], mask[20:40, 40:60] = 255, 90
    add(folder, "sides", grey(SIDE, SIDE), mask)
    run(folder, config)
    copy = read_pixels(folder / "out" / "masks" / "sides_aug01.png")
    exchanged = np.where(mask > 0, 345 - mask.astype(int), 0)
    np.testing.assert_array_equal(copy, exchanged[:, ::-1])


def test_near_duplicates_are_listed(folder: Path, tiny_config: Config) -> None:
    image = read_pixels(folder / "images" / "patient01_slice02.png")
    brighter = np.clip(image.astype(int) + 6, 0, 255).astype(np.uint8)
    add(folder, "zz_brighter", brighter, read_pixels(folder / "masks" / "patient01_slice02.png"))
    issue = run(folder, tiny_config)["zz_brighter.png"]
    assert issue["code"] == "near_duplicate"
    assert "patient01_slice02" in issue["detail"]


def test_a_mask_of_another_size_is_resized_only_when_asked(folder: Path) -> None:
    mask = read_pixels(folder / "masks" / "patient01_slice01.png")
    small = cv2.resize(mask, (32, 32), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(folder / "masks" / "patient01_slice01.png"), small)
    config = check_config({**tiny(), "prepare": {"match_mask_size": True}}, "test")
    issue = run(folder, config)["patient01_slice01.png"]
    assert (issue["code"], issue["severity"]) == ("size_mismatch", "repaired")
    written = read_pixels(folder / "out" / "masks" / "patient01_slice01.png")
    assert written.shape == (SIDE, SIDE)
    assert set(np.unique(written)) == {0, 255}


def test_hu_tiffs_pass_through_the_window(folder: Path, tiny_config: Config) -> None:
    hu = np.linspace(-1100, 500, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.int16)
    cv2.imwrite(str(folder / "images" / "hu.tif"), hu)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:20] = 255
    cv2.imwrite(str(folder / "masks" / "hu.png"), mask)
    run(folder, tiny_config)
    written = read_pixels(folder / "out" / "images" / "hu.png")
    assert (written.min(), written.max()) == (0, 255)
    assert written[hu > 400].min() == 255


def test_copies_name_their_source_and_move_with_their_mask(folder: Path) -> None:
    config = check_config({**tiny(), "prepare": {"copies": 2}}, "test")
    run(folder, config)
    rows = read_csv(folder / "out" / "manifest.csv")
    copies = [row for row in rows if row["case"] != row["source"]]
    assert len(rows) == 9
    assert len(copies) == 6
    assert all(row["case"].startswith(row["source"]) and row["augmentation"] for row in copies)
    again = folder / "again"
    prepare(config, folder / "images", folder / "masks", again)
    for row in copies:
        assert (again / row["image"]).read_bytes() == (folder / "out" / row["image"]).read_bytes()


def test_the_result_does_not_depend_on_the_number_of_threads(raw: Path, tmp_path: Path) -> None:
    for threads in (1, 3):
        config = check_config({**tiny(), "prepare": {"threads": threads, "copies": 1}}, "test")
        prepare(config, raw / "images", raw / "masks", tmp_path / str(threads))
    one, three = (sorted((tmp_path / name).rglob("[!.]*.*")) for name in "13")
    assert [path.name for path in one] == [path.name for path in three]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, three, strict=True))


def test_an_output_that_holds_something_is_refused_and_kept(
    folder: Path, tiny_config: Config
) -> None:
    precious = folder / "out" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    with pytest.raises(UsageError, match=r"not empty.*precious\.txt"):
        prepare(tiny_config, folder / "images", folder / "masks", folder / "out")
    assert precious.read_text() == "mine"


def test_an_output_that_would_replace_its_input_is_refused(
    folder: Path, tiny_config: Config
) -> None:
    with pytest.raises(UsageError, match="would replace its own input"):
        prepare(tiny_config, folder / "images", folder / "masks", folder, overwrite=True)
    assert len(list((folder / "images").iterdir())) == 3


def test_images_are_not_paired_with_themselves(folder: Path, tiny_config: Config) -> None:
    (folder / "link").symlink_to(folder / "images")
    for masks in ("images", "link"):
        with pytest.raises(UsageError, match="each file would be its own mask"):
            prepare(tiny_config, folder / "images", folder / masks, folder / "out")
    assert not (folder / "out").exists()


def test_an_interrupted_prepare_leaves_nothing(
    folder: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lungseg.verbs.prepare.plot_dataset_statistics", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(tiny_config, folder / "images", folder / "masks", folder / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["images", "masks"]


def test_nothing_usable_is_an_error_and_writes_nothing(folder: Path, tiny_config: Config) -> None:
    for path in (folder / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 3 pairs.*patient01_slice01\.png"):
        prepare(tiny_config, folder / "images", folder / "masks", folder / "out")
    assert not (folder / "out").exists()


def test_the_command_exits_with_4_if_some_cases_failed(
    folder: Path, config_file: Path, lungseg: Callable[..., Result]
) -> None:
    (folder / "images" / "patient01_slice02.png").write_bytes(b"")
    result = lungseg(
        "prepare", "-c", config_file, "--images", folder / "images", "--masks", folder / "masks",
        "-o", folder / "out",
    )  # fmt: skip
    assert result.exit_code == 4
    assert "patient01_slice02.png" in result.stderr
    assert "1 cases failed" in result.stderr


def test_the_command_prints_json_alone_on_standard_output(
    folder: Path, config_file: Path, lungseg: Callable[..., Result]
) -> None:
    import json

    result = lungseg(
        "prepare", "-c", config_file, "--images", folder / "images", "--masks", folder / "masks",
        "-o", folder / "out", "--json",
    )  # fmt: skip
    assert result.exit_code == 0
    assert json.loads(result.stdout)["slices"] == 3


def test_a_dry_run_writes_nothing(
    folder: Path, config_file: Path, lungseg: Callable[..., Result]
) -> None:
    result = lungseg(
        "prepare", "-c", config_file, "--images", folder / "images", "--masks", folder / "masks",
        "-o", folder / "out", "--dry-run",
    )  # fmt: skip
    assert (result.exit_code, (folder / "out").exists()) == (0, False)
    assert "3 pairs would be prepared" in result.stderr


def test_real_slices_report_the_orphan_and_the_grey_masks(mini: Path, tmp_path: Path) -> None:
    result = prepare(Config(), mini / "images", mini / "masks", tmp_path / "prepared")
    assert result.slices == 13
    codes = {row.file: row.code for row in result.issues if row.code == "orphan_mask"}
    assert codes == {"422.png": "orphan_mask"}
    assert result.count()["mask_grey"] == 13
    with (tmp_path / "prepared" / "issues.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 14
