"""File names that are hard to print or to keep, links, pipes, and output folders in the way."""

from __future__ import annotations

import os
from pathlib import Path

import SimpleITK as sitk  # noqa: N813
from PIL import Image

from tests.bad_inputs.kinds import DATA, DONE, MODEL, SOME_FAILED, USAGE, infer, kind
from tests.bad_inputs.samples import grey, hu, png, volume
from tests.support.dicom_files import write_series


@infer("a b  c.png", DONE)
def name_with_spaces(folder: Path) -> None:
    """An image with spaces in its name."""
    (folder / "a b  c.png").write_bytes(png())


@infer("Lunge_\u00e4\u00df_\u80ba_\U0001fac1.png", DONE)
def name_in_unicode(folder: Path) -> None:
    """An image with a name in three scripts and an emoji."""
    (folder / "Lunge_\u00e4\u00df_\u80ba_\U0001fac1.png").write_bytes(png())


@infer("line\nbreak.png", DONE)
def name_with_newline(folder: Path) -> None:
    """An image with a line break in its name."""
    (folder / "line\nbreak.png").write_bytes(png())


@infer("images", DATA, "bad")
def name_not_utf8(folder: Path) -> None:
    """A damaged file whose name is not UTF-8."""
    (folder / "images").mkdir()
    (folder / "images" / "bad\udcff.png").write_bytes(b"")


@infer("-dash.png", DONE)
def name_with_dash(folder: Path) -> None:
    """An image with a name that begins with a dash."""
    (folder / "-dash.png").write_bytes(png())


@infer("[red]bad[/red].png")
def name_with_markup(folder: Path) -> None:
    """A damaged file whose name is markup for the console."""
    (folder / "[red]bad[").mkdir()
    (folder / "[red]bad[" / "red].png").touch()


@infer("n" * 251 + ".png", DONE)
def name_of_255_bytes(folder: Path) -> None:
    """An image with a name of 255 bytes, the longest possible."""
    (folder / ("n" * 251 + ".png")).write_bytes(png())


@infer("n" * 101 + "\u00e4" * 75 + ".png", DONE)
def name_of_255_bytes_in_unicode(folder: Path) -> None:
    """An image with a name of 255 bytes but fewer letters."""
    (folder / ("n" * 101 + "\u00e4" * 75 + ".png")).write_bytes(png())


@infer("n" * 248 + ".nii.gz", DONE)
def volume_name_of_255_bytes(folder: Path) -> None:
    """A volume with a name of 255 bytes."""
    sitk.WriteImage(volume(), str(folder / "short.nii.gz"))
    (folder / "short.nii.gz").rename(folder / ("n" * 248 + ".nii.gz"))


@infer("n" * 255)
def series_name_of_255_bytes(folder: Path) -> None:
    """A DICOM folder with a name of 255 bytes, which is too long for its mask's name."""
    write_series(folder / ("n" * 255), hu())


@infer("images", SOME_FAILED, "a.jpg")
def same_stem(folder: Path) -> None:
    """Two images that would have the same mask: a.png and a.jpg."""
    (folder / "images").mkdir()
    (folder / "images" / "a.png").write_bytes(png())
    Image.fromarray(grey()).save(folder / "images" / "a.jpg")


@infer("images", SOME_FAILED, "a.png")
def case_only(folder: Path) -> None:
    """Two images whose names differ only in case: A.png and a.png."""
    (folder / "images").mkdir()
    (folder / "images" / "A.png").write_bytes(png())
    (folder / "images" / "a.png").write_bytes(png())


@infer("images", DATA, "bad.png")
def link_to_itself(folder: Path) -> None:
    """A folder of images with a symbolic link to itself."""
    (folder / "images").mkdir()
    (folder / "images" / "bad.png").symlink_to("bad.png")


@infer("images", DONE)
def folder_in_itself(folder: Path) -> None:
    """A folder that holds a symbolic link to itself."""
    (folder / "images").mkdir()
    (folder / "images" / "good.png").write_bytes(png())
    (folder / "images" / "again").symlink_to(folder / "images")


@infer("bad.png", USAGE)
def link_to_nothing(folder: Path) -> None:
    """A symbolic link to a file that does not exist."""
    (folder / "bad.png").symlink_to("gone.png")


@infer("bad.png")
def pipe(folder: Path) -> None:
    """A named pipe that nobody writes to."""
    os.mkfifo(folder / "bad.png")


@infer("bad.nii")
def pipe_named_nifti(folder: Path) -> None:
    """A named pipe in place of a volume."""
    os.mkfifo(folder / "bad.nii")


@infer("bad.png")
def endless_file(folder: Path) -> None:
    """A symbolic link to /dev/zero, which never ends."""
    (folder / "bad.png").symlink_to("/dev/zero")


@kind("infer", "--model", MODEL, "good.png", "-o", "out", exit_code=USAGE, says="out")
def target_is_a_file(folder: Path) -> None:
    """A file in place of the output folder."""
    (folder / "good.png").write_bytes(png())
    (folder / "out").write_text("precious")


@kind("infer", "--model", MODEL, "good.png", "-o", "file/out", exit_code=DATA, says="out")
def target_below_a_file(folder: Path) -> None:
    """An output folder below a file."""
    (folder / "good.png").write_bytes(png())
    (folder / "file").write_text("precious")


@kind("infer", "--model", MODEL, "good.png", "-o", "/proc/out", exit_code=DATA, says="/proc/out")
def target_on_read_only_disk(folder: Path) -> None:
    """An output folder on a read-only file system."""
    (folder / "good.png").write_bytes(png())


@kind("infer", "--model", MODEL, "good.png", "-o", "out", exit_code=USAGE, says="out")
def target_not_empty(folder: Path) -> None:
    """An output folder that holds something."""
    (folder / "good.png").write_bytes(png())
    (folder / "out").mkdir()
    (folder / "out" / "kept.txt").write_text("precious")
