"""Slices, their copies and the files beside them are written as a person expects them."""

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config, DataConfig
from lungseg.config.training import TransformsConfig
from lungseg.dataset.appearance import Appearance, copy_appearance, read_appearance
from lungseg.dataset.appearance import write_appearance as write
from lungseg.dataset.augmentation import Augmenter, draw_seed
from lungseg.dataset.slices import (
    ManifestRow,
    SeenRow,
    Slice,
    SplitRow,
    is_named,
    mix_sources,
    pixel_hash,
)
from lungseg.dataset.writing import SliceWriter, copy_mark, write_dataset
from lungseg.errors import DataError
from lungseg.imaging.folders import Pair
from lungseg.imaging.pixels import read_pixels
from lungseg.system.tables import read_csv, write_json

PAIR = Pair("a", Path("in/a.tif"), Path("in/a_mask.png"), source="deep/a.tif")
IMAGE = np.arange(64, dtype=np.uint8).reshape(8, 8)
LABELS = (IMAGE % 8 < 2).astype(np.uint8)  # a quarter of the slice


def writer(folder: Path, copies: int, augmenter: Augmenter | None) -> SliceWriter:
    return SliceWriter(with_overrides(Config(), {"prepare.copies": copies}), folder, augmenter)


def test_what_a_manifest_may_lack_is_empty_or_nought() -> None:
    row = ManifestRow(case="a", source="a", image="i", mask="m", lung_fraction=0.5, sha256="0")
    assert (row.group, row.augmentation, row.likeness) == ("", "", "")
    assert (row.source_image, row.source_mask) == ("", "")
    assert (row.source_height, row.source_width, row.mean_grey) == (0, 0, 0.0)
    assert not row.is_copy
    assert replace(row, case="b").is_copy


