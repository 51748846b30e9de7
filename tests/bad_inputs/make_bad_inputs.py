"""Make bad inputs, a folder a kind, and say what lungseg should do with each.

Each kind is a function that writes the input; its docstring says what it is, its decorator which
command meets it, with what exit code, and what the messages must hold. `tests/test_bad_inputs.py`
runs them all, and docs/robustness.md lists them.

Example:
    python tests/bad_inputs/make_bad_inputs.py -o bad --run runs/lung
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
import typer
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGLSLossless, MRImageStorage, RLELossless

# The tests' writer of DICOM series; a script finds only its own folder by itself.
from lungseg.imaging.pixels import apply_window, encode_png
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient
from tests.support.dicom_files import write_series

SIDE, SLICES = 64, 6
MODEL = "../run/model.onnx"
DONE, USAGE, DATA, SOME_FAILED = 0, 2, 3, 4
Make = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """A kind of bad input.

    Attributes:
        name: of its folder.
        what: one sentence.
        command: of lungseg, run in the folder; output goes to `out` there.
        exit_code: expected.
        says: what the messages must hold; the file's name for every failure.
        make: writes the input to a folder.
    """

    name: str
    what: str
    command: tuple[str, ...]
    exit_code: int
    says: str
    make: Make


KINDS: dict[str, Kind] = {}


def kind(*command: str, exit_code: int, says: str = "") -> Callable[[Make], Make]:
    """Register a kind; `says` is what its messages must hold."""

    def register(make: Make) -> Make:
        what = str(make.__doc__).strip().splitlines()[0]
        name = str(getattr(make, "__name__", ""))
        KINDS[name] = Kind(name, what, command, exit_code, says, make)
        return make

    return register


def infer(path: str, exit_code: int = DATA, says: str | None = None) -> Any:
    """Register a kind met by `lungseg infer`."""
    command = ("infer", "--model", MODEL, "-o", "out", "--", path)
    expected = path if says is None and exit_code else says or ""
    return kind(*command, exit_code=exit_code, says=expected)


def prepare(exit_code: int = SOME_FAILED, says: str = "bad") -> Any:
    """Register a kind met by `lungseg prepare` in images/ and masks/."""
    size = f"data.image_size=[{SIDE}, {SIDE}]"
    command = ("prepare", "--images", "images", "--masks", "masks", "-o", "out", "-s", size)
    return kind(*command, exit_code=exit_code, says=says)


def config(says: str = "bad.yaml", exit_code: int = USAGE) -> Any:
    """Register a kind met by whatever reads a config."""
    command = ("split", "-c", "bad.yaml", "--input", "none", "-o", "out")
    return kind(*command, exit_code=exit_code, says=says)


def model(says: str = "model.onnx", exit_code: int = DATA) -> Any:
    """Register a kind of bad ONNX file; model.json beside it is that of a good one."""
    command = ("infer", "--model", "model.onnx", "good.png", "-o", "out")
    return kind(*command, exit_code=exit_code, says=says)


def split(says: str = "manifest.csv", exit_code: int = DATA) -> Any:
    """Register a kind met by `lungseg split` in prepared/."""
    return kind("split", "--input", "prepared", "-o", "out", exit_code=exit_code, says=says)


def score(exit_code: int, says: str) -> Any:
    """Register a kind met by `lungseg evaluate --pred --truth`."""
    command = ("evaluate", "--pred", "pred", "--truth", "truth", "-o", "out")
    return kind(*command, exit_code=exit_code, says=says)


# --- what the kinds are made of


def phantom(index: int = 2, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Return HU, float32, and the lung mask, uint8 0 and 1, of one slice, `(side, side)`."""
    return make_slice(make_patient(0), (index + 0.5) / SLICES, side)


def grey() -> np.ndarray:
    """Return a slice as grey values, uint8 `(SIDE, SIDE)`."""
    return apply_window(phantom()[0], (-1000, 400))


def png() -> bytes:
    """Return a good PNG."""
    return encode_png(grey())


def hu() -> np.ndarray:
    """Return a volume in HU, int16 `(SLICES, SIDE, SIDE)`."""
    return np.stack([phantom(k)[0] for k in range(SLICES)]).round().astype(np.int16)


def volume(values: np.ndarray | None = None) -> Any:
    """Return a SimpleITK image of `values`, or of the phantom."""
    image = sitk.GetImageFromArray(hu() if values is None else values)
    image.SetSpacing([4.0, 4.0, 10.0][: image.GetDimension()])
    return image


def write_nifti(folder: Path, change: Callable[[bytearray], None], name: str = "bad.nii") -> None:
    """Write the phantom as NIfTI with a changed header."""
    path = folder / name
    sitk.WriteImage(volume(), str(path))
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    check = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + check


def series(folder: Path, change: Callable[[FileDataset, int], None]) -> None:
    """Write the phantom as a DICOM series to `bad/`, each slice changed by `change`."""
    write_series(folder / "bad", hu(), change)


def without(tag: str) -> Callable[[FileDataset, int], None]:
    """Return a change that takes one element away."""

    def change(ct: FileDataset, index: int) -> None:
        delattr(ct, tag)

    return change


def said_to_be(syntax: UID) -> Callable[[FileDataset, int], None]:
    """Return a change that gives plain pixels as compressed in a transfer syntax."""

    def change(ct: FileDataset, index: int) -> None:
        ct.file_meta.TransferSyntaxUID = syntax
        ct.PixelData = encapsulate([ct.PixelData])
        ct["PixelData"].VR = "OB"
        ct["PixelData"].is_undefined_length = True

    return change


