"""DICOM series with wrong or missing elements or slices; at the end a volume with a bad name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGLSLossless, MRImageStorage, RLELossless

from tests.bad_inputs.kinds import DATA, DONE, infer
from tests.bad_inputs.samples import hu, volume
from tests.support.dicom_files import Change, write_series
from tests.support.phantoms import SIDE


def series(folder: Path, change: Change) -> None:
    """Write the phantom as a DICOM series to `bad/`, each slice changed by `change`."""
    write_series(folder / "bad", hu(), change)


def without(tag: str) -> Change:
    """Return a change that takes one element away."""

    def change(ct: FileDataset, index: int) -> None:
        delattr(ct, tag)

    return change


def declared_as(syntax: UID) -> Change:
    """Return a change that declares plain pixels as compressed in a transfer syntax."""

    def change(ct: FileDataset, index: int) -> None:
        ct.file_meta.TransferSyntaxUID = syntax
        ct.PixelData = encapsulate([ct.PixelData])
        ct["PixelData"].VR = "OB"
        ct["PixelData"].is_undefined_length = True

    return change


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
    """A DICOM file with an element that declares a length of 3 GB."""
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
    """A series without Modality: read as CT, with a warning."""
    series(folder, without("Modality"))


@infer("bad", DONE, "HU + 1024")
def dicom_without_rescale(folder: Path) -> None:
    """A series without rescale slope and intercept: converted from HU + 1024, with a warning."""

    def change(ct: FileDataset, index: int) -> None:
        del ct.RescaleSlope, ct.RescaleIntercept

    series(folder, change)


@infer("bad")
def dicom_of_magnetic_resonance(folder: Path) -> None:
    """A magnetic resonance series."""

    def change(ct: FileDataset, index: int) -> None:
        ct.Modality, ct.SOPClassUID = "MR", MRImageStorage
        ct.file_meta.MediaStorageSOPClassUID = MRImageStorage

    series(folder, change)


@infer("bad")
def dicom_missing_slice(folder: Path) -> None:
    """A series that lacks a slice."""
    write_series(folder / "bad", hu())[2].unlink()


@infer("bad", DONE, "repeated")
def dicom_repeated_slice(folder: Path) -> None:
    """A series with one slice twice: used once, with a warning."""
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
    """A folder of two series: the larger one is read, with a warning."""
    write_series(folder / "bad", hu())
    write_series(folder / "bad", hu()[:3], prefix="other")


@infer("bad")
def dicom_rle_damaged(folder: Path) -> None:
    """A series declared as run-length encoded, with plain pixels."""
    series(folder, declared_as(RLELossless))


@infer("bad")
def dicom_jpeg_ls_damaged(folder: Path) -> None:
    """A series declared as JPEG-LS, with plain pixels."""
    series(folder, declared_as(JPEGLSLossless))


@infer("bad")
def dicom_jpeg_damaged(folder: Path) -> None:
    """A series declared as baseline JPEG, with plain pixels."""
    series(folder, declared_as(JPEGBaseline8Bit))


@infer("bad")
def dicom_unknown_syntax(folder: Path) -> None:
    """A series in a transfer syntax that does not exist."""
    series(folder, declared_as(UID("1.2.3.4.5")))


@infer("bad")
def dicom_short_pixels(folder: Path) -> None:
    """A series whose headers give more rows than the files hold."""
    series(folder, lambda ct, index: setattr(ct, "Rows", 80))


@infer("bad")
def dicom_huge_header(folder: Path) -> None:
    """A series whose headers give 60,000 rows."""
    series(folder, lambda ct, index: setattr(ct, "Rows", 60_000))


@infer("bad")
def dicom_folder_with_pipe(folder: Path) -> None:
    """A series with a named pipe among its files."""
    write_series(folder / "bad", hu())
    os.mkfifo(folder / "bad" / "bad.dcm")


@infer("bad.nii", DATA, "bad")
def volume_name_not_utf8(folder: Path) -> None:
    """A damaged volume, with a name that is not UTF-8, in a folder."""
    (folder / "bad.nii").mkdir()
    sitk.WriteImage(volume(), str(folder / "short.nii"))
    content = (folder / "short.nii").read_bytes()
    (folder / "bad.nii" / "bad\udcff.nii").write_bytes(content[:5000])
