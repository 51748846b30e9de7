"""What a list of slices says is checked against the files, and what is missing is said."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.likeness import describe
from lungseg.dataset.reading import (
    _as_it_is,
    check_layout,
    fold_folders,
    read_layout,
    read_manifest,
    read_part,
)
from lungseg.dataset.slices import Slice, pixel_hash
from lungseg.errors import DataError, UsageError
from lungseg.imaging.pixels import read_pixels, write_png
from lungseg.system.tables import read_csv, write_csv


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list that warnings go to."""
    texts: list[str] = []
    monkeypatch.setattr("lungseg.system.console.warn", texts.append)
    return texts


def change(listing: Path, edit: Callable[[dict[str, str]], object]) -> None:
    """Edit the first row of a table."""
    rows = read_csv(listing)
    edit(rows[0])
    write_csv(listing, list(rows[0]), rows)


def test_folds_are_folders_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("fold_10", "fold_2", "fold_1", "fold_x", "fold_", "old_fold_3"):
        (tmp_path / name).mkdir()
    (tmp_path / "fold_4").write_text("no folder")
    assert [path.name for path in fold_folders(tmp_path)] == ["fold_1", "fold_2", "fold_10"]


def test_a_data_set_has_images_and_masks_to_train_on(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        with pytest.raises(DataError, match="expected train/images and train/masks"):
            check_layout(tmp_path)
        (tmp_path / "train" / kind).mkdir(parents=True)
    check_layout(tmp_path)


def test_a_manifest_that_is_missing_empty_or_names_a_missing_file_is_an_error(
    prepared: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"holds neither manifest\.csv"):
        read_manifest(tmp_path)
    copy = Path(shutil.copytree(prepared, tmp_path / "prepared"))
    row = read_csv(copy / "manifest.csv")[0]
    for column in ("image", "mask"):
        (copy / row[column]).rename(copy / "away.png")
        with pytest.raises(DataError, match=rf"{row[column]}: named in .*manifest\.csv, but"):
            read_manifest(copy)
        (copy / "away.png").rename(copy / row[column])
    change(copy / "manifest.csv", lambda row: row.update(likeness="xyz"))
    with pytest.raises(DataError, match=rf"manifest\.csv: likeness of {row['case']} is damaged"):
        read_manifest(copy)
    write_csv(copy / "manifest.csv", list(row), [])
    with pytest.raises(DataError, match="lists no slice"):
        read_manifest(copy)


@pytest.mark.parametrize("fraction", [0, 1])
def test_no_lung_and_nothing_but_lung_are_shares(
    fraction: int, prepared: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(prepared, tmp_path / "prepared"))
    change(copy / "manifest.csv", lambda row: row.update(lung_fraction=str(fraction)))
    assert read_manifest(copy)[0].lung_fraction == fraction


def test_what_a_manifest_says_of_a_slice_is_read(prepared: Path) -> None:
    row = read_csv(prepared / "manifest.csv")[0]
    assert read_manifest(prepared)[0] == Slice(
        row["case"],
        row["source"],
        row["group"],
        prepared / row["image"],
        prepared / row["mask"],
        float(row["lung_fraction"]),
        row["sha256"],
        row["likeness"],
        named=row["group"] != "",
    )


@pytest.mark.parametrize(("listing", "verb"), [("manifest.csv", "prepare"), ("split.csv", "split")])
def test_images_that_are_not_listed_are_said_with_the_command_that_lists_them(
    listing: str,
    verb: str,
    prepared: Path,
    dataset: Path,
    tiny_config: Config,
    tmp_path: Path,
    warned: list[str],
) -> None:
    copy = Path(shutil.copytree(prepared if verb == "prepare" else dataset, tmp_path / "data"))
    images = copy / "images" if verb == "prepare" else copy / "valid" / "images"

    def read() -> None:
        if verb == "prepare":
            read_manifest(copy, tiny_config.data)
        else:
            read_layout(copy, tiny_config)

    read()
    assert warned == []
    for name in ("b.png", "a.png"):
        write_png(images / name, np.zeros((8, 8), np.uint8))
    read()
    [said] = warned
    assert said.startswith(
        f"2 images are not in {copy / listing} and are not used, the first is {images / 'a.png'}. "
    )
    assert f"Run lungseg {verb} again" in said


def test_only_the_parts_asked_for_are_compared_with_the_list(
    dataset: Path, tiny_config: Config, tmp_path: Path, warned: list[str]
) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "data"))
    old = read_layout(copy, tiny_config)["valid"][0]
    pixels = 255 - read_pixels(old.image).astype(np.uint8)
    write_png(old.image, pixels)
    assert read_layout(copy, tiny_config, ["train", "test"])["valid"][0] == old
    assert warned == []
    (new,) = [s for s in read_layout(copy, tiny_config)["valid"] if s.case == old.case]
    assert new == replace(old, sha256=pixel_hash(pixels), likeness=describe(pixels))
    [said] = warned
    assert said.startswith("1 of ") and f"the first is {old.image}" in said