def pairs(folder: Path, mask: np.ndarray | Image.Image | None, image: np.ndarray | None) -> None:
    """Write a good pair, and one called `bad` with what of it is given."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    _, good = phantom()
    (folder / "images" / "good.png").write_bytes(png())
    (folder / "masks" / "good.png").write_bytes(encode_png(good * np.uint8(255)))
    if image is not None:
        (folder / "images" / "bad.png").write_bytes(encode_png(image))
    if isinstance(mask, Image.Image):
        mask.save(folder / "masks" / "bad.tif")
    elif mask is not None:
        (folder / "masks" / "bad.png").write_bytes(encode_png(mask))


def other_grey() -> np.ndarray:
    """Return another slice than `grey`."""
    return apply_window(phantom(3)[0], (-1000, 400))


def text(folder: Path, content: str | bytes) -> None:
    """Write `bad.yaml`."""
    raw = content.encode() if isinstance(content, str) else content
    (folder / "bad.yaml").write_bytes(raw)


def beside_model(folder: Path, content: bytes) -> None:
    """Write `model.onnx`, the good model's description, and a good image."""
    (folder / "model.onnx").write_bytes(content)
    shutil.copyfile(folder.parent / "run" / "model.json", folder / "model.json")
    (folder / "good.png").write_bytes(png())


def good_model(folder: Path) -> bytes:
    """Return the good model's bytes."""
    return (folder.parent / "run" / "model.onnx").read_bytes()


class Payload:
    """What an unpickler would run: it leaves a file called `attacked`."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Say what to call."""
        return os.mkdir, ("attacked",)


# --- images


@infer("bad.png")
def png_empty(folder: Path) -> None:
    """A PNG of zero bytes."""
    (folder / "bad.png").touch()


