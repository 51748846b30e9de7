"""Tiles, flips, probability maps, animations, DICOM objects, and cases shared over a cluster."""

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence
from typer.testing import Result

from lungseg.config.schema import Config, InferConfig
from lungseg.errors import UsageError
from lungseg.imaging.labels import UNLABELLED
from lungseg.imaging.pixels import apply_window, read_pixels, write_png
from lungseg.imaging.structures import read_structures
from lungseg.imaging.volume_files import read_ct
from lungseg.inference.predictor import Predictor
from lungseg.inference.tiling import tiles
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient
from lungseg.system.files import sha256_of_file
from lungseg.system.written import read_written
from lungseg.verbs.infer import infer
from tests.support.dicom_files import write_series
from tests.support.networks import write_classes, write_sides
from tests.support.outputs import hashes
from tests.support.phantoms import SIDE
from tests.support.volumes import phantom_arrays, phantom_volume

Shell = Callable[..., Result]


def with_infer(config: Config, **settings: object) -> Config:
    return config.model_copy(update={"infer": InferConfig.model_validate(settings)})


def write_nifti(path: Path) -> Path:
    sitk.WriteImage(phantom_volume(spacing=(4.0, 4.0, 10.0))[0], str(path))
    return path


@given(
    height=st.integers(32, 400),
    width=st.integers(32, 400),
    tile=st.tuples(st.integers(8, 32), st.integers(8, 32)),
)
def test_tiles_cover_every_pixel_and_overlap(
    height: int, width: int, tile: tuple[int, int]
) -> None:
    covered = np.zeros((height, width), int)
    found = tiles((height, width), tile)
    for rows, columns in found:
        assert (rows.stop - rows.start, columns.stop - columns.start) == tile
        assert rows.start >= 0 <= columns.start
        covered[rows, columns] += 1
    assert covered.shape == (height, width)
    assert covered.min() >= 1
    for axis, length in ((0, tile[0]), (1, tile[1])):
        starts = sorted({place[axis].start for place in found})
        assert all(b - a <= length - length // 4 for a, b in itertools.pairwise(starts))
    assert len({(r.start, c.start) for r, c in found}) == len(found)


def test_tiles_of_one_size_are_the_plain_prediction(trained_run: Path) -> None:
    predictor = Predictor(trained_run / "model.onnx")
    hu, _ = make_slice(make_patient(4), 0.5, SIDE)
    image = apply_window(hu, predictor.data.window)
    plain = predictor.probabilities([image])[0]
    np.testing.assert_allclose(predictor.tiled(image), plain, atol=1e-6)


def test_tiles_leave_no_seam(trained_run: Path) -> None:
    # On an image without any structure, whatever a tile says is said everywhere but at its edges.
    predictor = Predictor(trained_run / "model.onnx")
    flat = np.full((3 * SIDE, 2 * SIDE + 10), 120, np.uint8)
    p = predictor.tiled(flat)
    assert p.shape == (*flat.shape, 2)
    np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-5)
    steps = np.abs(np.diff(p[..., 1], axis=0)).max()
    one = predictor.probabilities([flat[:SIDE, :SIDE]])[0]
    assert steps <= np.abs(np.diff(one[..., 1], axis=0)).max() + 0.05


def test_large_images_are_tiled_when_asked(
    trained_run: Path, tmp_path: Path, tiny_config: Config
) -> None:
    hu, _ = make_slice(make_patient(4), 0.5, 3 * SIDE)
    write_png(tmp_path / "large.png", apply_window(hu, tiny_config.data.window))
    masks = {}
    for wanted in (False, True):
        config = with_infer(tiny_config, tiles=wanted)
        infer(config, [tmp_path / "large.png"], tmp_path / str(wanted), run=trained_run)
        masks[wanted] = read_pixels(tmp_path / str(wanted) / "large.png")
        assert masks[wanted].shape == (3 * SIDE, 3 * SIDE)
    assert not np.array_equal(masks[False], masks[True])