def test_a_folder_of_slices_that_is_no_part_is_said(
    dataset: Path, tiny_config: Config, tmp_path: Path, warned: list[str]
) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "data"))
    for name in (".hidden", "fold_1", "val"):
        (copy / name / "images").mkdir(parents=True)
    (copy / "notes").mkdir()
    read_layout(copy, tiny_config)
    [said] = warned
    assert said.startswith(f"{copy / 'val'}: its slices are not used")
    assert said.endswith("are called train, valid, test.")


def test_version_0_1_took_the_hash_after_resizing_and_the_likeness_is_added(
    tmp_path: Path,
) -> None:
    pixels = np.full((16, 16), 40, np.uint8)
    pixels[4:9, 3:12] = 200
    path = tmp_path / "a.png"
    write_png(path, pixels)
    # Each pixel becomes one of 2 x 2 by the nearest neighbour; averaged back, it is the same.
    data = with_overrides(Config(), {"data.image_size": [8, 8]}).data
    resized = pixels.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    resized = np.rint(resized).astype(np.uint8)
    old = Slice("a", "a", "", path, path, 0.2, pixel_hash(resized), "")
    found = _as_it_is(old, data)
    assert found.sha256 == old.sha256
    assert found.likeness == describe(resized)
    now = replace(old, sha256=pixel_hash(pixels), likeness="known")
    assert _as_it_is(now, data) is now
    other = replace(now, sha256="of another image")
    assert _as_it_is(other, data) == replace(now, likeness=describe(resized))


def test_a_part_needs_images_and_masks_and_pixels_that_are_square(
    dataset: Path, tiny_config: Config, tmp_path: Path, warned: list[str]
) -> None:
    copy = Path(shutil.copytree(dataset / "valid", tmp_path / "valid"))
    count = len(list((copy / "images").iterdir()))
    assert len(read_part(copy, tiny_config)) == count
    for spacing, square in (((0.7, 0.8), False), ((0.8, 0.8), True)):
        config = with_overrides(
            tiny_config, {"data.pixel_spacing": list(spacing), "data.square_pixels": square}
        )
        assert len(read_part(copy, config)) == count
    oblong = with_overrides(tiny_config, {"data.pixel_spacing": [0.7, 0.8]})
    with pytest.raises(UsageError, match=r"pixels are 0\.7 x 0\.8 mm"):
        read_part(copy, oblong)
    assert warned == []
    write_png(copy / "images" / "lonely.png", np.zeros((8, 8), np.uint8))
    assert len(read_part(copy, tiny_config)) == count
    assert len(warned) == 1 and "lonely" in warned[0]
    for kind in ("images", "masks"):
        (copy / kind).rename(copy / "away")
        assert read_part(copy, tiny_config) == []
        (copy / "away").rename(copy / kind)
