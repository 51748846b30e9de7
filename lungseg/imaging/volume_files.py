"""Volumes through SimpleITK: CT in HU, and labels; DICOM-SEG through highdicom.

The program works on volumes whose axes run to the patient's left, back and head ("LPS"), so a slice
is axial and looks as in every viewer. `Ct.restore` gives a mask the input's own geometry.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.errors import DataError
from lungseg.imaging.dicom.headers import quiet_itk, reason_of
from lungseg.imaging.dicom.segmentation import read_dicom_seg
from lungseg.imaging.dicom.series import read_dicom, read_files
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import volume_suffix
from lungseg.imaging.hounsfield import AS_HU, MAX_AIR_HU, converted, find_reading, no_reading
from lungseg.imaging.nifti import check_content, check_header, claims_much, for_itk
from lungseg.imaging.volumes import Ct, LabelVolume
from lungseg.system.files import partial_path, put_in_place, require_regular

MAX_UNPACKED_BYTES = 8 << 30
MAX_ZIP_RATIO = 100  # CT shrinks to a half or a third, empty slices to 1 %
MAX_GZIP_RATIO = 1032  # the densest that deflate can be
MAX_VOXELS = 2**31  # 8,192 slices of 512 x 512
LABEL_TOLERANCE = 1e-3  # labels that were scaled on the way, 0.9999999 for 1
MAX_HEADER_BYTES = 1 << 20  # far above any header; a list of 8,192 files has some 200 kB
# What names the file of the voxels in a line of MetaImage and of NRRD. ITK's reader of MetaImage
# takes any of these characters around the key.
DATA_FILE = re.compile(
    rb"ElementDataFile[\s\0=:]*(.*)|^data ?file:\s*(.*)", re.IGNORECASE | re.DOTALL
)
MAX_SIDE = 8192  # voxels; slices are padded to squares


def read_label_volume(path: Path) -> LabelVolume:
    """Read a label volume.

    Raises:
        DataError: if it cannot be read, is not three-dimensional, or holds no whole numbers.
        UsageError: if it is a DICOM-SEG and highdicom is not installed.
    """
    if volume_suffix(path) == ".dcm":
        return read_dicom_seg(path)
    image = _require_volume(path, _read_file(path)[0])
    values = sitk.GetArrayViewFromImage(image)
    whole = np.rint(values)
    near = np.allclose(values, whole, rtol=0, atol=LABEL_TOLERANCE)
    if not near or whole.min() < 0 or whole.max() > 255:
        raise DataError(
            path,
            f"a label volume holds whole numbers from 0 to 255, but this one has "
            f"{'values' if near else 'fractions'} from {values.min():g} to {values.max():g}.",
        )
    labels = sitk.GetImageFromArray(whole.astype(np.uint8))
    labels.CopyInformation(image)
    return LabelVolume(sitk.DICOMOrient(labels, "LPS"))


def read_ct(
    path: str | Path,
    *,
    name: str | None = None,
    series_uid: str | None = None,
    files: Sequence[Path] = (),
) -> Ct:
    """Read a CT volume: a DICOM folder, file or zip, NIfTI, MHA, MHD or NRRD.

    Args:
        path: the volume.
        name: name of the case; by default the file's stem.
        series_uid: SeriesInstanceUID of the DICOM series to read; by default the CT series with
            most slices.
        files: the files of the one DICOM series to read, which may be in several folders of `path`;
            by default those in `path`.

    Raises:
        DataError: if it cannot be read, is no volume, or is not in HU.

    Examples:
        >>> scan = lungseg.read_ct("scan.mha")
        >>> scan.hu.shape, scan.spacing
        ((12, 64, 64), (20.0, 5.0, 5.0))
        >>> scan.findings  # what had to be assumed or repaired
        []
    """
    path = Path(path)
    if name is None:
        name = path.resolve().name if os.path.isdir(path) else _stem(path)
    if os.path.isdir(path):
        image, findings = read_dicom(path, series_uid, files=files)
        return _checked(path, Ct(name, image, ".nii.gz", findings))
    suffix = volume_suffix(path)
    if suffix == ".zip":
        with tempfile.TemporaryDirectory() as unpacked:
            image, findings = read_dicom(_unpack(path, Path(unpacked)), series_uid, path)
        return _checked(path, Ct(name, image, ".nii.gz", findings))
    if suffix == ".dcm":
        image, findings = read_files([path], path)
        return _checked(path, Ct(name, image, ".nii.gz", findings))
    image, findings = _read_file(path)
    if not findings and _has_no_geometry(image):
        detail = "voxels of 1 x 1 x 1 mm from (0, 0, 0) look as if no geometry had been set"
        findings.append(Finding("identity_affine", "warning", detail, path))
    return _checked(path, Ct(name, image, ".mha" if suffix == ".mhd" else str(suffix), findings))


@quiet_itk()
def write_volume(image: Any, path: Path) -> None:
    """Write a volume under another name, then rename it, so that it appears whole or not at all.

    Raises:
        DataError: if it cannot be written.
    """
    suffix = volume_suffix(path) or ""
    # ITK knows the suffixes only in lower case.
    partial = partial_path(path.with_name(path.name[: len(path.name) - len(suffix)] + suffix))
    try:
        if not path.parent.is_dir():
            raise DataError(path, "cannot be written: there is no such folder.")
        sitk.WriteImage(image, str(partial), useCompression=True)
        put_in_place(partial, path)
    except (RuntimeError, OSError) as problem:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise DataError(path, f"cannot be written: {reason_of(problem)}") from None


def _unpack(path: Path, target: Path) -> Path:
    """Unpack a zip of DICOM files into one folder, under new names, and return the folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            size = sum(member.file_size for member in members)
            most = min(MAX_UNPACKED_BYTES, MAX_ZIP_RATIO * path.stat().st_size)
            if size > most:
                raise DataError(path, f"would unpack to {size:,} bytes, more than a CT can be.")
            for index, member in enumerate(members):
                with archive.open(member) as packed, (target / f"{index:06d}.dcm").open("wb") as to:
                    shutil.copyfileobj(packed, to)
    except (zipfile.BadZipFile, OSError, RuntimeError, EOFError) as problem:
        raise DataError(path, f"the zip file cannot be read: {problem}") from None
    return target


