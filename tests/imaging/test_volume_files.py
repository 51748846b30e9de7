"""A CT holds air, and its voxels keep the order of the axes."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.errors import DataError
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


@pytest.mark.parametrize("suffix", [".mhd", ".mha", ".nrrd"])
@pytest.mark.parametrize("where", ["../secret.raw", "{absolute}", "sub/../../secret.raw", "list"])
def test_a_header_takes_its_voxels_from_no_other_folder(
    suffix: str, where: str, tmp_path: Path
) -> None:
    hu = np.full((4, 8, 8), -1000, np.int16)
    hu[:, 2:6] = np.linspace(-900, 60, 8)
    (tmp_path / "secret.raw").write_bytes(hu.tobytes())
    folder = tmp_path / "given"
    (folder / "sub").mkdir(parents=True)
    path = folder / f"ct{suffix}"

    def write(name: str) -> None:
        if suffix == ".nrrd":
            path.write_text(
                "NRRD0004\ntype: short\ndimension: 3\nsizes: 8 8 4\nencoding: raw\nendian: little\n"
                f"spacings: 1 1 2\ndata file: {name}\n"
            )
        else:
            path.write_text(
                "ObjectType = Image\nNDims = 3\nDimSize = 8 8 4\nElementSpacing = 1 1 2\n"
                f"ElementType = MET_SHORT\nElementDataFile = {name}\n"
            )

    write("beside.raw")
    (folder / "beside.raw").write_bytes(hu.tobytes())
    np.testing.assert_array_equal(read_ct(path).hu, hu)
    (folder / "beside.raw").unlink()
    listed = "LIST\nbeside.raw\n../secret.raw"
    write(listed if where == "list" else where.format(absolute=tmp_path / "secret.raw"))
    with pytest.raises(DataError, match=r"secret.raw.*beside the header"):
        read_ct(path)