def test_flips_average_with_the_mirrored_slice(trained_run: Path) -> None:
    path = trained_run / "model.onnx"
    hu, _ = make_slice(make_patient(4), 0.5, SIDE)
    image = apply_window(hu, (-1000, 400))
    plain, flipped = Predictor(path), Predictor(path, flips=True)
    one = plain.probabilities([image])[0]
    other = plain.probabilities([np.fliplr(image)])[0][:, ::-1]
    np.testing.assert_allclose(flipped.probabilities([image])[0], (one + other) / 2, atol=1e-6)
    # And so a mirrored patient gets the mirrored mask.
    mirrored = flipped.probabilities([np.fliplr(image)])[0][:, ::-1]
    np.testing.assert_allclose(flipped.probabilities([image])[0], mirrored, atol=1e-6)


def test_probability_maps_have_the_inputs_geometry(
    trained_run: Path, tmp_path: Path, tiny_config: Config
) -> None:
    source = write_nifti(tmp_path / "ct.nii.gz")
    hu, _ = make_slice(make_patient(4), 0.5, 100)
    write_png(tmp_path / "slice.png", apply_window(hu, (-1000, 400)))
    raw = {"components": 0, "min_component_ml": 0, "fill_holes": False, "drop_air": False}
    config = with_infer(tiny_config, probabilities=True, **raw)
    infer(config, [source, tmp_path / "slice.png"], tmp_path / "out", run=trained_run)
    folder = tmp_path / "out" / "probabilities"
    certainty = sitk.ReadImage(str(folder / "ct.nii.gz"))
    mask = sitk.ReadImage(str(tmp_path / "out" / "ct.nii.gz"))
    assert certainty.GetSize() == mask.GetSize()
    assert certainty.GetSpacing() == mask.GetSpacing()
    values, labels = sitk.GetArrayFromImage(certainty), sitk.GetArrayFromImage(mask)
    assert values[labels > 0].min() >= 127
    picture = read_pixels(folder / "slice.png")
    assert picture.shape == (100, 100)
    assert picture[read_pixels(tmp_path / "out" / "slice.png") > 0].min() >= 127


def test_a_volume_becomes_an_animation(
    trained_run: Path, tmp_path: Path, tiny_config: Config
) -> None:
    source = write_nifti(tmp_path / "ct.nii.gz")
    config = with_infer(tiny_config, video=True, video_fps=4)
    infer(config, [source], tmp_path / "out", run=trained_run)
    slices = sitk.ReadImage(str(source)).GetSize()[2]
    with Image.open(tmp_path / "out" / "overlays" / "ct.gif") as animation:
        assert animation.n_frames >= 7  # equal neighbours may be shown as one, longer
        assert animation.size == (SIDE, SIDE)
        frames = ImageSequence.Iterator(animation)
        assert sum(frame.info["duration"] for frame in frames) == slices * 250  # ms


def test_a_film_shows_every_slice_at_its_rate(
    trained_run: Path, tmp_path: Path, tiny_config: Config
) -> None:
    import cv2

    source = write_nifti(tmp_path / "ct.nii.gz")
    config = with_infer(tiny_config, video=True, video_format="mp4", video_fps=4)
    infer(config, [source], tmp_path / "out", run=trained_run)
    assert not (tmp_path / "out" / "overlays" / "ct.gif").exists()
    film = cv2.VideoCapture(str(tmp_path / "out" / "overlays" / "ct.mp4"))
    size = film.get(cv2.CAP_PROP_FRAME_HEIGHT), film.get(cv2.CAP_PROP_FRAME_WIDTH)
    assert (film.get(cv2.CAP_PROP_FPS), size) == (4, (SIDE, SIDE))
    slices = sitk.ReadImage(str(source)).GetSize()[2]
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == slices
    # `--overwrite` knows the film as its own, and a repeated run replaces it.
    infer(config, [source], tmp_path / "out", run=trained_run, overwrite=True)
    assert (tmp_path / "out" / "overlays" / "ct.mp4").is_file()


