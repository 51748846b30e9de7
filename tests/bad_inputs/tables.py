"""Manifests and split tables that are damaged, and folders of masks that `evaluate` meets."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from lungseg.imaging.pixels import encode_png
from tests.bad_inputs.kinds import DATA, SOME_FAILED, kind, score, split
from tests.bad_inputs.samples import phantom, png

MANIFEST = ("case", "source", "image", "mask", "lung_fraction", "sha256", "likeness")


def _manifest(folder: Path, **changes: str) -> None:
    prepared = folder / "prepared"
    for name in ("images", "masks"):
        (prepared / name).mkdir(parents=True)
        (prepared / name / "a.png").write_bytes(png())
    row = ["a", "a", "images/a.png", "masks/a.png", "0.2", "00", ""]
    with (prepared / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, MANIFEST)
        writer.writeheader()
        writer.writerow({**dict(zip(MANIFEST, row, strict=True)), **changes})


@split()
def manifest_with_text_for_number(folder: Path) -> None:
    """A manifest with a text in place of a number."""
    _manifest(folder, lung_fraction="much")


@split()
def manifest_with_bad_hash(folder: Path) -> None:
    """A manifest with an invalid likeness."""
    _manifest(folder, likeness="xyz")


@split("gone.png")
def manifest_of_missing_file(folder: Path) -> None:
    """A manifest that names a file that does not exist."""
    _manifest(folder, image="images/gone.png")


@split()
def manifest_binary(folder: Path) -> None:
    """A manifest of bytes that are not text."""
    (folder / "prepared").mkdir()
    (folder / "prepared" / "manifest.csv").write_bytes(bytes(range(256)) * 4)


@split()
def manifest_empty(folder: Path) -> None:
    """A manifest of zero bytes."""
    (folder / "prepared").mkdir()
    (folder / "prepared" / "manifest.csv").touch()


@kind(
    "evaluate", "--run", "../run", "--data", "data", "-o", "out", exit_code=DATA, says="split.csv"
)
def split_with_text_for_number(folder: Path) -> None:
    """A data set whose split.csv has a text in place of a number."""
    for part in ("train", "test"):
        for name in ("images", "masks"):
            (folder / "data" / part / name).mkdir(parents=True)
            (folder / "data" / part / name / "a.png").write_bytes(png())
    header = "part,case,source,group,image,mask,lung_fraction,sha256\n"
    row = "test,a,a,a,test/images/a.png,test/masks/a.png,much,00\n"
    (folder / "data" / "split.csv").write_text(header + row)


def _masks(folder: Path, *names: str) -> None:
    for part in ("pred", "truth"):
        (folder / part).mkdir()
        for name in names:
            content = encode_png(phantom()[1] * np.uint8(255))
            (folder / part / name).write_bytes(content)


@score(SOME_FAILED, "bad.png")
def prediction_cut_short(folder: Path) -> None:
    """A predicted mask cut in half, beside a good one."""
    _masks(folder, "good.png", "bad.png")
    content = (folder / "pred" / "bad.png").read_bytes()
    (folder / "pred" / "bad.png").write_bytes(content[: len(content) // 2])


@score(SOME_FAILED, "bad")
def prediction_of_other_size(folder: Path) -> None:
    """A predicted mask of another size than the truth."""
    _masks(folder, "good.png", "bad.png")
    small = encode_png(phantom(2, 32)[1] * np.uint8(255))
    (folder / "pred" / "bad.png").write_bytes(small)


@score(SOME_FAILED, "bad")
def prediction_missing(folder: Path) -> None:
    """A true mask without a prediction."""
    _masks(folder, "good.png", "bad.png")
    (folder / "pred" / "bad.png").unlink()


@score(DATA, "pred")
def predictions_of_nothing_here(folder: Path) -> None:
    """Predicted and true masks that share no name."""
    _masks(folder, "good.png")
    (folder / "pred" / "good.png").rename(folder / "pred" / "other.png")