def _check_data_file(path: Path) -> None:
    """Check that the voxels of a MetaImage or NRRD header lie in its own folder.

    A header can name any file of the machine. A mask or picture made from it would show the content
    to whoever gets the results.

    Raises:
        DataError: if the header names a file by an absolute path, or one above its folder, or one
            that is not there; or if it is too long to tell.
    """
    with path.open("rb") as file:
        header = file.read(MAX_HEADER_BYTES)
    is_nrrd = path.name.lower().endswith(".nrrd")
    lines = header.splitlines() if is_nrrd else header.split(b"\n")
    found = [(k, match) for k, line in enumerate(lines) if (match := DATA_FILE.search(line))]
    if is_nrrd:
        end = lines.index(b"") if b"" in lines else len(lines)
        found = [(k, match) for k, match in found if k < end]
    if len(header) == MAX_HEADER_BYTES and (end == len(lines) if is_nrrd else not found):
        raise DataError(path, f"its header is longer than {MAX_HEADER_BYTES:,} bytes.")
    for k, match in found:
        values = [match[1] or match[2] or b""]
        if values[0].startswith(b"LIST"):  # the names follow, one a line
            values = lines[k + 1 : end] if is_nrrd else lines[k + 1 :]
        for name in (os.fsdecode(each).strip().replace("\\", "/") for each in values):
            _check_beside(path, name)


def _check_beside(path: Path, name: str) -> None:
    """Check the name of a file with voxels that a header gives."""
    if name.startswith("/") or ":" in name or ".." in name.split("/"):
        raise DataError(
            path,
            f"its header takes the voxels from another folder, {name!r}. Put that file beside "
            "the header, and its bare name into it.",
        )
    # A name with % stands for several files.
    if name.upper() != "LOCAL" and "%" not in name and not os.path.exists(path.parent / name):
        raise DataError(
            path,
            f"its header takes the voxels from {name!r}, which is not there. Put that file beside "
            "the header.",
        )