@pytest.mark.parametrize("sides", [False, True])
def test_a_dicom_seg_refers_to_its_series(
    trained_run: Path, tmp_path: Path, tiny_config: Config, sides: bool
) -> None:
    import highdicom
    import pydicom

    files = write_series(tmp_path / "case", phantom_arrays()[0])
    config = with_infer(tiny_config, dicom_seg=True, sides=sides, min_component_ml=0)
    result = infer(config, [tmp_path / "case"], tmp_path / "out", run=trained_run)
    assert not result.failed
    seg = highdicom.seg.segread(str(tmp_path / "out" / "case.dcm"))
    source = {pydicom.dcmread(f).SOPInstanceUID: pydicom.dcmread(f) for f in files}
    used = {uid for *_, uid in seg.get_source_image_uids()}
    assert used
    assert used <= set(source)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "case.nii.gz")))
    by_height = sorted(source, key=lambda uid: source[uid].ImagePositionPatient[2])
    pixels = seg.get_pixels_by_source_instance(
        by_height, combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(pixels, labels)


def test_an_rtstruct_lies_in_a_folder_of_its_own_and_is_known_as_written(
    trained_run: Path, tmp_path: Path, tiny_config: Config
) -> None:
    write_series(tmp_path / "case", phantom_arrays()[0])
    config = with_infer(tiny_config, rtstruct=True, dicom_seg=True, sides=True, min_component_ml=0)
    result = infer(config, [tmp_path / "case"], tmp_path / "out", run=trained_run)
    assert not result.failed
    ct = read_ct(tmp_path / "case")
    path = tmp_path / "out" / "rtstruct" / "case.dcm"
    volume, _ = read_structures(path, ct.image, tiny_config.data)
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "case.nii.gz")))
    assert mask.any()
    # Slices between others that hold no lung are read as not labelled.
    drawn = np.where(volume.labels == UNLABELLED, 0, volume.labels)
    np.testing.assert_array_equal(drawn > 0, mask > 0)
    written = read_written(tmp_path / "out").files
    assert written["rtstruct/case.dcm"].sha256 == sha256_of_file(path)
    assert written["case.dcm"].sha256 == sha256_of_file(tmp_path / "out" / "case.dcm")
    # What a person changed in it is not overwritten.
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UsageError, match=r"rtstruct/case\.dcm"):
        infer(config, [tmp_path / "case"], tmp_path / "out", run=trained_run, overwrite=True)


@pytest.mark.parametrize(
    ("greys", "said"),
    [
        ({"soft": 200, "infection": 20}, "the network has the class infection"),
        ({"soft": 200, "left": 20, "right": 60}, "the network has the classes left, right"),
    ],
)
def test_what_is_not_lung_alone_has_no_dicom_seg(
    greys: dict[str, int],
    said: str,
    tmp_path: Path,
    tiny_config: Config,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = write_classes(tmp_path / "run", (SIDE, SIDE), greys)
    write_series(tmp_path / "case", phantom_arrays()[0])
    config = with_infer(tiny_config, dicom_seg=True, rtstruct=True)
    infer(config, tmp_path / "case", tmp_path / "out", run=run)
    [row] = json.loads((tmp_path / "out" / "cases.json").read_text())
    assert row["detail"].startswith(f"no DICOM-SEG: it is of lung alone, and {said}")
    for kind in ("DICOM-SEG", "RTSTRUCT"):
        assert f"case: no {kind}: it is of lung alone, and {said}" in caplog.messages
    assert not list((tmp_path / "out").rglob("*.dcm"))


def test_refused_sides_leave_the_output_as_it_was(tmp_path: Path, tiny_config: Config) -> None:
    run = write_classes(tmp_path / "run", (SIDE, SIDE), {"soft": 200, "left": 20, "right": 60})
    source = write_nifti(tmp_path / "ct.nii.gz")
    config = with_infer(tiny_config, sides=True)
    with pytest.raises(UsageError, match="classes left, right"):
        infer(config, source, tmp_path / "out", run=run)
    assert not (tmp_path / "out").exists()
    infer(tiny_config, source, tmp_path / "out", run=run)
    before = hashes(tmp_path / "out")
    with pytest.raises(UsageError, match="classes left, right"):
        infer(config, source, tmp_path / "out", run=run, overwrite=True)
    assert hashes(tmp_path / "out") == before


def test_a_volume_without_series_has_no_dicom_seg_and_says_so(
    trained_run: Path, tmp_path: Path, tiny_config: Config
) -> None:
    source = write_nifti(tmp_path / "ct.nii.gz")
    config = with_infer(tiny_config, dicom_seg=True, rtstruct=True)
    infer(config, [source], tmp_path / "out", run=trained_run)
    [row] = json.loads((tmp_path / "out" / "cases.json").read_text())
    assert "no DICOM-SEG" in row["detail"]
    assert "no RTSTRUCT" in row["detail"]
    assert not (tmp_path / "out" / "rtstruct").exists()


def test_measurements_are_json_too(trained_run: Path, tmp_path: Path, tiny_config: Config) -> None:
    source = write_nifti(tmp_path / "ct.nii.gz")
    infer(tiny_config, [source], tmp_path / "out", run=trained_run)
    [row] = json.loads((tmp_path / "out" / "cases.json").read_text())
    assert row["status"] == "done"
    assert isinstance(row["lung_volume_ml"], float)
    assert isinstance(row["touches_border"], bool)


@pytest.mark.slow
def test_a_worker_that_dies_loses_no_case(
    trained_run: Path, tmp_path: Path, tiny_config: Config
) -> None:
    from distributed import LocalCluster

    inputs = [write_nifti(tmp_path / f"case{number}.nii.gz") for number in range(24)]
    inputs.append(tmp_path / "broken.nii.gz")
    inputs[-1].write_bytes(b"no volume")
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        victim = next(iter(cluster.workers.values())).pid

        def kill_midway() -> None:
            while len(list((tmp_path / "out").glob("case*.nii.gz"))) < 3:
                time.sleep(0.02)
            os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill_midway, daemon=True)
        killer.start()
        config = with_infer(tiny_config, threads=1)
        result = infer(
            config, inputs, tmp_path / "out", run=trained_run, scheduler=cluster.scheduler_address
        )
        killer.join(timeout=60)
        assert victim not in {worker.pid for worker in cluster.workers.values()}
    assert [row.case for row in result.failed] == ["broken"]
    names = [row.case for row in result.cases]
    assert sorted(names) == sorted([f"case{number}" for number in range(24)] + ["broken"])
    reference = None
    for number in range(24):
        mask = sitk.GetArrayFromImage(
            sitk.ReadImage(str(tmp_path / "out" / f"case{number}.nii.gz"))
        )
        reference = mask if reference is None else reference
        np.testing.assert_array_equal(mask, reference)
    assert not list((tmp_path / "out").glob(".partial*"))


