"""One patient gives one mask, whatever the shape of the pixels and the container."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from typer.testing import Result

from lungseg.config.loading import load_config, with_overrides
from lungseg.config.schema import Config
from lungseg.errors import UsageError
from lungseg.imaging.pixels import apply_window, read_pixels, write_png
from lungseg.imaging.volume_files import ct_from_image
from lungseg.inference.predictor import Predictor
from lungseg.inference.segmenter import Segmenter
from lungseg.inference.volumes import segment_ct
from lungseg.phantom.drawing import FIELD_OF_VIEW_MM, make_slice
from lungseg.phantom.patient import make_patient
from lungseg.system.tables import read_csv, read_json, write_json
from lungseg.verbs.evaluate import evaluate
from lungseg.verbs.infer import infer
from lungseg.verbs.prepare import prepare
from tests.support.dicom_files import write_series
from tests.support.networks import write_network
from tests.support.phantoms import SIDE
from tests.support.places import SHARED_DATA

RAW = [
    f"infer.{key}"
    for key in ("components=0", "min_component_ml=0", "fill_holes=false", "drop_air=false")
]
CASES = SHARED_DATA.with_name("cases")
FULL = 512
PIXEL = FIELD_OF_VIEW_MM / FULL
SHAPES = {"square": (1, 1), "rows_3x": (3, 1), "columns_3x": (1, 3)}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def binned(values: NDArray[Any], factors: tuple[int, int]) -> NDArray[np.float64]:
    """Return the means of blocks of pixels, rows times columns, of slices `(D, H, W)`."""
    (rows, columns), (depth, height, width) = factors, values.shape
    values = values[:, : height // rows * rows, : width // columns * columns].astype(float)
    blocks = values.reshape(depth, height // rows, rows, width // columns, columns)
    return np.asarray(blocks.mean(axis=(2, 4)))


@pytest.fixture(scope="module")
def scan() -> NDArray[np.int16]:
    patient = make_patient(3)
    return np.stack([make_slice(patient, z, FULL)[0] for z in (0.6, 0.4)])


def write_nifti(path: Path, hu: NDArray[Any], spacing: tuple[float, float]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((spacing[1], spacing[0], 2.5))
    sitk.WriteImage(image, path)
    return path


def write_dicom(folder: Path, hu: NDArray[np.int16], spacing: tuple[float, float]) -> Path:
    def shape(ct: Any, index: int) -> None:
        ct.PixelSpacing = list(spacing)

    write_series(folder, hu, shape)
    return folder


@pytest.mark.parametrize("container", ["nifti", "dicom"])
def test_pixels_of_any_shape_give_the_mask_of_square_ones(
    container: str,
    scan: NDArray[np.int16],
    lungseg: Callable[..., Result],
    tmp_path: Path,
) -> None:
    # This network looks at 21 x 21 pixels. It takes the air around the patient for lung as well, so
    # the background must agree, too.
    run = write_network(tmp_path / "run", (256, 256), reach=10)
    for name, factors in SHAPES.items():
        hu = np.rint(binned(scan, factors)).astype(np.int16)
        spacing = PIXEL * factors[0], PIXEL * factors[1]
        if container == "nifti":
            write_nifti(tmp_path / "in" / f"{name}.nii.gz", hu, spacing)
        else:
            write_dicom(tmp_path / "in" / name, hu, spacing)
    settings = [word for setting in RAW for word in ("-s", setting)]
    output = tmp_path / "out"
    done = lungseg("infer", tmp_path / "in", "--run", run, "-o", output, *settings)
    assert done.exit_code == 0, done.output
    volumes = {row["case"]: float(row["lung_volume_ml"]) for row in read_csv(output / "cases.csv")}
    masks = {
        name: sitk.GetArrayFromImage(sitk.ReadImage(output / f"{name}.nii.gz")) for name in SHAPES
    }
    for name, factors in SHAPES.items():
        wanted = binned(masks["square"], factors) >= 0.5
        assert masks[name].shape == wanted.shape
        assert dice(masks[name] > 0, wanted) >= 0.98
        assert dice(masks[name] == 0, ~wanted) >= 0.98
        assert volumes[name] == pytest.approx(volumes["square"], rel=0.02)


@pytest.mark.parametrize(
    ("cropped", "factors"),
    [((0, 256), (1, 1)), ((64, 512), (1, 1)), ((0, 512), (2, 1)), ((128, 448), (1, 3))],
)
def test_a_png_and_a_volume_of_one_slice_give_one_mask(
    cropped: tuple[int, int],
    factors: tuple[int, int],
    scan: NDArray[np.int16],
    trained_run: Path,
    lungseg: Callable[..., Result],
    tmp_path: Path,
) -> None:
    hu = np.rint(binned(scan[:1, cropped[0] : cropped[1]], factors)).astype(np.int16)
    spacing = PIXEL * factors[0], PIXEL * factors[1]
    write_nifti(tmp_path / "in" / "volume.nii.gz", hu, spacing)
    write_png(tmp_path / "in" / "slice.png", apply_window(hu[0], (-1000, 400)))
    shape = f"data.pixel_spacing=[{factors[0]}, {factors[1]}]"
    settings = [word for setting in (*RAW, shape) for word in ("-s", setting)]
    output = tmp_path / "out"
    done = lungseg("infer", tmp_path / "in", "--run", trained_run, "-o", output, *settings)
    assert done.exit_code == 0, done.output
    of_volume = sitk.GetArrayFromImage(sitk.ReadImage(output / "volume.nii.gz"))[0] > 0
    of_png = read_pixels(output / "slice.png") > 0
    assert of_png.any()
    assert dice(of_png, of_volume) >= 0.99
    hu_slice = Segmenter(trained_run).segment(hu[0], spacing=spacing) > 0
    np.testing.assert_array_equal(hu_slice, of_volume)


@pytest.mark.parametrize("name", ["columns_3x", "rows_3x"])
def test_a_scan_whose_pixels_are_not_square_has_the_mask_of_one_whose_are(
    name: str, tmp_path: Path
) -> None:
    path = CASES / "09-pixels-that-are-not-square" / f"{name}.nii.gz"
    if not path.exists():
        pytest.skip(f"{path.relative_to(CASES.parent)} is not here")
    ct = sitk.ReadImage(path)
    fine = min(ct.GetSpacing()[:2])
    size = [round(n * mm / fine) for n, mm in zip(ct.GetSize(), ct.GetSpacing(), strict=True)]
    square = sitk.Resample(
        ct, [*size[:2], ct.GetSize()[2]], sitk.Transform(), sitk.sitkLinear, ct.GetOrigin(),
        [fine, fine, ct.GetSpacing()[2]], ct.GetDirection(), -1000,
    )  # fmt: skip
    network = write_network(tmp_path / "run", (256, 256), reach=10)
    predictor, settings = Predictor(network / "model.onnx"), load_config(None, RAW)
    masks = []
    for scan in (ct, square):
        labels = segment_ct(predictor, ct_from_image(scan), settings).image
        on_grid = sitk.Resample(labels, ct, sitk.Transform(), sitk.sitkNearestNeighbor)
        masks.append(sitk.GetArrayFromImage(on_grid) > 0)
    assert dice(*masks) >= 0.97
    assert dice(~masks[0], ~masks[1]) >= 0.97


def test_a_png_and_a_volume_of_a_real_slice_give_one_mask(tmp_path: Path) -> None:
    folder = CASES / "10-png-slices-that-are-not-square"
    if not folder.exists():
        pytest.skip("shared/cases/10-png-slices-that-are-not-square is not here")
    run = write_network(tmp_path / "run", (256, 256), reach=10)
    infer(load_config(None, RAW), folder, tmp_path / "out", run=run)
    of_volume = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "volume.nii.gz"))[0] > 0
    of_png = read_pixels(tmp_path / "out" / "slice.png") > 0
    assert dice(of_png, of_volume) >= 0.99
    assert dice(~of_png, ~of_volume) >= 0.99


def test_prepare_makes_one_slice_of_a_png_and_of_a_volume(
    scan: NDArray[np.int16], tiny_config: Config, tmp_path: Path
) -> None:
    hu = np.rint(binned(scan[:1, :300], (1, 3))).astype(np.int16)
    mask = (hu < -500).astype(np.uint8)
    for folder, values in (("images", hu), ("masks", mask)):
        (tmp_path / folder).mkdir()
        write_nifti(tmp_path / folder / "volume.nii.gz", values, (PIXEL, 3 * PIXEL))
    write_png(tmp_path / "images" / "plain.png", apply_window(hu[0], (-1000, 400)))
    write_png(tmp_path / "masks" / "plain.png", mask[0] * 255)
    config = with_overrides(tiny_config, {"data.pixel_spacing": [0.5, 1.5]})
    prepare(config, tmp_path / "images", tmp_path / "masks", tmp_path / "prepared")
    for folder in ("images", "masks"):
        made = [
            read_pixels(tmp_path / "prepared" / folder / f"{name}.png")
            for name in ("volume_z0001", "plain")
        ]
        np.testing.assert_array_equal(made[0], made[1])
        # 300 x 510 mm: padded above and below, and nowhere else.
        height = round(SIDE * 300 / 510)
        top = (SIDE - height) // 2
        assert not made[0][:top].any() and not made[0][top + height :].any()
        assert made[0][top : top + height].any(axis=0).sum() > SIDE / 2
    sizes = {
        row["case"]: (row["source_height"], row["source_width"])
        for row in read_csv(tmp_path / "prepared" / "manifest.csv")
    }
    assert set(sizes.values()) == {("300", "170")}


def test_tiles_see_square_pixels(tmp_path: Path) -> None:
    # The network takes dark for lung, so a mask is the disc that was drawn.
    y, x = np.indices((96, 32)).astype(float)
    disc = (y - 47.5) ** 2 + (3 * (x - 15.5)) ** 2 < 30**2
    hu = np.where(disc, -900, 40).astype(np.int16)
    write_network(tmp_path / "run", (24, 24))
    seen: list[np.ndarray] = []

    class Watched(Segmenter):
        def __init__(self) -> None:
            super().__init__(tmp_path / "run")
            self._config = with_overrides(self._config, {"infer.tiles": True})
            tiled = self._predictor.tiled

            def watched(image: np.ndarray, *given: Any) -> np.ndarray:
                seen.append(image)
                return tiled(image, *given)

            self._predictor.tiled = watched  # type: ignore[assignment, method-assign]

    mask = Watched().segment(hu, spacing=(1.0, 3.0)) > 0
    assert dice(mask, disc) > 0.98
    [image] = seen
    rows, columns = (np.flatnonzero((image < 100).any(axis=axis)) for axis in (1, 0))
    assert abs(len(rows) - len(columns)) <= 3
    assert image.size == pytest.approx(hu.size, rel=0.02)


def test_a_network_of_version_0_1_sees_slices_as_it_was_trained(tmp_path: Path) -> None:
    write_network(tmp_path / "run", (24, 24))
    description = read_json(tmp_path / "run" / "model.json")
    del description["input"]["square_pixels"]
    write_json(tmp_path / "run" / "model.json", description)
    lungs = Segmenter(tmp_path / "run")
    seen: list[np.ndarray] = []
    predict = lungs._predictor.probabilities
    lungs._predictor.probabilities = lambda slices: seen.extend(slices) or predict(slices)  # type: ignore[method-assign, func-returns-value]
    dark = np.full((12, 24), -900, np.int16)
    lungs.segment(dark, spacing=(2.0, 1.0))
    [image] = seen
    assert (image > 0).any(axis=1).sum() == 12  # padded, whatever the pixels are


def test_slices_that_prepare_did_not_make_square_are_refused_to_score_and_to_train(
    tiny_config: Config, tmp_path: Path
) -> None:
    write_network(tmp_path / "run", (SIDE, SIDE))
    for folder in ("images", "masks"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
        write_png(tmp_path / "raw" / folder / "a.png", np.full((30, 20), 255, np.uint8))
    config = with_overrides(
        tiny_config, {"data.pixel_spacing": [1.0, 1.5], "split.group_regex": None}
    )
    with pytest.raises(UsageError, match="lungseg prepare"):
        evaluate(config, tmp_path / "run", tmp_path / "raw")
    config = with_overrides(config, {"data.pixel_spacing": [1.5, 1.5]})
    result = evaluate(config, tmp_path / "run", tmp_path / "raw")
    assert result.summary["overall"]["lung"]["dice"]["mean"] == 0


@pytest.mark.parametrize("spacing", [(1.0,), (0.0, 1.0), (1.0, float("nan")), (1.0, float("inf"))])
def test_a_spacing_is_two_lengths(spacing: Any, tmp_path: Path) -> None:
    lungs = Segmenter(write_network(tmp_path / "run", (8, 8)))
    with pytest.raises(UsageError, match="two numbers of mm above 0"):
        lungs.segment(np.full((8, 8), -900, np.int16), spacing=spacing)