@infer("bad.png")
def png_cut_short(folder: Path) -> None:
    """A PNG cut in half."""
    (folder / "bad.png").write_bytes(png()[: len(png()) // 2])


@infer("bad.png")
def png_bad_checksum(folder: Path) -> None:
    """A PNG with changed pixel data, so that its checksum is wrong."""
    content = bytearray(png())
    content[len(content) // 2] ^= 0xFF
    (folder / "bad.png").write_bytes(content)


@infer("bad.jpg")
def jpeg_cut_short(folder: Path) -> None:
    """A JPEG cut in half."""
    Image.fromarray(grey()).save(folder / "bad.jpg")
    content = (folder / "bad.jpg").read_bytes()
    (folder / "bad.jpg").write_bytes(content[: len(content) // 2])


@infer("bad.png")
def text_named_png(folder: Path) -> None:
    """A text file named as PNG."""
    (folder / "bad.png").write_text("not an image\n")


@infer("bad.png")
def svg_named_png(folder: Path) -> None:
    """An SVG that refers to another file, named as PNG."""
    (folder / "bad.png").write_text('<svg><image href="file:///etc/hostname"/></svg>')


@infer("bad.png", DONE)
def jpeg_named_png(folder: Path) -> None:
    """A JPEG named as PNG: read by its content."""
    Image.fromarray(grey()).save(folder / "bad.png", format="JPEG")


@infer("bad.png", DONE)
def one_bit(folder: Path) -> None:
    """A PNG of 1 bit a pixel."""
    Image.fromarray(grey()).convert("1").save(folder / "bad.png")


@infer("bad.png", DONE)
def sixteen_bit(folder: Path) -> None:
    """A PNG of 16 bits a pixel."""
    Image.fromarray(grey().astype(np.uint16) * 257).save(folder / "bad.png")


@infer("bad.tif", DONE)
def float_in_hu(folder: Path) -> None:
    """A TIFF of floats, in HU."""
    Image.fromarray(phantom()[0].astype(np.float32)).save(folder / "bad.tif")


@infer("bad.jpg", DONE)
def cmyk(folder: Path) -> None:
    """A JPEG in CMYK."""
    Image.fromarray(grey()).convert("CMYK").save(folder / "bad.jpg")


@infer("bad.png", DONE)
def palette(folder: Path) -> None:
    """A PNG with a palette and a transparent colour."""
    image = Image.fromarray(grey()).convert("P")
    image.save(folder / "bad.png", transparency=0)


@infer("bad.png", DONE)
def alpha(folder: Path) -> None:
    """A PNG with alpha."""
    Image.fromarray(grey()).convert("RGBA").save(folder / "bad.png")


@infer("bad.png")
def animated(folder: Path) -> None:
    """An animated PNG of three frames."""
    frame = Image.fromarray(grey())
    frame.save(folder / "bad.png", save_all=True, append_images=[frame.rotate(5), frame.rotate(9)])


@infer("bad.tif")
def several_pages(folder: Path) -> None:
    """A TIFF of several pages."""
    frame = Image.fromarray(grey())
    frame.save(folder / "bad.tif", save_all=True, append_images=[frame.rotate(5)])


@infer("bad.jpg", DONE)
def exif_rotated(folder: Path) -> None:
    """A JPEG whose EXIF data turn it by a quarter."""
    image = Image.fromarray(grey()[: SIDE // 2])
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(folder / "bad.jpg", exif=exif)


@infer("bad.png", DONE)
def one_pixel(folder: Path) -> None:
    """An image of 1 x 1 pixel."""
    Image.fromarray(grey()[:1, :1]).save(folder / "bad.png")


@infer("bad.png", DONE)
def long_and_thin(folder: Path) -> None:
    """An image of 3 x 20,000 pixels."""
    Image.fromarray(np.resize(grey(), (3, 20_000))).save(folder / "bad.png")


@infer("bad.png")
def decompression_bomb(folder: Path) -> None:
    """A PNG of 60,000 x 60,000 pixels in some kilobytes."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(7_501 * 60_000), 9)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)


@infer("bad.png")
def text_bomb(folder: Path) -> None:
    """A PNG with a compressed text of 512 MB in it."""
    start = png()[:33]
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(512 << 20), 9))
    (folder / "bad.png").write_bytes(start + bomb + png()[33:])


@infer("bad.png")
def larger_than_memory(folder: Path) -> None:
    """A file of 64 GB, of which nothing is written to disk."""
    with (folder / "bad.png").open("wb") as stream:
        stream.write(png())
        stream.truncate(64 << 30)


@infer("bad.tif")
def nan_pixels(folder: Path) -> None:
    """A TIFF of floats with NaN."""
    values = phantom()[0].astype(np.float32)
    values[3, 5] = np.nan
    Image.fromarray(values).save(folder / "bad.tif")


@infer("bad.tif")
def infinite_pixels(folder: Path) -> None:
    """A TIFF of floats with infinity."""
    values = phantom()[0].astype(np.float32)
    values[3, 5] = np.inf
    Image.fromarray(values).save(folder / "bad.tif")


@infer("bad.tif")
def tiff_directory_loop(folder: Path) -> None:
    """A TIFF whose list of pages leads back to itself."""
    entry = struct.pack("<HHII", 256, 4, 1, 16)
    (folder / "bad.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, 1) + entry + b"\x08\0\0\0")


@infer("bad.bmp")
def bmp_huge_header(folder: Path) -> None:
    """A BMP whose header says 2 billion pixels a side."""
    Image.fromarray(grey()).save(folder / "bad.bmp")
    content = bytearray((folder / "bad.bmp").read_bytes())
    content[18:26] = struct.pack("<ii", 2**31 - 1, 2**31 - 1)
    (folder / "bad.bmp").write_bytes(content)


@infer("bad.png", DONE)
def gif_named_png(folder: Path) -> None:
    """A GIF named as PNG: read by its content."""
    Image.fromarray(grey()).save(folder / "bad.png", format="GIF")


@infer("images", DATA)
def folder_named_png(folder: Path) -> None:
    """A folder that holds nothing but a folder named as PNG."""
    (folder / "images" / "bad.png").mkdir(parents=True)


# --- file names and file systems


@infer("a b  c.png", DONE)
def name_with_spaces(folder: Path) -> None:
    """Spaces in the name."""
    (folder / "a b  c.png").write_bytes(png())


@infer("Lunge_\u00e4\u00df_\u80ba_\U0001fac1.png", DONE)
def name_in_unicode(folder: Path) -> None:
    """A name in three scripts and a picture."""
    (folder / "Lunge_\u00e4\u00df_\u80ba_\U0001fac1.png").write_bytes(png())


@infer("line\nbreak.png", DONE)
def name_with_newline(folder: Path) -> None:
    """A line break in the name."""
    (folder / "line\nbreak.png").write_bytes(png())


@infer("images", DATA, "bad")
def name_not_utf8(folder: Path) -> None:
    """A name that is no UTF-8, of a damaged file."""
    (folder / "images").mkdir()
    (folder / "images" / "bad\udcff.png").write_bytes(b"")


@infer("-dash.png", DONE)
def name_with_dash(folder: Path) -> None:
    """A name that begins with a dash."""
    (folder / "-dash.png").write_bytes(png())


@infer("[red]bad[/red].png")
def name_with_markup(folder: Path) -> None:
    """A damaged file whose name is markup for the console."""
    (folder / "[red]bad[").mkdir()
    (folder / "[red]bad[" / "red].png").touch()


@infer("n" * 251 + ".png", DONE)
def name_of_255_bytes(folder: Path) -> None:
    """A name of 255 bytes, the most there can be."""
    (folder / ("n" * 251 + ".png")).write_bytes(png())


@infer("n" * 101 + "\u00e4" * 75 + ".png", DONE)
def name_of_255_bytes_in_unicode(folder: Path) -> None:
    """A name of 255 bytes and fewer letters."""
    (folder / ("n" * 101 + "\u00e4" * 75 + ".png")).write_bytes(png())


@infer("n" * 248 + ".nii.gz", DONE)
def volume_name_of_255_bytes(folder: Path) -> None:
    """A volume with a name of 255 bytes."""
    sitk.WriteImage(volume(), str(folder / "short.nii.gz"))
    (folder / "short.nii.gz").rename(folder / ("n" * 248 + ".nii.gz"))


@infer("n" * 255)
def series_name_of_255_bytes(folder: Path) -> None:
    """A DICOM folder with a name of 255 bytes: with .nii.gz it is too long."""
    write_series(folder / ("n" * 255), hu())


@infer("images", SOME_FAILED, "a.jpg")
def same_stem(folder: Path) -> None:
    """Two images that would have the same mask: a.png and a.jpg."""
    (folder / "images").mkdir()
    (folder / "images" / "a.png").write_bytes(png())
    Image.fromarray(grey()).save(folder / "images" / "a.jpg")


@infer("images", SOME_FAILED, "a.png")
def case_only(folder: Path) -> None:
    """Two images whose names differ in case alone: A.png and a.png."""
    (folder / "images").mkdir()
    (folder / "images" / "A.png").write_bytes(png())
    (folder / "images" / "a.png").write_bytes(png())


@infer("images", DATA, "bad.png")
def link_to_itself(folder: Path) -> None:
    """A symbolic link to itself among images."""
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
    """A symbolic link to a file that is gone."""
    (folder / "bad.png").symlink_to("gone.png")


@infer("bad.png")
def pipe(folder: Path) -> None:
    """A named pipe that nobody writes to."""
    os.mkfifo(folder / "bad.png")


@infer("bad.nii")
def pipe_named_nifti(folder: Path) -> None:
    """A named pipe where a volume is expected."""
    os.mkfifo(folder / "bad.nii")


@infer("bad.png")
def endless_file(folder: Path) -> None:
    """A symbolic link to /dev/zero, which never ends."""
    (folder / "bad.png").symlink_to("/dev/zero")


@kind("infer", "--model", MODEL, "good.png", "-o", "out", exit_code=USAGE, says="out")
def target_is_a_file(folder: Path) -> None:
    """A file where the output should go."""
    (folder / "good.png").write_bytes(png())
    (folder / "out").write_text("precious")


@kind("infer", "--model", MODEL, "good.png", "-o", "file/out", exit_code=DATA, says="out")
def target_below_a_file(folder: Path) -> None:
    """An output folder below a file."""
    (folder / "good.png").write_bytes(png())
    (folder / "file").write_text("precious")


@kind("infer", "--model", MODEL, "good.png", "-o", "/proc/out", exit_code=DATA, says="/proc/out")
def target_on_read_only_disk(folder: Path) -> None:
    """An output on a file system that takes no files."""
    (folder / "good.png").write_bytes(png())


@kind("infer", "--model", MODEL, "good.png", "-o", "out", exit_code=USAGE, says="out")
def target_not_empty(folder: Path) -> None:
    """An output folder that holds something."""
    (folder / "good.png").write_bytes(png())
    (folder / "out").mkdir()
    (folder / "out" / "kept.txt").write_text("precious")


# --- volumes


@infer("bad.nii.gz")
def volume_with_nan(folder: Path) -> None:
    """NaN among a volume's voxels."""
    values = hu().astype(np.float32)
    values[2, 3, 4] = np.nan
    sitk.WriteImage(volume(values), str(folder / "bad.nii.gz"))


@infer("bad.nrrd")
def volume_with_infinity(folder: Path) -> None:
    """Infinity among a volume's voxels."""
    values = hu().astype(np.float32)
    values[2, 3, 4] = -np.inf
    sitk.WriteImage(volume(values), str(folder / "bad.nrrd"))


@infer("bad.nii")
def four_dimensions(folder: Path) -> None:
    """A NIfTI of four dimensions."""
    join = sitk.JoinSeriesImageFilter()
    sitk.WriteImage(join.Execute([volume(), volume() + 1]), str(folder / "bad.nii"))


@infer("bad.nii")
def two_dimensions(folder: Path) -> None:
    """A NIfTI of two dimensions."""
    sitk.WriteImage(volume(hu()[0]), str(folder / "bad.nii"))


@infer("bad.nii")
def three_values_a_voxel(folder: Path) -> None:
    """A volume of three values a voxel."""
    sitk.WriteImage(sitk.Compose(volume(), volume(), volume()), str(folder / "bad.nii"))


@infer("bad.nii.gz")
def not_in_hu(folder: Path) -> None:
    """A volume of grey values 0 to 255, no HU."""
    sitk.WriteImage(volume(apply_window(hu(), (-1000, 400))), str(folder / "bad.nii.gz"))


@infer("bad.nii")
def singular_affine(folder: Path) -> None:
    """A NIfTI whose affine is all zeros."""

    def change(header: bytearray) -> None:
        header[252:256] = struct.pack("<hh", 0, 2)
        header[280:328] = bytes(48)

    write_nifti(folder, change)


@infer("bad.nii", DONE, "no orientation")
def missing_affine(folder: Path) -> None:
    """A NIfTI that says nothing of its orientation: read as it lies, with a warning."""
    write_nifti(folder, lambda header: header.__setitem__(slice(252, 256), bytes(4)))


@infer("bad.nii")
def zero_spacing(folder: Path) -> None:
    """A NIfTI whose voxels have no size."""

    def change(header: bytearray) -> None:
        header[76:92] = struct.pack("<4f", 1, 0, 0, 0)
        header[280:328] = bytes(48)

    write_nifti(folder, change)


@infer("bad.nii")
def wrong_data_type(folder: Path) -> None:
    """A NIfTI with a code that stands for no data type."""
    write_nifti(folder, lambda header: header.__setitem__(slice(70, 72), b"\x39\x30"))


@infer("bad.nii")
def huge_dimensions(folder: Path) -> None:
    """A NIfTI whose header says 32,000 voxels a side."""
    size = struct.pack("<4h", 3, 32_000, 32_000, 32_000)
    write_nifti(folder, lambda header: header.__setitem__(slice(40, 48), size))


@infer("bad.nii.gz")
def huge_dimensions_compressed(folder: Path) -> None:
    """The same, compressed to a few bytes."""
    write_nifti(
        folder,
        lambda header: header.__setitem__(slice(40, 48), struct.pack("<4h", 3, *[32_000] * 3)),
        "plain.nii",
    )
    with gzip.open(folder / "bad.nii.gz", "wb") as stream:
        stream.write((folder / "plain.nii").read_bytes())


@infer("bad.nii")
def negative_dimensions(folder: Path) -> None:
    """A NIfTI with a negative number of voxels."""
    write_nifti(folder, lambda header: header.__setitem__(slice(42, 44), struct.pack("<h", -64)))


@infer("bad.nii.gz")
def gzip_cut_short(folder: Path) -> None:
    """A compressed NIfTI cut in half."""
    sitk.WriteImage(volume(), str(folder / "bad.nii.gz"))
    content = (folder / "bad.nii.gz").read_bytes()
    (folder / "bad.nii.gz").write_bytes(content[: len(content) // 2])


@infer("bad.nii")
def nifti_cut_short(folder: Path) -> None:
    """A NIfTI cut in half."""
    write_nifti(folder, lambda content: content.__delitem__(slice(len(content) // 2, None)))


@infer("bad.nii.gz")
def nifti_empty(folder: Path) -> None:
    """A NIfTI of zero bytes."""
    (folder / "bad.nii.gz").touch()


@infer("bad.nii.gz")
def text_named_nifti(folder: Path) -> None:
    """A text file named as NIfTI."""
    (folder / "bad.nii.gz").write_text("not a volume\n")


@infer("bad.mha")
def mha_cut_short(folder: Path) -> None:
    """An MHA cut in half."""
    sitk.WriteImage(volume(), str(folder / "bad.mha"))
    content = (folder / "bad.mha").read_bytes()
    (folder / "bad.mha").write_bytes(content[: len(content) // 2])


@infer("bad.mha")
def mha_compressed_cut_short(folder: Path) -> None:
    """A compressed MHA cut in half."""
    sitk.WriteImage(volume(), str(folder / "bad.mha"), useCompression=True)
    content = (folder / "bad.mha").read_bytes()
    (folder / "bad.mha").write_bytes(content[: len(content) // 2])


@infer("bad.mhd")
def mhd_without_data(folder: Path) -> None:
    """An MHD whose raw file is missing."""
    sitk.WriteImage(volume(), str(folder / "bad.mhd"))
    (folder / "bad.raw").unlink()


@infer("bad.mhd")
def mhd_that_reads_elsewhere(folder: Path) -> None:
    """An MHD that names a system file as its data."""
    sitk.WriteImage(volume(), str(folder / "bad.mhd"))
    content = (folder / "bad.mhd").read_text()
    (folder / "bad.mhd").write_text(content.replace("bad.raw", "/etc/hostname"))


@infer("bad.nrrd")
def nrrd_cut_short(folder: Path) -> None:
    """An NRRD cut in half."""
    sitk.WriteImage(volume(), str(folder / "bad.nrrd"))
    content = (folder / "bad.nrrd").read_bytes()
    (folder / "bad.nrrd").write_bytes(content[: len(content) // 2])


@infer("bad.nrrd")
def nrrd_compressed_cut_short(folder: Path) -> None:
    """A compressed NRRD cut in half."""
    sitk.WriteImage(volume(), str(folder / "bad.nrrd"), useCompression=True)
    content = (folder / "bad.nrrd").read_bytes()
    (folder / "bad.nrrd").write_bytes(content[: len(content) // 2])


@infer("bad.nrrd")
def nrrd_huge(folder: Path) -> None:
    """An NRRD whose header says 10 million voxels a side."""
    sitk.WriteImage(volume(), str(folder / "bad.nrrd"))
    content = (folder / "bad.nrrd").read_bytes()
    wanted = b"sizes: 10000000 10000000 10000000"
    (folder / "bad.nrrd").write_bytes(content.replace(b"sizes: 64 64 6", wanted))


@infer("bad.zip")
def zip_of_nothing(folder: Path) -> None:
    """An empty zip file."""
    zipfile.ZipFile(folder / "bad.zip", "w").close()


@infer("bad.zip")
def zip_cut_short(folder: Path) -> None:
    """A zip of DICOM cut in half."""
    paths = write_series(folder / "series", hu())
    with zipfile.ZipFile(folder / "bad.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    content = (folder / "bad.zip").read_bytes()
    (folder / "bad.zip").write_bytes(content[: len(content) // 2])


@infer("bad.zip")
def zip_bomb(folder: Path) -> None:
    """A zip of 2 MB that unpacks to 2 GB."""
    with (
        zipfile.ZipFile(folder / "bad.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.dcm", "w", force_zip64=True) as stream,
    ):
        for _ in range(2048):
            stream.write(bytes(1 << 20))


@infer("bad.zip", DONE)
def zip_that_climbs(folder: Path) -> None:
    """A zip of DICOM whose names lead out of its folder: unpacked under names of our own."""
    paths = write_series(folder / "series", hu())
    with zipfile.ZipFile(folder / "bad.zip", "w") as archive:
        for number, path in enumerate(paths):
            archive.write(path, f"../../attacked{number}")


# --- DICOM


@infer("bad", DATA)
def dicom_none(folder: Path) -> None:
    """A folder of text files named .dcm."""
    (folder / "bad").mkdir()
    for number in range(3):
        (folder / "bad" / f"{number}.dcm").write_text("not DICOM\n")


@infer("bad", DATA)
def dicom_empty(folder: Path) -> None:
    """A folder of DICOM files of zero bytes."""
    (folder / "bad").mkdir()
    for number in range(3):
        (folder / "bad" / f"{number}.dcm").touch()


@infer("bad.dcm")
def dicom_wrong_magic(folder: Path) -> None:
    """A DICOM file without the letters DICM."""
    (path,) = write_series(folder, hu()[:1])
    path.rename(folder / "bad.dcm")
    content = (folder / "bad.dcm").read_bytes()
    (folder / "bad.dcm").write_bytes(content[:128] + b"MCID" + content[132:])


@infer("bad")
def dicom_cut_short(folder: Path) -> None:
    """A series with one file cut in half."""
    paths = write_series(folder / "bad", hu())
    content = paths[2].read_bytes()
    paths[2].write_bytes(content[: len(content) // 2])


@infer("bad.dcm")
def dicom_huge_element(folder: Path) -> None:
    """A DICOM file with an element that says it is 3 GB long."""
    (path,) = write_series(folder, hu()[:1])
    content = path.read_bytes()
    path.unlink()
    place = content.index(b"\x20\x00\x32\x00")  # of ImagePositionPatient, given another type
    element = b"\x20\x00\x32\x00OB\0\0" + (3 << 30).to_bytes(4, "little")
    (folder / "bad.dcm").write_bytes(content[:place] + element + content[place + 8 :])


@infer("bad")
def dicom_without_position(folder: Path) -> None:
    """A series without ImagePositionPatient."""
    series(folder, without("ImagePositionPatient"))


@infer("bad", DATA)
def dicom_without_pixels(folder: Path) -> None:
    """A series without PixelData."""
    series(folder, without("PixelData"))


@infer("bad", DONE, "Modality")
def dicom_without_modality(folder: Path) -> None:
    """A series without Modality: taken as CT, with a warning."""
    series(folder, without("Modality"))


@infer("bad")
def dicom_without_rescale(folder: Path) -> None:
    """A series without rescale slope and intercept: not in HU."""

    def change(ct: FileDataset, index: int) -> None:
        del ct.RescaleSlope, ct.RescaleIntercept

    series(folder, change)


@infer("bad")
def dicom_of_magnetic_resonance(folder: Path) -> None:
    """A series of magnetic resonance."""

    def change(ct: FileDataset, index: int) -> None:
        ct.Modality, ct.SOPClassUID = "MR", MRImageStorage
        ct.file_meta.MediaStorageSOPClassUID = MRImageStorage

    series(folder, change)


@infer("bad")
def dicom_missing_slice(folder: Path) -> None:
    """A series with a slice missing."""
    write_series(folder / "bad", hu())[2].unlink()


@infer("bad", DONE, "repeated")
def dicom_repeated_slice(folder: Path) -> None:
    """A series with one slice twice: taken once, with a warning."""
    paths = write_series(folder / "bad", hu())
    shutil.copyfile(paths[2], folder / "bad" / "copy.dcm")


@infer("bad")
def dicom_uneven(folder: Path) -> None:
    """A series whose slices are unevenly spaced."""

    def change(ct: FileDataset, index: int) -> None:
        ct.ImagePositionPatient = [-20.0, 10.0, [0.0, 2.5, 5.0, 9.0, 10.0, 12.5][index]]

    series(folder, change)


@infer("bad")
def dicom_tilted(folder: Path) -> None:
    """A series taken with a tilted gantry."""

    def change(ct: FileDataset, index: int) -> None:
        ct.ImagePositionPatient = [-20.0, 10.0 + index, 5.0 + 2.5 * index]

    series(folder, change)


@infer("bad")
def dicom_mixed_sizes(folder: Path) -> None:
    """A series whose slices differ in size."""

    def change(ct: FileDataset, index: int) -> None:
        if index == 3:
            ct.Rows, ct.PixelData = SIDE // 2, ct.PixelData[: SIDE * SIDE]

    series(folder, change)


@infer("bad", DONE, "series")
def dicom_mixed_series(folder: Path) -> None:
    """A folder of two series: the larger is taken, and said."""
    write_series(folder / "bad", hu())
    write_series(folder / "bad", hu()[:3], prefix="other")


@infer("bad")
def dicom_rle_damaged(folder: Path) -> None:
    """A series said to be run-length encoded, which it is not."""
    series(folder, said_to_be(RLELossless))


@infer("bad")
def dicom_jpeg_ls_damaged(folder: Path) -> None:
    """A series said to be JPEG-LS, which it is not."""
    series(folder, said_to_be(JPEGLSLossless))


@infer("bad")
def dicom_jpeg_damaged(folder: Path) -> None:
    """A series said to be baseline JPEG, which it is not."""
    series(folder, said_to_be(JPEGBaseline8Bit))


@infer("bad")
def dicom_unknown_syntax(folder: Path) -> None:
    """A series in a transfer syntax that does not exist."""
    series(folder, said_to_be(UID("1.2.3.4.5")))


@infer("bad")
def dicom_short_pixels(folder: Path) -> None:
    """A series whose headers say some more rows than there are."""
    series(folder, lambda ct, index: setattr(ct, "Rows", 80))


@infer("bad")
def dicom_huge_header(folder: Path) -> None:
    """A series whose headers say 60,000 rows."""
    series(folder, lambda ct, index: setattr(ct, "Rows", 60_000))


@infer("bad")
def dicom_folder_with_pipe(folder: Path) -> None:
    """A series with a named pipe among its files."""
    write_series(folder / "bad", hu())
    os.mkfifo(folder / "bad" / "bad.dcm")


@infer("bad.nii", DATA, "bad")
def volume_name_not_utf8(folder: Path) -> None:
    """A damaged volume in a folder, with a name that is no UTF-8."""
    (folder / "bad.nii").mkdir()
    sitk.WriteImage(volume(), str(folder / "short.nii"))
    content = (folder / "short.nii").read_bytes()
    (folder / "bad.nii" / "bad\udcff.nii").write_bytes(content[:5000])


@prepare(SOME_FAILED, "a.nii")
def volumes_of_same_stem(folder: Path) -> None:
    """Two CT volumes for one mask: a.nii and a.mha."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    lungs = np.stack([phantom(k)[1] for k in range(SLICES)])
    for case in "ab":
        sitk.WriteImage(volume(), str(folder / "images" / f"{case}.nii"))
        sitk.WriteImage(volume(lungs), str(folder / "masks" / f"{case}.nii"))
    sitk.WriteImage(volume(), str(folder / "images" / "a.mha"))


# --- masks


@prepare()
def mask_of_other_size(folder: Path) -> None:
    """A mask of another size than its image."""
    pairs(folder, phantom(3, 32)[1] * np.uint8(255), other_grey())


@prepare()
def mask_of_other_colour(folder: Path) -> None:
    """A mask in red and green, in no rgb_map."""
    lungs = phantom(3)[1]
    red_green = np.stack([lungs * 255, (1 - lungs) * 255, lungs * 0], axis=2).astype(np.uint8)
    pairs(folder, red_green, other_grey())


@prepare()
def mask_of_other_class(folder: Path) -> None:
    """A mask with class indices up to 7, of which rgb_map knows two."""
    pairs(folder, phantom(3)[1] * np.uint8(7), other_grey())


@prepare(DONE, "mask_grey")
def mask_interpolated(folder: Path) -> None:
    """A mask with grey edges, as resizing leaves them: thresholded, and reported."""
    large = Image.fromarray(phantom(3, 32)[1] * np.uint8(255))
    pairs(folder, np.asarray(large.resize((SIDE, SIDE), Image.Resampling.BILINEAR)), other_grey())


@prepare(DONE, "empty_mask")
def mask_empty(folder: Path) -> None:
    """A mask of background alone: kept, with a warning."""
    pairs(folder, np.zeros((SIDE, SIDE), np.uint8), other_grey())


@prepare(DONE, "large_mask")
def mask_inverted(folder: Path) -> None:
    """A mask with lung and background exchanged: kept, with a warning."""
    pairs(folder, (1 - phantom(3)[1]) * np.uint8(255), other_grey())


@prepare()
def mask_with_nan(folder: Path) -> None:
    """A mask of floats with NaN."""
    values = phantom(3)[1].astype(np.float32)
    values[1, 1] = np.nan
    pairs(folder, Image.fromarray(values), other_grey())


@prepare()
def mask_out_of_range(folder: Path) -> None:
    """A mask of floats from -5 to 1000."""
    pairs(folder, Image.fromarray(phantom(3)[1] * np.float32(1005) - 5), other_grey())


@prepare(DONE, "orphan_image")
def mask_missing(folder: Path) -> None:
    """An image without mask: left out, and reported."""
    pairs(folder, None, other_grey())


@prepare(DONE, "orphan_mask")
def image_missing(folder: Path) -> None:
    """A mask without image: left out, and reported."""
    pairs(folder, phantom(3)[1] * np.uint8(255), None)


@prepare(DONE, "blank_image")
def image_blank(folder: Path) -> None:
    """An image of one grey value: left out, and reported."""
    pairs(folder, phantom(3)[1] * np.uint8(255), np.full((SIDE, SIDE), 90, np.uint8))


@prepare(DONE, "exact_duplicate")
def image_twice(folder: Path) -> None:
    """The same image under two names: kept, and reported."""
    pairs(folder, phantom()[1] * np.uint8(255), grey())


@prepare(SOME_FAILED, "duplicate_stem")
def mask_twice(folder: Path) -> None:
    """Two masks for one image."""
    pairs(folder, phantom(3)[1] * np.uint8(255), other_grey())
    shutil.copyfile(folder / "masks" / "bad.png", folder / "masks" / "bad.bmp")


@prepare(DATA, "images")
def nothing_to_prepare(folder: Path) -> None:
    """Two empty folders."""
    for name in ("images", "masks"):
        (folder / name).mkdir()


# --- configs


@config()
def yaml_bomb(folder: Path) -> None:
    """YAML whose anchors stand for a billion texts."""
    lines = ['a0: &a0 ["lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol"]']
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    text(folder, "\n".join(lines))


@config()
def yaml_duplicate_key(folder: Path) -> None:
    """YAML that gives a key twice."""
    text(folder, "train:\n  epochs: 3\n  epochs: 4\n")


@config()
def yaml_tabs(folder: Path) -> None:
    """YAML indented by tabs."""
    text(folder, "train:\n\tepochs: 3\n")


@config()
def yaml_code(folder: Path) -> None:
    """YAML with a tag that runs code."""
    text(folder, 'seed: !!python/object/apply:os.mkdir ["attacked"]\n')


@config()
def yaml_wrong_type(folder: Path) -> None:
    """YAML with a text for a number, and a list for a section."""
    text(folder, "train:\n  epochs: many\nsplit: [1, 2]\n")


@config()
def yaml_out_of_range(folder: Path) -> None:
    """YAML with a probability of 7 and a negative number of epochs."""
    text(folder, "augment:\n  online:\n    hflip: 7\ntrain:\n  epochs: -3\n")


@config("epochs")
def yaml_unknown_key(folder: Path) -> None:
    """YAML with a misspelt key."""
    text(folder, "train:\n  epoch: 3\n")


@config()
def yaml_not_a_number(folder: Path) -> None:
    """YAML with a learning rate that is not a number, and one end of the window infinite."""
    text(folder, "train:\n  learning_rate: .nan\ndata:\n  window: [-.inf, 400]\n")


@config()
def yaml_huge_number(folder: Path) -> None:
    """YAML with an image size of a billion pixels a side."""
    text(folder, "data:\n  image_size: [1000000000, 1000000000]\n")


@config()
def yaml_long_number(folder: Path) -> None:
    """YAML with an integer of 10,000 digits."""
    text(folder, f"seed: {'9' * 10_000}\n")


@config()
def yaml_nested(folder: Path) -> None:
    """YAML nested 100,000 deep."""
    text(folder, "[" * 100_000)


@config()
def yaml_list(folder: Path) -> None:
    """YAML that is a list."""
    text(folder, "- train\n- split\n")


@config()
def yaml_binary(folder: Path) -> None:
    """Bytes that are no text."""
    text(folder, bytes(range(256)))


@config()
def yaml_cut_short(folder: Path) -> None:
    """YAML that ends within a bracket."""
    text(folder, "data:\n  window: [-1000, ")


@config()
def yaml_bad_pattern(folder: Path) -> None:
    """YAML with a regular expression that is none."""
    text(folder, 'split:\n  group_regex: "(patient"\n')


@config()
def yaml_is_a_folder(folder: Path) -> None:
    """A folder where the config should be."""
    (folder / "bad.yaml").mkdir()


@config()
def yaml_missing(folder: Path) -> None:
    """A config that is not there."""


@kind("split", "-s", "train.epochs", "-o", "out", exit_code=USAGE, says="train.epochs")
def override_without_value(folder: Path) -> None:
    """An override without a value."""


# --- models


@model()
def onnx_empty(folder: Path) -> None:
    """An ONNX file of zero bytes."""
    beside_model(folder, b"")


@model()
def onnx_cut_short(folder: Path) -> None:
    """An ONNX file cut in half."""
    content = good_model(folder)
    beside_model(folder, content[: len(content) // 2])


@model()
def onnx_is_text(folder: Path) -> None:
    """A text file named as ONNX."""
    beside_model(folder, b"not a network\n")


@model()
def onnx_is_pickle(folder: Path) -> None:
    """A pickle that runs code, named as ONNX."""
    beside_model(folder, pickle.dumps(Payload()))


def _one_node(operator: str, external: str = "") -> bytes:
    """Return an ONNX network of one node on inputs of 8 x 8, perhaps with weights in a file."""
    from onnx import TensorProto, helper

    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 8, 8, 1])
    found = helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["n", 8, 8, 2])
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [1], [1.0])
    if external:
        weight.ClearField("float_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", external), ("offset", "0"), ("length", "4")):
            entry = weight.external_data.add()
            entry.key, entry.value = key, value
    node = helper.make_node(operator, ["image", "weight"], ["classes"])
    graph = helper.make_graph([node], "graph", [given], [found], [weight])
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


@model()
def onnx_of_another_network(folder: Path) -> None:
    """A network for slices of another size than model.json says."""
    beside_model(folder, _one_node("Mul"))


@model()
def onnx_unknown_operator(folder: Path) -> None:
    """A network with an operator that does not exist."""
    beside_model(folder, _one_node("Explode"))


@model()
def onnx_that_reads_elsewhere(folder: Path) -> None:
    """A network that names a system file as its weights."""
    beside_model(folder, _one_node("Mul", "../../../../../../etc/hostname"))


@model("model.json")
def description_missing(folder: Path) -> None:
    """An ONNX file without model.json."""
    beside_model(folder, good_model(folder))
    (folder / "model.json").unlink()


@model("model.json")
def description_cut_short(folder: Path) -> None:
    """A model.json cut in half."""
    beside_model(folder, good_model(folder))
    content = (folder / "model.json").read_text()
    (folder / "model.json").write_text(content[: len(content) // 2])


@model("model.json")
def description_nested(folder: Path) -> None:
    """A model.json nested 100,000 deep."""
    beside_model(folder, good_model(folder))
    (folder / "model.json").write_text("[" * 100_000)


@model("model.json")
def description_of_something_else(folder: Path) -> None:
    """A model.json with other keys."""
    beside_model(folder, good_model(folder))
    (folder / "model.json").write_text(json.dumps({"input": [1, 2], "rgb_map": "blue"}))


def _run_folder(folder: Path) -> Path:
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").write_text("seed: 1\n")
    return folder / "run" / "model.keras"


@kind("export", "--run", "run", exit_code=DATA, says="model.keras")
def keras_with_code(folder: Path) -> None:
    """A Keras file with a Lambda layer, code inside."""
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None}}
    layer = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "attack", "function": code},
        "registered_name": None,
        "name": "attack",
        "inbound_nodes": [],
    }
    document = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [layer]},
    }
    with zipfile.ZipFile(_run_folder(folder), "w") as archive:
        archive.writestr("config.json", json.dumps(document))
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.12.0"}))
        archive.writestr("model.weights.h5", b"")


@kind("export", "--run", "run", exit_code=DATA, says="model.keras")
def keras_is_pickle(folder: Path) -> None:
    """A pickle that runs code, named as Keras file."""
    _run_folder(folder).write_bytes(pickle.dumps(Payload()))


# --- tables and folders of masks

MANIFEST = ("case", "source", "image", "mask", "lung_fraction", "sha256", "phash")


def _manifest(folder: Path, **changes: str) -> None:
    prepared = folder / "prepared"
    for name in ("images", "masks"):
        (prepared / name).mkdir(parents=True)
        (prepared / name / "a.png").write_bytes(png())
    row = ["a", "a", "images/a.png", "masks/a.png", "0.2", "00", "0" * 64]
    with (prepared / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, MANIFEST)
        writer.writeheader()
        writer.writerow({**dict(zip(MANIFEST, row, strict=True)), **changes})


@split()
def manifest_with_text_for_number(folder: Path) -> None:
    """A manifest with a text where a number should be."""
    _manifest(folder, lung_fraction="much")


@split()
def manifest_with_bad_hash(folder: Path) -> None:
    """A manifest with a hash that is none."""
    _manifest(folder, phash="xyz")


@split("gone.png")
def manifest_of_missing_file(folder: Path) -> None:
    """A manifest that names a file that is not there."""
    _manifest(folder, image="images/gone.png")


@split()
def manifest_binary(folder: Path) -> None:
    """A manifest of bytes that are no text."""
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
    """A data set whose split.csv has a text where a number should be."""
    for part in ("train", "test"):
        for name in ("images", "masks"):
            (folder / "data" / part / name).mkdir(parents=True)
            (folder / "data" / part / name / "a.png").write_bytes(png())
    header = "part,case,source,group,image,mask,lung_fraction,sha256,phash\n"
    row = "test,a,a,a,test/images/a.png,test/masks/a.png,much,00,00\n"
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
    """A truth without prediction."""
    _masks(folder, "good.png", "bad.png")
    (folder / "pred" / "bad.png").unlink()


@score(DATA, "pred")
def predictions_of_nothing_here(folder: Path) -> None:
    """Predictions and truths that share no name."""
    _masks(folder, "good.png")
    (folder / "pred" / "good.png").rename(folder / "pred" / "other.png")


def make_all(folder: Path, run: Path) -> None:
    """Write every kind to a folder of its name, and what is expected to `expected.csv`.

    Args:
        folder: to write to.
        run: folder of a trained run; its model.onnx and model.json are copied to `folder/run`.
    """
    (folder / "run").mkdir(parents=True)
    for name in ("model.onnx", "model.json", "config.yaml"):
        shutil.copyfile(run / name, folder / "run" / name)
    rows = []
    for one in KINDS.values():
        place = folder / one.name
        place.mkdir()
        one.make(place)
        rows.append([one.name, one.what, " ".join(one.command), one.exit_code, one.says])
    with (folder / "expected.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["kind", "what", "command", "exit_code", "says"])
        writer.writerows(rows)


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; must be new.")],
    run: Annotated[Path, typer.Option("--run", help="A trained run, for a model that works.")],
) -> None:
    """Write every kind of bad input."""
    make_all(output, run)
    typer.echo(
        f"{output}: {len(KINDS)} kinds; expected.csv says what each should lead to", err=True
    )


if __name__ == "__main__":
    typer.run(main)
