"""A mask has its volume's geometry exactly, whatever the order and direction of the axes."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import Result

from lungseg.config.schema import Config, InferConfig
from lungseg.errors import DataError
from lungseg.imaging.volume_files import read_ct
from lungseg.imaging.volumes import Ct, LabelVolume, geometry_differences, match_grids
from lungseg.inference.body import coarse_body
from lungseg.inference.measure import measure
from lungseg.inference.postprocess import tidy
from lungseg.inference.sides import find_sides
from lungseg.system.tables import read_csv
from lungseg.verbs.infer import infer
from tests.support.dicom_files import write_series
from tests.support.places import SHARED_DATA
from tests.support.volumes import image_of, phantom_volume

CODES = [
    "".join(letters)
    for axes in itertools.permutations(("RL", "AP", "IS"))
    for letters in itertools.product(*axes)
]


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*angles)
    return np.array(turn.GetMatrix()).reshape(3, 3)


@settings(max_examples=60)
@given(
    code=st.sampled_from(CODES),
    angles=st.tuples(*[st.floats(-0.35, 0.35)] * 3),
    size=st.tuples(*[st.integers(1, 7)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_orientation_and_back_loses_nothing(
    code: str,
    angles: tuple[float, float, float],
    size: tuple[int, int, int],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
) -> None:
    values = np.arange(np.prod(size), dtype=np.int16).reshape(size[::-1])
    image = sitk.DICOMOrient(image_of(values, spacing, origin), code)
    direction = rotation(angles) @ np.array(image.GetDirection()).reshape(3, 3)
    image.SetDirection(direction.ravel().tolist())
    ct = Ct("case", image, ".nii.gz", [])
    canonical = ct.canonical
    labels = (sitk.GetArrayFromImage(canonical) % 251).astype(np.uint8)
    restored = ct.restore(labels)
    for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(restored, get)() == getattr(image, get)()
    expected = sitk.GetArrayFromImage(image) % 251
    np.testing.assert_array_equal(sitk.GetArrayFromImage(restored), expected)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd"])
@pytest.mark.parametrize("code", ["LPS", "RAS", "SLA"])
def test_infer_writes_a_mask_of_the_same_geometry_and_format(
    trained_run: Path, tmp_path: Path, suffix: str, code: str, tiny_config: Config
) -> None:
    image, _ = phantom_volume(4)
    image = sitk.DICOMOrient(image, code)
    sitk.WriteImage(image, str(tmp_path / f"case{suffix}"))
    source = sitk.ReadImage(str(tmp_path / f"case{suffix}"))
    infer(tiny_config, [tmp_path / f"case{suffix}"], tmp_path / "out", run=trained_run)
    mask = sitk.ReadImage(str(tmp_path / "out" / f"case{suffix}"))
    for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(mask, get)() == pytest.approx(getattr(source, get)())
    assert set(np.unique(sitk.GetArrayViewFromImage(mask))) <= {0, 1}


def test_a_volume_is_segmented_as_its_slices_are(
    trained_run: Path, tmp_path: Path, tiny_config: Config
) -> None:
    from lungseg.imaging.pixels import apply_window, read_pixels, write_png
    from lungseg.inference.predictor import Predictor

    image, _ = phantom_volume(6)
    sitk.WriteImage(image, str(tmp_path / "case.nii.gz"))
    (tmp_path / "png").mkdir()
    window = Predictor(trained_run / "model.onnx").data.window
    hu = sitk.GetArrayFromImage(image)
    for index, pixels in enumerate(hu):
        write_png(tmp_path / "png" / f"{index}.png", apply_window(pixels, window))
    raw = tiny_config.model_copy(
        update={
            "infer": InferConfig(components=0, min_component_ml=0, fill_holes=False, drop_air=False)
        }
    )
    infer(raw, [tmp_path / "case.nii.gz", tmp_path / "png"], tmp_path / "out", run=trained_run)
    volume = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "case.nii.gz")))
    for index in range(len(hu)):
        slice_mask = read_pixels(tmp_path / "out" / f"{index}.png")
        np.testing.assert_array_equal(volume[index] > 0, slice_mask > 0)


def test_a_dicom_series_becomes_nifti_with_measurements_and_a_sheet(
    trained_run: Path, tmp_path: Path, tiny_config: Config
) -> None:
    image, _ = phantom_volume(6)
    write_series(tmp_path / "case07", sitk.GetArrayFromImage(image))
    config = tiny_config.model_copy(update={"infer": InferConfig(overlay=True)})
    result = infer(config, [tmp_path / "case07"], tmp_path / "out", run=trained_run)
    assert result.failed == []
    [row] = read_csv(tmp_path / "out" / "cases.csv")
    mask = sitk.ReadImage(str(tmp_path / "out" / "case07.nii.gz"))
    assert mask.GetSpacing() == pytest.approx((0.8, 0.9, 2.5))
    assert mask.GetOrigin() == pytest.approx((-20.0, 10.0, 5.0))
    voxels = np.count_nonzero(sitk.GetArrayViewFromImage(mask))
    assert float(row["lung_volume_ml"]) == pytest.approx(voxels * 0.8 * 0.9 * 2.5 / 1000, abs=0.01)
    assert (tmp_path / "out" / "overlays" / "case07.png").exists()
    # Nothing of the patient is in names, tables or logs.
    everything = "".join(path.name for path in (tmp_path / "out").rglob("*"))
    assert "SECRET" not in everything + (tmp_path / "out" / "cases.csv").read_text()


def test_folders_of_volumes_go_on_after_a_failure_and_resume(
    trained_run: Path, tmp_path: Path, lungseg: Callable[..., Result]
) -> None:
    image, _ = phantom_volume(3)
    hu = sitk.GetArrayFromImage(image)
    source = tmp_path / "in"
    write_series(source / "patient_a", hu)
    write_series(source / "patient_b", hu)
    for path in sorted((source / "patient_b").iterdir())[1:2]:
        path.unlink()
    arguments = ("infer", "--run", trained_run, source, "-o", tmp_path / "out")
    first = lungseg(*arguments)
    done = [row["case"] for row in read_csv(tmp_path / "out" / "cases.csv")]
    assert sorted(done) == ["patient_a", "patient_b"]
    before = (tmp_path / "out" / "patient_a.nii.gz").stat().st_mtime_ns
    assert first.exit_code in (0, 4)
    again = lungseg(*arguments, "--resume")
    assert "done already" in again.stderr
    assert (tmp_path / "out" / "patient_a.nii.gz").stat().st_mtime_ns == before
    assert len(read_csv(tmp_path / "out" / "cases.csv")) == 2


def test_what_is_no_ct_volume_is_refused(tmp_path: Path) -> None:
    image, _ = phantom_volume(3)
    few = sitk.Cast(image[:16, :16], sitk.sitkInt32) + 1024
    sitk.WriteImage(few, str(tmp_path / "stored.nii.gz"))
    with pytest.raises(DataError, match=r"stored\.nii\.gz: air should be near -1000 HU"):
        read_ct(tmp_path / "stored.nii.gz", name="stored")
    four = sitk.JoinSeries([image, image])
    sitk.WriteImage(four, str(tmp_path / "four.nii.gz"))
    with pytest.raises(DataError, match="found 4 dimensions"):
        read_ct(tmp_path / "four.nii.gz", name="four")
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    values[0, 0, 0] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "nan.mha"))
    with pytest.raises(DataError, match="1 voxels are NaN"):
        read_ct(tmp_path / "nan.mha", name="nan")
    whole = (tmp_path / "four.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.nii\.gz"):
        read_ct(tmp_path / "cut.nii.gz", name="cut")


def test_tidying_keeps_two_lungs_and_says_what_it_dropped() -> None:
    _, lungs = phantom_volume(10, 96)
    values = sitk.GetArrayFromImage(lungs)
    speck = values.copy()
    speck[5, 2:4, 2:4] = 1
    inside = np.argwhere(values[5] > 0)[len(np.argwhere(values[5] > 0)) // 2]
    speck[5, inside[0], inside[1]] = 0
    image = sitk.GetImageFromArray(speck)
    image.CopyInformation(lungs)
    found, steps = tidy(image, InferConfig())
    assert any("holes filled" in step for step in steps)
    assert any("1 small part dropped" in step for step in steps)
    again, nothing = tidy(found, InferConfig())
    assert nothing == []
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(found))
    off = InferConfig(components=0, min_component_ml=0, fill_holes=False, drop_air=False)
    same, steps = tidy(image, off)
    assert steps == []
    np.testing.assert_array_equal(sitk.GetArrayFromImage(same), speck)


def test_measurements_are_of_the_voxels() -> None:
    ct, lungs = phantom_volume(8)
    sides = find_sides(lungs, coarse_body(ct))
    measures = measure(ct, lungs, sides)
    hu, labels = sitk.GetArrayFromImage(ct), sitk.GetArrayFromImage(sides.labels)
    voxel = np.prod(ct.GetSpacing()) / 1000
    assert measures.left.volume_ml == pytest.approx((labels == 1).sum() * voxel, abs=0.01)
    assert measures.right.volume_ml == pytest.approx((labels == 2).sum() * voxel, abs=0.01)
    both = (labels > 0).sum() * voxel
    assert measures.lung.volume_ml == pytest.approx(both, abs=0.02)
    assert measures.lung.mean_hu == pytest.approx(hu[labels > 0].mean(), abs=0.06)
    assert measures.lung.p15_hu == pytest.approx(np.percentile(hu[labels > 0], 15), abs=0.06)
    assert measures.slices_with_lung == sum(bool(plane.any()) for plane in labels)
    empty = measure(ct, lungs * 0, find_sides(lungs * 0, coarse_body(ct)))
    assert (empty.lung.volume_ml, empty.lung.mean_hu) == (0.0, None)
    assert empty.touches_border is False
    inside = sitk.GetImageFromArray(labels * 0)
    inside.CopyInformation(ct)
    inside[0, 5, 3] = 1
    assert measure(ct, inside, sides).touches_border is True


@pytest.mark.parametrize(("percent", "differs"), [(0.9, False), (1.1, True)])
@pytest.mark.parametrize("what", ["spacing", "origin", "direction"])
def test_grids_differ_from_a_hundredth_of_the_smallest_side_on(
    what: str, percent: float, differs: bool
) -> None:
    values, spacing = np.zeros((4, 5, 6), np.uint8), (0.5, 0.8, 2.5)
    share = percent / 100
    other = image_of(values, spacing)
    if what == "spacing":
        other.SetSpacing((0.5, 0.8 + share * 0.5, 2.5))
    elif what == "origin":
        other.SetOrigin((0.0, 0.0, -share * 0.5))
    else:
        other.SetDirection(
            (1, 0, 0, 0, np.cos(share), -np.sin(share), 0, np.sin(share), np.cos(share))
        )
    lines = geometry_differences(other, image_of(values, spacing))
    assert [line.split()[0] for line in lines] == ([what] if differs else [])


@pytest.mark.parametrize(
    ("first", "is_put_back"),
    [(2.0, True), (0.0, True), (3.0, True), (2.4, False), (4.0, False), (-1.0, False)],
)
@pytest.mark.parametrize("sparse", ["prediction", "truth"])
def test_slices_that_a_dicom_seg_left_out_are_put_back_as_empty_ones(
    first: float, is_put_back: bool, sparse: str
) -> None:
    # Two slices of a volume of five; from slice 4 on there is one slice only.
    part = image_of(np.ones((2, 3, 4), np.uint8), (0.5, 0.8, 2.5), (0.0, 0.0, first * 2.5))
    whole = LabelVolume(image_of(np.zeros((5, 3, 4), np.uint8), (0.5, 0.8, 2.5)))
    small = LabelVolume(part, sparse=True)
    pair = (small, whole) if sparse == "prediction" else (whole, small)
    *found, differences = match_grids(*pair)
    assert (differences == []) == is_put_back
    restored = found[pair.index(small)].labels
    if is_put_back:
        expected = np.zeros((5, 3, 4), np.uint8)
        expected[int(first) : int(first) + 2] = 1
        np.testing.assert_array_equal(restored, expected)
    else:
        assert restored.shape == (2, 3, 4)


def test_nothing_is_resampled_unless_slices_may_have_been_left_out() -> None:
    part = LabelVolume(image_of(np.ones((2, 3, 4), np.uint8)))
    whole = LabelVolume(image_of(np.zeros((5, 3, 4), np.uint8)))
    _, _, differences = match_grids(part, whole)
    assert differences == ["size (4, 3, 2) against (4, 3, 5)"]


REAL = ["dicom-lidc-1011", "dicom-petct-a0001", "dicom-two-slices", "volumes", "mha-right-lung"]


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_volumes_get_masks_of_exactly_their_geometry(
    name: str, trained_run: Path, tmp_path: Path, tiny_config: Config
) -> None:
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real volumes (shared/data/{name}) are not here")
    paths = [folder] if name.startswith("dicom") else sorted(folder.glob("*[!k].[nm][ih][ia]*"))
    assert paths
    result = infer(tiny_config, paths, tmp_path / "out", run=trained_run)
    assert result.failed == []
    for path, row in zip(paths, result.cases, strict=True):
        ct = read_ct(path, name="case")
        mask = sitk.ReadImage(str(tmp_path / "out" / str(row.mask)))
        for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(mask, get)() == pytest.approx(getattr(ct.image, get)(), abs=1e-4)