def test_a_slice_and_its_copies_are_written_and_listed(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    flip = Augmenter(TransformsConfig(hflip=1.0))
    first, *copies = writer(tmp_path, 2, flip).write(PAIR, "a", "anna", IMAGE, LABELS, (480, 640))
    assert (first.case, first.source, first.augmentation, first.group) == ("a", "a", "", "anna")
    assert (first.image, first.mask) == ("images/a.png", "masks/a.png")
    assert (first.source_image, first.source_mask) == ("deep/a.tif", "a_mask.png")
    assert (first.source_height, first.source_width) == (480, 640)
    assert (first.lung_fraction, first.mean_grey) == (0.25, 31.5)
    assert first.sha256 == hashlib.sha256(IMAGE.tobytes()).hexdigest()
    np.testing.assert_array_equal(read_pixels(tmp_path / first.image), IMAGE)
    np.testing.assert_array_equal(read_pixels(tmp_path / first.mask) > 0, LABELS > 0)
    name = int.from_bytes(hashlib.sha256(b"a").digest()[:4], "big")
    assert [row.case for row in copies] == ["a_aug01", "a_aug02"]
    for number, row in enumerate(copies):
        assert row.augmentation == f"seed {draw_seed(Config().seed, name, number)}"
        assert (row.source, row.group, row.lung_fraction) == ("a", "anna", 0.25)
        np.testing.assert_array_equal(read_pixels(tmp_path / row.image), IMAGE[:, ::-1])
        assert row.sha256 == pixel_hash(read_pixels(tmp_path / row.image).astype(np.uint8))


def test_without_an_augmenter_there_are_no_copies_and_no_slice_is_replaced(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    alone = writer(tmp_path, 3, None)
    [row] = alone.write(replace(PAIR, source=""), "a", "", IMAGE, LABELS, (8, 8))
    assert row.source_image == "a.tif"
    with pytest.raises(DataError, match=r"a\.tif: gives the slice a, as another input does"):
        alone.write(PAIR, "a", "", IMAGE, LABELS, (8, 8))


@pytest.mark.parametrize(
    ("cases", "mark"),
    [
        ([], "_aug"),
        (["x", "x_aug", "x_aug1b", "x_aug01_b"], "_aug"),
        (["x", "y_AUG7"], "__aug"),
        (["y_aug7", "z__aug12"], "___aug"),
    ],
)
def test_the_mark_of_copies_is_in_no_name(cases: list[str], mark: str) -> None:
    assert copy_mark(cases) == mark


def slice_in(folder: Path, case: str) -> Slice:
    image, mask = folder / f"{case}.png", folder / f"{case}_mask.png"
    image.write_text(f"image of {case}")
    mask.write_text(f"mask of {case}")
    return Slice(case, case, "anna", image, mask, 0.25, "hash", "likeness", named=False)


@pytest.mark.parametrize("hard_links", [False, True])
def test_a_data_set_has_all_parts_and_lists_its_files(hard_links: bool, tmp_path: Path) -> None:
    a, b = slice_in(tmp_path, "a"), slice_in(tmp_path, "b")
    data = tmp_path / "data"
    write_dataset(data, {"test": [a], "train": [b]}, hard_links)
    assert sorted(p.relative_to(data).as_posix() for p in data.glob("*/*")) == [
        f"{part}/{kind}" for part in ("test", "train", "valid") for kind in ("images", "masks")
    ]
    assert os.path.samefile(data / "test/images/a.png", a.image) == hard_links
    assert (data / "test/masks/a_mask.png").read_text() == "mask of a"
    rows = read_csv(data / "split.csv")
    assert [(row["part"], row["image"]) for row in rows] == [
        ("train", "train/images/b.png"),
        ("test", "test/images/a.png"),
    ]
    assert ",".join(rows[1].values()) == (
        "test,a,a,anna,likeness,test/images/a.png,test/masks/a_mask.png,0.250000,hash,likeness"
    )


def test_two_files_of_one_name_are_refused_in_a_part_only(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    a, b = slice_in(tmp_path, "a"), slice_in(tmp_path / "other", "a")
    write_dataset(tmp_path / "data", {"train": [a], "test": [b]})
    assert not (tmp_path / "data" / "train" / "images" / "a.png").samefile(a.image)
    for number, hard_links in enumerate((False, True)):
        with pytest.raises(DataError, match=r"other.a\.png: another slice of test has a file"):
            write_dataset(tmp_path / f"data{number}", {"test": [a, b]}, hard_links)


def test_without_hard_links_files_are_copied_and_a_full_disk_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = slice_in(tmp_path, "a")

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.link", refuse)
    write_dataset(tmp_path / "data", {"train": [a]}, hard_links=True)
    copied = tmp_path / "data" / "train" / "images" / "a.png"
    assert copied.read_text() == "image of a"
    assert not copied.samefile(a.image)
    monkeypatch.setattr("lungseg.dataset.writing.copy_file", fill)
    for number, hard_links in enumerate((False, True)):
        with pytest.raises(DataError, match=r"a\.png: cannot be written: No space left on device"):
            write_dataset(tmp_path / f"full{number}", {"train": [a]}, hard_links)


def test_how_slices_look_is_kept_beside_them(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    copy_appearance(tmp_path, tmp_path / "data")  # slices of version 0.1 have none
    assert read_appearance(tmp_path / "data") is None
    made = DataConfig(window=(-160.0, 240.0), square_pixels=False)
    write(tmp_path, made)
    copy_appearance(tmp_path, tmp_path / "data")
    for folder in (tmp_path, tmp_path / "data"):
        expected = Appearance((-160.0, 240.0), made.unsigned_16bit, False)
        assert read_appearance(folder) == expected


@pytest.mark.parametrize(
    "damage",
    [{"window": [1]}, {"window": ["a", "b"]}, {"window": 3}, {"window": None}],
)
def test_a_damaged_description_of_slices_is_an_error(
    damage: dict[str, object], tmp_path: Path
) -> None:
    whole = {"window": [-1000, 400], "unsigned_16bit": "x", "square_pixels": True}
    for document in ({**whole, **damage}, {"window": [0, 1], "square_pixels": True}):
        write_json(tmp_path / "slices.json", document)
        with pytest.raises(DataError, match=r"slices\.json: is not what lungseg prepare writes"):
            read_appearance(tmp_path)


def test_each_way_in_which_slices_look_otherwise_is_a_sentence() -> None:
    own = Appearance((-1000.0, 400.0), "scale", True)
    assert own.differences(own) == []
    assert Appearance((-1000.0, 400.5), "scale", True).differences(own) == [
        "the slices were prepared with the window -1000 to 400.5 HU, the network was trained with "
        "-1000 to 400 HU"
    ]
    assert Appearance(own.window, "hu", True).differences(own) == [
        "the slices were prepared with data.unsigned_16bit: hu, the network was trained with scale"
    ]
    assert own.differences(Appearance(own.window, "scale", False)) == [
        "slices that were not square were padded, those that the network was trained on were "
        "stretched, as version 0.1 did"
    ]
    assert len(Appearance((0.0, 1.0), "hu", False).differences(own)) == 3


def test_a_patient_is_named_by_the_table_or_in_version_0_1_by_no_case() -> None:
    row = SplitRow(
        part="test", case="a", source="a", group="b", image="", mask="", lung_fraction=0, sha256=""
    )
    assert is_named(replace(row, grouped_by="name"), ["a", "b"])
    assert not is_named(replace(row, grouped_by="likeness"), ["a"])
    assert is_named(row, ["a", "c"])
    assert not is_named(row, ["a", "b"])
    assert not is_named(SeenRow("test", "a", "a", "b", 0.0, ""), ["a", "b"])


@pytest.mark.parametrize(
    ("own", "added", "share", "times"),
    [
        (4, 0, 0.5, 1),
        (0, 4, 0.5, 1),
        (4, 4, 0.5, 1),
        (4, 5, 0.5, 2),  # 4 of 9 would be too few
        (4, 6, 0.75, 1),  # 6 of 10 is less than three quarters
        (1, 9, 0.25, 27),  # 9 of 36
        (100, 1, 0.5, 1),
    ],
)
def test_own_slices_are_repeated_until_the_added_ones_are_at_most_their_share(
    own: int, added: int, share: float, times: int
) -> None:
    def some(name: str, count: int) -> list[Slice]:
        return [Slice(f"{name}{k}", "", "", Path(), Path(), 0.0, "", "") for k in range(count)]

    mixed = mix_sources(some("own", own), some("added", added), share)
    assert mixed == some("own", own) * times + some("added", added)


def test_the_mask_of_a_png_is_written_in_the_colours_of_the_config(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    colours = {"background": [[9, 9, 9]], "lung": [[1, 2, 3]]}
    config = with_overrides(Config(), {"data.rgb_map": colours})
    [row] = SliceWriter(config, tmp_path, None).write(PAIR, "a", "", IMAGE, LABELS, (8, 8))
    expected = np.where(LABELS[..., None] > 0, (1, 2, 3), (9, 9, 9))
    np.testing.assert_array_equal(read_pixels(tmp_path / row.mask), expected)
