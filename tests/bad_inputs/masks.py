"""Pairs that `prepare` meets: masks that do not fit their image, are missing, or exist twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from lungseg.imaging.pixels import apply_window, encode_png
from tests.bad_inputs.kinds import DATA, DONE, SOME_FAILED, prepare
from tests.bad_inputs.samples import grey, lungs, phantom, png, volume
from tests.support.phantoms import SIDE


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


@prepare(SOME_FAILED, "a.nii")
def volumes_of_same_stem(folder: Path) -> None:
    """Two CT volumes for one mask: a.nii and a.mha."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for case in "ab":
        sitk.WriteImage(volume(), str(folder / "images" / f"{case}.nii"))
        sitk.WriteImage(volume(lungs()), str(folder / "masks" / f"{case}.nii"))
    sitk.WriteImage(volume(), str(folder / "images" / "a.mha"))


def volumes(folder: Path, mask: np.ndarray, origin: float = 5.0) -> None:
    """Write a good pair of volumes, and one called `bad` with this mask at this origin."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for case in ("good", "bad"):
        scan, labels = volume(), volume(lungs() if case == "good" else mask)
        scan.SetOrigin((5.0, 5.0, 5.0))
        labels.SetOrigin((5.0, 5.0, 5.0 if case == "good" else origin))
        sitk.WriteImage(scan, str(folder / "images" / f"{case}.nii.gz"))
        sitk.WriteImage(labels, str(folder / "masks" / f"{case}.nii.gz"))


@prepare()
def volume_labels_of_luna16(folder: Path) -> None:
    """A mask volume with the labels of LUNA16: 3 and 4 the lungs, 5 the trachea."""
    mask = lungs() * np.uint8(3)
    mask[..., SIDE // 2 :] += mask[..., SIDE // 2 :] // 3
    mask[:, 10:14, 30:34] = 5
    volumes(folder, mask)


@prepare()
def volume_of_many_organs(folder: Path) -> None:
    """A mask volume with a label for each of 104 organs."""
    mask = lungs() * np.uint8(13)
    mask[0].ravel()[:104] = np.arange(1, 105)
    volumes(folder, mask)


@prepare(DONE, "labels_merged")
def volume_of_left_and_right(folder: Path) -> None:
    """A mask volume with the left lung 1 and the right lung 2: both are lung, and reported."""
    mask = lungs()
    mask[..., : SIDE // 2] *= 2
    volumes(folder, mask)


@prepare()
def volume_mask_shifted(folder: Path) -> None:
    """A mask volume that lies two slices above its CT, so that lung is lost."""
    volumes(folder, lungs(), 25.0)


@prepare()
def mask_of_other_size(folder: Path) -> None:
    """A mask of another size than its image."""
    pairs(folder, phantom(3, 32)[1] * np.uint8(255), other_grey())


@prepare()
def mask_of_other_colour(folder: Path) -> None:
    """A mask in red and green, colours that are not in rgb_map."""
    lungs = phantom(3)[1]
    red_green = np.stack([lungs * 255, (1 - lungs) * 255, lungs * 0], axis=2).astype(np.uint8)
    pairs(folder, red_green, other_grey())


@prepare()
def mask_of_other_class(folder: Path) -> None:
    """A mask with class indices up to 7, although rgb_map has two classes."""
    pairs(folder, phantom(3)[1] * np.uint8(7), other_grey())


@prepare(DONE, "labels_merged")
def mask_of_a_grey_per_lung(folder: Path) -> None:
    """A mask with a grey per lung, 100 and 200: both lungs are kept, and reported."""
    mask = phantom(3)[1] * np.uint8(100)
    mask[:, SIDE // 2 :] *= 2
    pairs(folder, mask, other_grey())


@prepare()
def mask_with_the_trachea(folder: Path) -> None:
    """A mask with the labels of LUNA16: 3 and 4 the lungs, 5 the trachea."""
    mask = phantom(3)[1] * np.uint8(3)
    mask[:, SIDE // 2 :] += mask[:, SIDE // 2 :] // 3
    mask[10:14, 30:34] = 5
    pairs(folder, mask, other_grey())


@prepare()
def mask_is_the_image(folder: Path) -> None:
    """The image itself in place of its mask."""
    pairs(folder, other_grey(), other_grey())


@prepare(DONE, "mask_grey")
def mask_interpolated(folder: Path) -> None:
    """A mask with grey edges, as resizing produces them: thresholded, and reported."""
    large = Image.fromarray(phantom(3, 32)[1] * np.uint8(255))
    pairs(folder, np.asarray(large.resize((SIDE, SIDE), Image.Resampling.BILINEAR)), other_grey())


@prepare(DONE, "empty_mask")
def mask_empty(folder: Path) -> None:
    """A mask of background only: kept, with a warning."""
    pairs(folder, np.zeros((SIDE, SIDE), np.uint8), other_grey())


@prepare(DONE, "large_mask")
def mask_inverted(folder: Path) -> None:
    """A mask with lung and background exchanged: kept, with a warning."""
    pairs(folder, (1 - phantom(3)[1]) * np.uint8(255), other_grey())


@prepare(DONE, "")
def mask_of_16_bits(folder: Path) -> None:
    """A mask of 16 bits that holds 0 and 65535: read."""
    pairs(folder, phantom(3)[1] * np.uint16(65535), other_grey())


@prepare(DONE, "")
def mask_of_16_bit_labels(folder: Path) -> None:
    """A mask of 16 bits that holds the labels 0 and 1: read."""
    pairs(folder, phantom(3)[1].astype(np.uint16), other_grey())


@prepare()
def mask_of_16_bit_labels_above_255(folder: Path) -> None:
    """A mask of 16 bits with the labels 0, 1 and 256, which 8 bits would lose."""
    mask = phantom(3)[1].astype(np.uint16)
    mask[:, SIDE // 2 :] *= 256
    pairs(folder, mask, other_grey())


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