def test_a_scheduler_that_does_not_answer_is_an_error(
    trained_run: Path, tmp_path: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lungseg.inference import cases

    monkeypatch.setattr(cases, "CONNECT_S", 1)
    source = write_nifti(tmp_path / "ct.nii.gz")
    with pytest.raises(UsageError, match="no Dask scheduler answers"):
        infer(
            tiny_config,
            [source],
            tmp_path / "out",
            run=trained_run,
            scheduler="tcp://127.0.0.1:9",
        )


def test_a_long_volume_takes_its_labels_memory_and_no_more(
    trained_run: Path, tiny_config: Config
) -> None:
    import tracemalloc

    from lungseg.inference.volumes import _predict

    predictor = Predictor(trained_run / "model.onnx")
    beyond = []
    for count in (100, 1000):
        hu = np.zeros((count, SIDE, SIDE), np.int16)
        tracemalloc.start()
        _predict(predictor, hu, (1.0, 1.0), "long", tiny_config)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        beyond.append(peak - hu.size)  # a byte of label for each voxel
    assert beyond[1] <= beyond[0] + 500_000


def test_flips_leave_left_and_right_where_they_are(tmp_path: Path, lungseg: Shell) -> None:
    run = write_sides(tmp_path / "run", (SIDE, SIDE))
    grey = np.full((SIDE, SIDE), 200, np.uint8)
    grey[10:50, 8:20] = grey[20:40, 40:50] = 20
    write_png(tmp_path / "a.png", grey)
    for flips in ("false", "true"):
        out = tmp_path / flips
        given = ("--run", run, tmp_path / "a.png", "-o", out, "-s", f"infer.flips={flips}")
        assert lungseg("infer", *given).exit_code == 0
        # Radiological: the right lung, class 2, is on the left of the picture.
        expected = np.where(grey == 20, np.where(np.arange(SIDE) < SIDE / 2, 2, 1), 0)
        np.testing.assert_array_equal(read_pixels(out / "a.png"), expected)