def _read_file(path: Path) -> tuple[Any, list[Finding]]:
    """Read a volume file whose header agrees with its size."""
    require_regular(path)
    if path.name.lower().endswith((".mha", ".mhd", ".nrrd")):
        _check_data_file(path)
    if volume_suffix(path) not in (".nii", ".nii.gz"):
        return _read_by_itk(path, path), []
    findings = check_header(path, MAX_VOXELS)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        # Both unpack the file, so they do it at the same time.
        content = thread.submit(check_content, path)
        if claims_much(path):
            content.result()  # before memory is taken for voxels that are not there
        try:
            readable, changes = for_itk(path, Path(folder))
            image = _read_by_itk(readable, path)
        except Exception:  # but not Ctrl-C, which must not be lost
            content.result()  # what it finds in a damaged file says more than ITK does
            raise
        content.result()
    return image, findings + changes


@quiet_itk()
def _read_by_itk(path: Path, origin: Path) -> Any:
    """Read a volume file; messages name `origin`."""
    try:
        str(path).encode()
    except UnicodeEncodeError:  # some builds of SimpleITK end the process
        raise DataError(
            origin, "the volume cannot be read, because its path is not UTF-8: rename it."
        ) from None
    size = path.stat().st_size
    suffix = volume_suffix(path)
    reader = sitk.ImageFileReader()
    try:
        reader.SetFileName(str(path))
        if suffix in (".mha", ".mhd") and not path.name.endswith(suffix):
            reader.SetImageIO("MetaImageIO")  # ITK finds it only by a suffix in lower case
        reader.ReadImageInformation()
        voxels = math.prod(reader.GetSize())
        # Checked before memory is taken for the voxels. Those of an MHD are in another file.
        if voxels > MAX_VOXELS or (suffix != ".mhd" and voxels > size * MAX_GZIP_RATIO):
            raise DataError(
                origin,
                f"its header gives {voxels:,} voxels, which a file of {size:,} bytes cannot "
                "hold: it is damaged.",
            )
        return reader.Execute()
    except RuntimeError as problem:
        raise DataError(origin, f"the volume cannot be read: {reason_of(problem)}") from None


def _require_volume(path: str | Path, image: Any) -> Any:
    """Return the image if it has three dimensions and one value per voxel."""
    dimensions, values = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    kind = image.GetPixelIDTypeAsString()
    if (dimensions, values) == (3, 1) and " of " in kind:
        raise DataError(path, f"expected one number per voxel, found {kind}.")
    if (dimensions, values) != (3, 1):
        raise DataError(
            path,
            f"expected a volume of three dimensions with one value per voxel, found "
            f"{dimensions} dimensions and {values} values.",
        )
    return image


def _has_no_geometry(image: Any) -> bool:
    """Whether a volume has the geometry of an empty header: LPS, or RAS as NIfTI has it."""
    if image.GetDimension() != 3 or {*image.GetSpacing()} != {1.0} or any(image.GetOrigin()):
        return False
    return image.GetDirection() in ((1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, -1, 0, 0, 0, 1))


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(volume_suffix(path) or "")]


def ct_from_image(image: Any, name: str = "scan") -> Ct:
    """Take a SimpleITK image in HU as a CT volume.

    Raises:
        DataError: if it is no volume, or is not in HU.
    """
    return _checked("the SimpleITK image", Ct(name, image, ".nii.gz", []))


def _checked(path: str | Path, ct: Ct) -> Ct:
    """Check that a volume has three dimensions, and bring its values to HU if need be."""
    image = _require_volume(path, ct.image)
    if max(image.GetSize()) > MAX_SIDE:
        raise DataError(path, f"{image.GetSize()} voxels are more than a CT can have.")
    values = sitk.GetArrayViewFromImage(image)
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise DataError(path, f"{count} voxels are NaN or infinite.")
    reading = find_reading(values, AS_HU)
    if reading is None:
        raise no_reading(path)
    if reading is not AS_HU:
        hu = sitk.GetImageFromArray(reading.to_hu(values))
        hu.CopyInformation(image)
        finding = converted(reading, path if isinstance(path, Path) else None)
        return replace(ct, image=hu, findings=[*ct.findings, finding])
    lowest = float(values.min())
    if lowest > MAX_AIR_HU:
        raise DataError(
            path,
            f"air should be near -1000 HU, but the lowest value is {lowest:g}: this volume "
            "is not in Hounsfield units. Apply its rescale slope and intercept first.",
        )
    return ct
