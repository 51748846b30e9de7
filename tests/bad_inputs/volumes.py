"""NIfTI, MetaImage and NRRD volumes and zip files with wrong headers, cut short, or hostile."""

from __future__ import annotations

import gzip
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from lungseg.imaging.pixels import apply_window
from tests.bad_inputs.kinds import DONE, infer
from tests.bad_inputs.samples import hu, volume
from tests.support.dicom_files import write_series


def write_nifti(folder: Path, change: Callable[[bytearray], None], name: str = "bad.nii") -> None:
    """Write the phantom as NIfTI with a changed header."""
    path = folder / name
    sitk.WriteImage(volume(), str(path))
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


@infer("bad.nii.gz")
def volume_with_nan(folder: Path) -> None:
    """A volume with NaN voxels."""
    values = hu().astype(np.float32)
    values[2, 3, 4] = np.nan
    sitk.WriteImage(volume(values), str(folder / "bad.nii.gz"))


@infer("bad.nrrd")
def volume_with_infinity(folder: Path) -> None:
    """A volume with infinite voxels."""
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
    """A volume with three values per voxel."""
    sitk.WriteImage(sitk.Compose(volume(), volume(), volume()), str(folder / "bad.nii"))


@infer("bad.nii.gz")
def not_in_hu(folder: Path) -> None:
    """A volume of grey values 0 to 255, not HU."""
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
    """A NIfTI without orientation: read in the order of its voxels, with a warning."""
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
    """A NIfTI with an unknown code for its data type."""
    write_nifti(folder, lambda header: header.__setitem__(slice(70, 72), b"\x39\x30"))


@infer("bad.nii")
def huge_dimensions(folder: Path) -> None:
    """A NIfTI whose header gives 32,000 voxels per side."""
    size = struct.pack("<4h", 3, 32_000, 32_000, 32_000)
    write_nifti(folder, lambda header: header.__setitem__(slice(40, 48), size))


@infer("bad.nii.gz")
def huge_dimensions_compressed(folder: Path) -> None:
    """A compressed NIfTI whose header gives 32,000 voxels per side."""
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


@infer("bad.mhd", DONE)
def mhd_with_space_before_key(folder: Path) -> None:
    """An MHD with a space before each key: read."""
    sitk.WriteImage(volume(), str(folder / "bad.mhd"))
    lines = (folder / "bad.mhd").read_text().splitlines()
    (folder / "bad.mhd").write_text("".join(f" {line}\n" for line in lines))


@infer("bad.mhd")
def mhd_that_reads_elsewhere_behind_a_space(folder: Path) -> None:
    """An MHD that names a system file as its data, with a space before the key."""
    sitk.WriteImage(volume(), str(folder / "bad.mhd"))
    content = (folder / "bad.mhd").read_text()
    changed = content.replace("ElementDataFile = bad.raw", " ElementDataFile = /etc/hostname")
    (folder / "bad.mhd").write_text(changed)


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
    """An NRRD whose header gives 10 million voxels per side."""
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
    """A zip of DICOM files whose names lead out of their folder: unpacked under other names."""
    paths = write_series(folder / "series", hu())
    with zipfile.ZipFile(folder / "bad.zip", "w") as archive:
        for number, path in enumerate(paths):
            archive.write(path, f"../../attacked{number}")
