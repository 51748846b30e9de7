"""A volume is predicted slice by slice without stretching, and tidied with its own HU."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config, InferConfig
from lungseg.errors import UsageError
from lungseg.imaging.folders import Input
from lungseg.imaging.volume_files import ct_from_image
from lungseg.inference import body, volumes
from lungseg.inference.certainty import Certainty
from lungseg.inference.predictor import Predictor
from lungseg.inference.sides import find_sides
from lungseg.inference.slices import per_worker, predict_batch, predict_slices
from lungseg.inference.threshold import find_body
from lungseg.inference.volumes import _write_dicom, segment_ct, segment_file, write_files
from tests.support.dicom_files import write_series
from tests.support.networks import write_classes, write_network
from tests.support.volumes import image_of

SIDE = 30


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    return Predictor(write_network(tmp_path / "run", (SIDE, SIDE)) / "model.onnx")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", [(30, 12), (30, 21), (18, 30), (30, 30)])
@pytest.mark.parametrize("tiles", [False, True])
def test_a_slice_that_is_no_square_is_not_stretched(
    shape: tuple[int, int], tiles: bool, predictor: Predictor
) -> None:
    # Its longer side is the network's, so each pixel is predicted by its own grey.
    greys = noise(5, *shape)
    settings = InferConfig(batch_size=2, tiles=tiles)
    found = np.stack(list(predict_slices(predictor, greys, settings)))
    np.testing.assert_allclose(found[..., 1], 1 - greys / 255, atol=1e-6)
    np.testing.assert_allclose(found[..., 0], greys / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "in_tiles"),
    [((30, 47), True), ((29, 47), False), ((47, 30), True), ((47, 29), False)],
)
def test_a_slice_larger_than_the_network_on_both_sides_is_predicted_in_tiles(
    shape: tuple[int, int], in_tiles: bool, predictor: Predictor
) -> None:
    grey = noise(*shape)
    [found] = predict_slices(predictor, [grey], InferConfig(tiles=True))
    # Tiles leave each pixel's grey as it is; a smaller slice is a mean over pixels.
    assert np.allclose(found[..., 1], 1 - grey / 255, atol=1e-5) == in_tiles


def test_each_side_of_a_slice_is_compared_with_the_same_side_of_the_network(tmp_path: Path) -> None:
    predictor = Predictor(write_network(tmp_path / "run", (20, 40)) / "model.onnx")
    greys = [noise(*shape) for shape in ((60, 30), (30, 60), (21, 41))]
    found = list(predict_slices(predictor, greys, InferConfig(tiles=True, batch_size=3)))
    assert [p.shape[:2] for p in found] == [grey.shape for grey in greys]
    in_tiles = [
        np.allclose(p[..., 1], 1 - grey / 255, atol=1e-5)
        for p, grey in zip(found, greys, strict=True)
    ]
    assert in_tiles == [False, True, True]


def chest() -> tuple[sitk.Image, dict[str, Any]]:
    """Return a scan of two lungs and a larger bowel full of gas below, and where each is."""
    hu = np.full((20, SIDE, SIDE), 40, np.int16)
    where = {
        "right": np.s_[13:19, 4:26, 2:8],
        "left": np.s_[13:19, 4:26, 11:17],
        "bowel": np.s_[1:12, 4:26, 20:29],
    }
    for name, value in (("right", -800), ("left", -860), ("bowel", -1000)):
        hu[where[name]] = value
    return image_of(hu, (5.0, 5.0, 10.0)), where


@pytest.mark.parametrize("drop_air", [True, False])
def test_gas_in_the_bowel_is_no_lung(drop_air: bool, predictor: Predictor) -> None:
    image, where = chest()
    config = with_overrides(Config(), {"infer.drop_air": drop_air, "infer.probabilities": True})
    result = segment_ct(predictor, ct_from_image(image), config)
    expected = np.zeros((20, SIDE, SIDE), np.uint8)
    for name in ("right", "left") if drop_air else where:
        expected[where[name]] = 1
    np.testing.assert_array_equal(result.mask, expected)
    assert any("1 part of air" in step for step in result.steps) == drop_air
    # 6 x 22 x 6 voxels of 0.25 mL each.
    right, left = result.measured.right, result.measured.left
    if drop_air:
        assert (right.volume_ml, right.mean_hu) == (198.0, -800)
        assert (left.volume_ml, left.mean_hu) == (198.0, -860)
    # Black is -1000 HU and white 400, so 40 HU is grey 189, and p(lung) = 1 - 189 / 255.
    assert result.probability is not None
    assert result.probability[0, 0, 0] == 255 - 189
    assert result.probability[1, 4, 20] == 255


# Grey 36 is -800 HU, 25 is -860 HU, 91 is -500 HU, 0 is -1000 HU and 189 is 40 HU.
GREYS = {"soft": 189, "infections": 91, "left lung": 25, "right lung": 36, "airways": 0}


@pytest.fixture
def several(tmp_path: Path) -> Predictor:
    return Predictor(write_classes(tmp_path / "run", (SIDE, SIDE), GREYS) / "model.onnx")


def lungs_with_infection_and_airways() -> tuple[np.ndarray, np.ndarray]:
    """Return HU `(8, SIDE, SIDE)`, and the class index of each voxel."""
    classes = np.zeros((8, SIDE, SIDE), np.uint8)
    classes[1:7, 4:26, 2:11], classes[1:7, 4:26, 17:26] = 3, 2
    classes[2:6, 8, 4], classes[2:6, 12, 20] = 1, 1  # two spots of infection, of 0.25 mL a voxel
    classes[1:7, 14, 13:15] = 4
    return np.array([40, -500, -860, -800, -1000], np.int16)[classes], classes


def test_a_volume_comes_out_with_every_class(several: Predictor) -> None:
    hu, classes = lungs_with_infection_and_airways()
    result = segment_ct(several, ct_from_image(image_of(hu, (5.0, 5.0, 10.0))), Config())
    np.testing.assert_array_equal(result.mask, classes)
    # The lungs are measured with their infection and without the airways.
    lung = np.count_nonzero(np.isin(classes, (1, 2, 3)))
    assert result.lung_voxels == lung
    assert result.measured.lung.volume_ml == lung / 4
    assert result.measured.left.volume_ml == np.count_nonzero(classes[..., 15:]) / 4


def test_each_class_is_tidied_by_itself(several: Predictor) -> None:
    hu, classes = lungs_with_infection_and_airways()
    hu[3, 20, 5], hu[3, 20, 22] = -860, 40  # a left voxel in the right lung, a hole in the left
    hu[3, 1:3, 28] = -860  # a small part apart, to be dropped
    result = segment_ct(several, ct_from_image(image_of(hu, (5.0, 5.0, 10.0))), Config())
    np.testing.assert_array_equal(result.mask, classes)
    assert any(step.startswith("left lung: 2 small parts dropped") for step in result.steps)


def test_the_body_is_found_once_for_all_classes_and_the_sides(
    several: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def counted(*arguments: Any) -> Any:
        found.append(arguments)
        return find_body(*arguments)

    monkeypatch.setattr(body, "find_body", counted)
    hu, _ = lungs_with_infection_and_airways()
    segment_ct(several, ct_from_image(image_of(hu, (5.0, 5.0, 10.0))), Config())
    assert len(found) == 1


def test_sides_of_a_network_with_several_classes_are_refused(several: Predictor) -> None:
    hu, _ = lungs_with_infection_and_airways()
    config = with_overrides(Config(), {"infer.sides": True})
    with pytest.raises(UsageError, match="infections, left lung, right lung, airways"):
        segment_ct(several, ct_from_image(image_of(hu)), config)


def test_several_classes_have_no_dicom_seg_and_that_is_said(
    several: Predictor, tmp_path: Path
) -> None:
    hu, _ = lungs_with_infection_and_airways()
    write_series(tmp_path / "case", hu)
    config = with_overrides(
        Config(),
        {"infer.dicom_seg": True, "infer.min_component_ml": 0, "infer.gallery": "none"},
    )
    (tmp_path / "out").mkdir()
    item = Input(tmp_path / "case", "case", True)
    result = segment_file(several, item, config)
    result = write_files(result, several, item, tmp_path / "out", config)
    assert result.lung_voxels > 0
    [said] = [remark for remark in result.remarks if "DICOM-SEG" in remark]
    assert said.startswith("no DICOM-SEG: it is of lung alone")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["case.nii.gz"]


@pytest.mark.parametrize(("threads", "batch_size"), [(1, 1), (3, 4), (2, 7)])
def test_every_slice_gets_its_own_prediction_however_many_are_predicted_at_once(
    threads: int, batch_size: int, tmp_path: Path
) -> None:
    # Each slice has a grey of its own, so one that is exchanged or left out shows.
    path = write_network(tmp_path / "run", (SIDE, SIDE)) / "model.onnx"
    greys = np.arange(0, 250, 6, dtype=np.uint8)
    hu = np.rint(greys / 255 * 1400 - 1000).astype(np.int16)
    image = image_of(np.broadcast_to(hu[:, None, None], (len(hu), SIDE, SIDE)).copy())
    changes = {"infer.probabilities": True, "infer.batch_size": batch_size}
    config = with_overrides(Config(), changes)
    result = segment_ct(Predictor(path, threads), ct_from_image(image), config)
    assert result.probability is not None
    np.testing.assert_array_equal(result.probability[:, 3, 4], 255 - greys)
    # Of the pixels, p is 1 - g / 255 each and lung if that is above a half.
    lung = greys < 127.5
    inside, p = np.count_nonzero(lung), 1 - greys / 255
    assert result.quality.certainty == pytest.approx(
        2 * p[lung].sum() / (inside + p.sum()), abs=1e-4
    )


@pytest.mark.parametrize("batch_size", [1, 3, 8, 64])
def test_the_count_of_slices_ends_at_their_number(
    batch_size: int, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(
        "lungseg.system.console.Bar.advance",
        lambda bar, count=1, extra=None: counts.append(count) if bar.total == 20 else None,
    )
    image, _ = chest()
    config = with_overrides(Config(), {"infer.batch_size": batch_size})
    segment_ct(predictor, ct_from_image(image), config)
    assert sum(counts) == 20


def test_the_certainty_is_the_same_however_many_slices_are_predicted_at_once(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals: list[tuple[float, float]] = []

    def value(certainty: Certainty) -> float:
        totals.append((certainty._both, certainty._sum))
        return 0.9

    def predict(_: Predictor, batch: list[np.ndarray], *__: Any, **more: Any) -> list[np.ndarray]:
        background = [np.exp(np.float32(-3) * grey) for grey in batch]  # 1 down to 1e-38
        return [np.stack([each, 1 - each], axis=-1) for each in background]

    monkeypatch.setattr("lungseg.inference.volumes.predict_batch", predict)
    monkeypatch.setattr(Certainty, "value", property(value))
    hu = np.random.default_rng(0).integers(-1000, 400, (40, SIDE, SIDE)).astype(np.int16)
    for batch_size in (1, 3, 7, 16, 40):
        config = with_overrides(Config(), {"infer.batch_size": batch_size * predictor.workers})
        segment_ct(predictor, ct_from_image(image_of(hu)), config)
    assert len(set(totals)) == 1  # to the last bit: a sum depends on the order of its terms


def test_an_error_in_one_of_many_slices_ends_the_volume(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = chest()

    def fail(*arguments: Any, **more: Any) -> Any:
        raise MemoryError("no memory for a slice")

    monkeypatch.setattr("lungseg.inference.volumes.predict_batch", fail)
    with pytest.raises(MemoryError, match="no memory for a slice"):
        segment_ct(predictor, ct_from_image(image), Config())


def test_ctrl_c_leaves_the_slices_out_that_have_not_begun(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = image_of(np.full((400, SIDE, SIDE), -1000, np.int16))
    predicted = []

    def counted(*arguments: Any, **more: Any) -> Any:
        predicted.append(arguments)
        return predict_batch(*arguments, **more)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lungseg.inference.volumes.predict_batch", counted)
    monkeypatch.setattr("lungseg.system.console.Bar.advance", interrupt)
    with pytest.raises(KeyboardInterrupt):
        segment_ct(predictor, ct_from_image(image), Config())
    assert len(predicted) <= 5 * predictor.workers  # of 400 or fewer


@pytest.mark.parametrize(
    ("greys", "is_of_lung", "named"),
    [
        ({"soft": 189, "lung": 25}, True, ""),
        ({"soft": 189, "heart": 25}, False, "the class heart"),
        ({"soft": 189, "lung": 25, "airways": 0}, False, "the classes lung, airways"),
    ],
)
def test_dicom_objects_are_of_lung_alone(
    greys: dict[str, int],
    is_of_lung: bool,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[tuple[Any, ...]] = []

    def write(*given: Any, **more: Any) -> list[str]:
        written.append((*given, more))
        return [f"told of {given[3]}"]

    monkeypatch.setattr("lungseg.imaging.dicom.segmentation.write_dicom_seg", write)
    monkeypatch.setattr("lungseg.imaging.dicom.structure_set.write_structure_set", write)
    several = Predictor(write_classes(tmp_path / "net", (SIDE, SIDE), greys) / "model.onnx")
    image, _ = chest()
    item = Input(tmp_path / "a", "a", True)
    result = segment_ct(several, replace(ct_from_image(image), name="a"), Config())
    for kinds in ((), ("dicom_seg",), ("rtstruct",), ("dicom_seg", "rtstruct")):
        settings = InferConfig().model_copy(update=dict.fromkeys(kinds, True))
        written.clear()
        said = _write_dicom(result, several, item, tmp_path, settings)
        paths = {"dicom_seg": tmp_path / "a.dcm", "rtstruct": tmp_path / "rtstruct" / "a.dcm"}
        if is_of_lung:
            assert [given[3] for given in written] == [paths[kind] for kind in kinds]
            assert said == [f"told of {paths[kind]}" for kind in kinds]
            for given in written:
                assert given[4]["made_by"] == {"network": "net", "model_sha256": several.sha256}
                assert given[4]["sides"] is False
        else:
            assert written == []
            names = {"dicom_seg": "DICOM-SEG", "rtstruct": "RTSTRUCT"}
            assert said == [
                f"no {names[kind]}: it is of lung alone, and the network has {named}"
                for kind in kinds
            ]


def test_a_mask_is_saved_with_the_suffix_of_a_volume_alone(
    predictor: Predictor, tmp_path: Path
) -> None:
    image, _ = chest()
    result = segment_ct(predictor, ct_from_image(image), Config())
    for name in ("m.nii.gz", "m.nii", "m.mha", "m.nrrd"):
        result.save(tmp_path / name)
        saved = sitk.ReadImage(str(tmp_path / name))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(saved), result.mask)
        assert saved.GetSpacing() == pytest.approx((5.0, 5.0, 10.0))
    for name in ("m.png", "m.dcm", "m"):
        with pytest.raises(UsageError, match=r"a mask is saved as one of \.nii\.gz"):
            result.save(tmp_path / name)


@pytest.mark.parametrize(
    ("slices", "touching", "said"), [(2, False, True), (3, False, False), (2, True, False)]
)
def test_lungs_of_too_few_slices_for_thirds_are_said(
    slices: int, touching: bool, said: bool, predictor: Predictor
) -> None:
    hu = np.full((8, SIDE, SIDE), 40, np.int16)
    first = 0 if touching else 2
    hu[first : first + slices, 6:24, 3:11] = hu[first : first + slices, 6:24, 19:27] = -850
    result = segment_ct(predictor, ct_from_image(image_of(hu, (10.0, 10.0, 10.0))), Config())
    assert result.lung_voxels == slices * 18 * 16
    step = "fewer than 3 slices hold lung, so its thirds are not known"
    assert (step in result.steps) == said
    assert result.remarks[-len(result.flags) :] == [flag.detail for flag in result.flags]


@pytest.mark.parametrize("unknown", [None, "no spine was found"])
def test_sides_that_are_not_known_are_said(
    unknown: str | None, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr("lungseg.inference.volumes.console.warn", warned.append)
    find = find_sides
    monkeypatch.setattr(volumes, "find_sides", lambda *a: replace(find(*a), unknown=unknown))
    result = segment_ct(predictor, replace(ct_from_image(chest()[0]), name="a"), Config())
    assert (f"a: left and right are not known: {unknown}" in warned) == (unknown is not None)
    assert not any("not known: None" in warning for warning in warned)
    assert (result.measured.left.volume_ml is None) == (unknown is not None)


def test_a_volume_without_lung_says_so(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr("lungseg.inference.volumes.console.warn", warned.append)
    hu = np.full((4, SIDE, SIDE), 40, np.int16)
    hu[1, 5, 5] = -1000  # a CT holds air; this much is dropped
    result = segment_ct(predictor, replace(ct_from_image(image_of(hu)), name="a"), Config())
    assert result.lung_voxels == 0
    assert "a: no lung was found in the whole volume" in warned
    assert not any("thirds" in step for step in result.steps)
    assert result.flags[0].code == "no_lung"


@pytest.mark.parametrize("workers", [1, 3, 20])
def test_all_workers_together_have_a_batch(workers: int, predictor: Predictor) -> None:
    predictor.workers = workers
    expected = {1: 8, 3: 2, 20: 1}[workers]
    assert per_worker(predictor, InferConfig(batch_size=8)) == expected
