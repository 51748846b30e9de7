"""A CT holds air, and its voxels keep the order of the axes."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.errors import DataError
from lungseg.imaging import volume_files
from lungseg.imaging.volume_files import ct_from_image, read_ct, read_label_volume
from tests.support.volumes import image_of


@pytest.mark.parametrize(("lowest", "is_hu"), [(-1024, True), (-500, True), (-499, False)])
def test_without_air_a_volume_is_not_in_hu(lowest: int, is_hu: bool, tmp_path: Path) -> None:
    hu = np.full((3, 4, 5), 40, np.int16)
    hu[1, 2, 3] = lowest
    sitk.WriteImage(image_of(hu), str(tmp_path / "ct.mha"))
    if is_hu:
        np.testing.assert_array_equal(read_ct(tmp_path / "ct.mha").hu, hu)
        np.testing.assert_array_equal(ct_from_image(image_of(hu)).hu, hu)
        return
    with pytest.raises(DataError, match=r"ct\.mha: .* lowest value is -499"):
        read_ct(tmp_path / "ct.mha")
    with pytest.raises(DataError, match=r"the SimpleITK image: .* lowest value is -499"):
        ct_from_image(image_of(hu))


def test_spacing_has_the_order_of_the_arrays_axes(tmp_path: Path) -> None:
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[1, 2, 3] = 1
    image = image_of(labels, (0.5, 0.75, 3.0))  # x, y, z
    sitk.WriteImage(image, str(tmp_path / "mask.nii.gz"))
    volume = read_label_volume(tmp_path / "mask.nii.gz")
    assert volume.spacing == (3.0, 0.75, 0.5)
    np.testing.assert_array_equal(volume.labels, labels)
    scan = ct_from_image(sitk.Cast(image, sitk.sitkInt16) * -1000)
    assert scan.spacing == (3.0, 0.75, 0.5)
    assert scan.hu[1, 2, 3] == -1000


NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nsizes: 8 8 4\nencoding: raw\nendian: little\n"
    "spacings: 1 1 2\n"
)
META = (
    "ObjectType = Image\nNDims = 3\nDimSize = 8 8 4\nElementSpacing = 1 1 2\n"
    "ElementType = MET_SHORT\n"
)


def write_voxels(path: Path) -> np.ndarray:
    """Write the voxels of these headers, and return them."""
    hu = np.full((4, 8, 8), -1000, np.int16)
    hu[:, 2:6] = np.linspace(-900, 60, 8)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(hu.tobytes())
    return hu


@pytest.mark.parametrize("suffix", [".mhd", ".mha", ".nrrd"])
@pytest.mark.parametrize("where", ["../secret.raw", "{absolute}", "sub/../../secret.raw", "list"])
def test_a_header_takes_its_voxels_from_no_other_folder(
    suffix: str, where: str, tmp_path: Path
) -> None:
    write_voxels(tmp_path / "secret.raw")
    hu = write_voxels(tmp_path / "given" / "beside.raw")
    (tmp_path / "given" / "sub").mkdir()
    path = tmp_path / "given" / f"ct{suffix}"
    start = NRRD + "data file: " if suffix == ".nrrd" else META + "ElementDataFile = "
    path.write_text(f"{start}beside.raw\n")
    np.testing.assert_array_equal(read_ct(path).hu, hu)
    listed = "LIST\nbeside.raw\n../secret.raw"
    path.write_text(
        start
        + (listed if where == "list" else where).format(absolute=tmp_path / "secret.raw")
        + "\n"
    )
    with pytest.raises(DataError, match=r"secret.raw.*beside the header"):
        read_ct(path)


@pytest.mark.parametrize(
    ("suffix", "header"),
    [
        (".mhd", META + " ElementDataFile = ../secret.raw\n"),
        (".mhd", META + "ElementDataFile : ../secret.raw\n"),
        (".mhd", META + "ElementDataFile == ../secret.raw\n"),
        (".mhd", META + "ElementDataFile\0 = ../secret.raw\n"),
        (".nrrd", (NRRD + "data file: ../secret.raw\n").replace("\n", "\r")),
    ],
)
def test_no_way_to_write_a_header_hides_its_data_file(
    suffix: str, header: str, tmp_path: Path
) -> None:
    write_voxels(tmp_path / "secret.raw")
    path = tmp_path / "given" / f"ct{suffix}"
    path.parent.mkdir()
    path.write_bytes(header.encode())
    with pytest.raises(DataError, match=r"from another folder, '../secret.raw'"):
        read_ct(path)


@pytest.mark.parametrize(
    ("suffix", "header"),
    [
        (".mhd", META + "Note = x\n" * 120_000 + "ElementDataFile = ../secret.raw\n"),
        (".nrrd", NRRD + "#" * (1 << 20) + "\ndata file: ../secret.raw\n"),
    ],
)
def test_a_header_too_long_to_check_is_refused(suffix: str, header: str, tmp_path: Path) -> None:
    write_voxels(tmp_path / "secret.raw")
    path = tmp_path / "given" / f"ct{suffix}"
    path.parent.mkdir()
    path.write_text(header)
    with pytest.raises(DataError, match=r"header is longer than 1,048,576 bytes"):
        read_ct(path)


@pytest.mark.parametrize(
    ("suffix", "line"),
    [
        (".mhd", "ElementDataFile = ct.raw\n"),
        (".mha", "ElementDataFile = LIST\nct.raw\n"),
        (".nrrd", "data file: ct.raw\n"),
    ],
)
def test_a_header_without_its_data_file_says_which_is_missing(
    suffix: str, line: str, tmp_path: Path
) -> None:
    path = tmp_path / f"ct{suffix}"
    path.write_text((NRRD if suffix == ".nrrd" else META) + line)
    with pytest.raises(DataError, match=r"from 'ct.raw', which is not there"):
        read_ct(path)


@pytest.mark.parametrize("names", ["s%d.raw 0 3 1", "LIST\ns0.raw\ns1.raw\ns2.raw\ns3.raw"])
def test_a_header_may_list_the_files_beside_it(names: str, tmp_path: Path) -> None:
    hu = write_voxels(tmp_path / "all.raw")
    for index, pixels in enumerate(hu):
        (tmp_path / f"s{index}.raw").write_bytes(pixels.tobytes())
    (tmp_path / "ct.mhd").write_text(f"{META}ElementDataFile = {names}\n")
    np.testing.assert_array_equal(read_ct(tmp_path / "ct.mhd").hu, hu)


@pytest.mark.parametrize("suffix", [".mhd", ".mha", ".nrrd"])
@pytest.mark.parametrize("limit", ["MAX_VOXELS", "MAX_GZIP_RATIO"])
def test_more_voxels_than_memory_or_file_can_hold_are_refused(
    suffix: str, limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"ct{suffix}"
    sitk.WriteImage(sitk.Image(12, 11, 10, sitk.sitkInt16) - 1000, str(path), useCompression=True)
    assert read_ct(path).canonical.GetSize() == (12, 11, 10)
    # The voxels are equal, so the compressed file is small. Those of an MHD are in another file.
    monkeypatch.setattr(volume_files, limit, {"MAX_VOXELS": 1319, "MAX_GZIP_RATIO": 1}[limit])
    if limit == "MAX_GZIP_RATIO" and suffix == ".mhd":
        assert read_ct(path).canonical.GetSize() == (12, 11, 10)
        return
    with pytest.raises(DataError, match="its header gives 1,320 voxels"):
        read_ct(path)
