"""Probabilities change their size by interpolation, checked by hand."""

import itertools
import math
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lungseg.config.schema import DataConfig
from lungseg.errors import DataError, UsageError
from lungseg.imaging.framing import frame_slice
from lungseg.inference.certainty import Usual
from lungseg.inference.predictor import (
    CPU,
    Predictor,
    _providers,
    at_size,
    foreground_map,
    model_paths,
)
from lungseg.inference.tiling import gaussian_weights, tiles
from lungseg.system.environment import cores
from lungseg.system.tables import read_json, write_json
from tests.support.networks import write_classes, write_network, write_sides


def enlarged(values: np.ndarray, count: int) -> np.ndarray:
    """Interpolate along the first axis to `count` pixels of the same total width."""
    size = len(values)
    centres = (np.arange(count) + 0.5) * size / count - 0.5
    lines = [np.interp(centres, np.arange(size), line) for line in values.reshape(size, -1).T]
    return np.stack(lines, axis=1).reshape(count, *values.shape[1:])


@pytest.mark.parametrize("size", [(8, 8), (8, 12), (21, 19)])
def test_probabilities_are_enlarged_linearly(size: tuple[int, int]) -> None:
    lung = np.random.default_rng(0).uniform(size=(4, 6)).astype(np.float32)
    probabilities = np.stack([1 - lung, lung], axis=-1)
    rows = enlarged(lung, size[0])
    expected = enlarged(rows.T, size[1]).T
    found = at_size(probabilities, size)
    np.testing.assert_allclose(found[..., 1], expected, atol=1e-6)
    np.testing.assert_allclose(found[..., 0], 1 - expected, atol=1e-6)


@pytest.mark.parametrize("size", [(24, 17), (17, 24), (7, 24)])
def test_a_prediction_for_a_padded_slice_is_cut_to_it(size: tuple[int, int]) -> None:
    # A network that knows the row and the column of each pixel of the padded slice.
    row, column = np.mgrid[:24, :24].astype(np.float32)
    framing = frame_slice(size, DataConfig(image_size=(24, 24)))
    found = framing.cut(np.stack([row, column], axis=-1))
    top, left = (24 - size[0]) // 2, (24 - size[1]) // 2
    expected_row, expected_column = np.mgrid[top : top + size[0], left : left + size[1]]
    np.testing.assert_array_equal(found[..., 0], expected_row)
    np.testing.assert_array_equal(found[..., 1], expected_column)


def test_the_foreground_is_every_class_but_the_background() -> None:
    probabilities = np.array([[[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.0, 0.4, 0.6]]], np.float32)
    assert foreground_map(probabilities).tolist() == [[204, 0, 255]]


def test_the_weights_of_a_tile_are_gaussian() -> None:
    weights = gaussian_weights((16, 24))
    # One standard deviation is an eighth of a side: 2 rows, 3 columns.
    assert weights[7, 11] / weights[5, 11] == pytest.approx(np.exp((2.5**2 - 0.5**2) / 8), rel=1e-5)
    assert weights[7, 11] / weights[7, 8] == pytest.approx(np.exp((3.5**2 - 0.5**2) / 18), rel=1e-5)
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])


@pytest.mark.parametrize("size", [(12, 20), (37, 20), (12, 61), (37, 61)])
def test_tiles_that_are_no_squares_leave_each_pixel_its_own_prediction(
    size: tuple[int, int], tmp_path: Path
) -> None:
    predictor = Predictor(write_network(tmp_path / "run", (12, 20)) / "model.onnx")
    grey = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    np.testing.assert_allclose(predictor.tiled(grey)[..., 1], 1 - grey / 255, atol=1e-5)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("length", [12, 13, 40, 121])
def test_tiles_cover_an_image_and_overlap_by_their_share(overlap: float, length: int) -> None:
    found = [rows for rows, _ in tiles((length, 12), (12, 12), overlap)]
    assert (found[0].start, found[-1].stop) == (0, length)
    assert {rows.stop - rows.start for rows in found} == {12}
    shared = [before.stop - after.start for before, after in itertools.pairwise(found)]
    assert all(rows >= 12 * overlap - 1e-9 for rows in shared)
    # No more than needed: with one tile fewer, some would overlap by less.
    step = 12 * (1 - overlap)
    assert len(found) == 1 + math.ceil(round((length - 12) / max(1, math.floor(step + 1e-6)), 6))


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
def test_a_local_network_says_the_same_in_tiles_of_any_overlap(
    overlap: float, tmp_path: Path
) -> None:
    predictor = Predictor(write_network(tmp_path / "run", (12, 20)) / "model.onnx")
    grey = np.random.default_rng(0).integers(0, 256, (37, 61), np.uint8)
    found = predictor.tiled(grey, overlap=overlap)
    np.testing.assert_allclose(found[..., 1], 1 - grey / 255, atol=1e-5)


def test_tiles_of_another_size_are_resized_for_the_network(tmp_path: Path) -> None:
    predictor = Predictor(write_network(tmp_path / "run", (12, 20)) / "model.onnx")
    # Blocks of 2 x 2 pixels survive the way to half the size and, away from their edges, back.
    blocks = np.random.default_rng(0).integers(0, 256, (24, 40), np.uint8)
    grey = np.kron(blocks, np.ones((2, 2), np.uint8))
    sizes: list[tuple[int, ...]] = []
    plain = predictor.probabilities

    def watched(slices: Sequence[np.ndarray]) -> np.ndarray:
        sizes.extend(each.shape for each in slices)
        return plain(slices)

    predictor.probabilities = watched  # type: ignore[method-assign]
    found = predictor.tiled(grey, (24, 40), 0.25)
    assert set(sizes) == {(12, 20)}
    assert len(sizes) == 9
    rows = predictor.tiled(np.full((48, 80), 100, np.uint8), (24, 40))
    np.testing.assert_allclose(rows[..., 1], 1 - 100 / 255, atol=1e-5)
    # Interpolation back is linear, so the mean of four equal pixels is near that of the block.
    means = found[..., 1].reshape(24, 2, 40, 2).mean(axis=(1, 3))
    assert np.corrcoef(means.ravel(), (1 - blocks / 255).ravel())[0, 1] > 0.9


def test_tiles_need_the_memory_of_the_result_and_of_one_tile(tmp_path: Path) -> None:
    predictor = Predictor(write_network(tmp_path / "run", (12, 20)) / "model.onnx")
    grey = np.zeros((600, 800), np.uint8)
    predictor.tiled(grey[:24, :40])
    tracemalloc.start()
    try:
        predictor.tiled(grey, overlap=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Two classes and the weights, float32; the tiles are 1 in 2,000 of it, their places as well.
    assert peak < 1.1 * grey.size * 4 * 3


def test_a_flipped_prediction_exchanges_left_and_right(tmp_path: Path) -> None:
    # Grey alone decides here, so the left lung of a mirrored slice is found as the left lung.
    run = write_classes(tmp_path / "run", (4, 6), {"soft": 200, "left": 20, "right": 60})
    grey = np.full((4, 6), 200, np.uint8)
    grey[1, 1], grey[2, 4] = 20, 60
    plain = Predictor(run / "model.onnx").probabilities([grey])
    mean = Predictor(run / "model.onnx", flips=True).probabilities([grey])
    np.testing.assert_allclose(mean, (plain + plain[..., [0, 2, 1]]) / 2, atol=1e-6)
    one = write_classes(tmp_path / "one", (4, 6), {"soft": 200, "left": 20})
    Predictor(one / "model.onnx")
    with pytest.raises(UsageError, match="no class for the other side of left"):
        Predictor(one / "model.onnx", flips=True)


def test_a_network_that_knows_sides_by_their_place_says_the_same_with_flips(tmp_path: Path) -> None:
    # In a mirrored slice it calls the left lung the right one, as it was taught by flips.
    run = write_sides(tmp_path / "run", (4, 6))
    grey = np.random.default_rng(0).integers(0, 256, (4, 6), np.uint8)
    flipped = Predictor(run / "model.onnx", flips=True).probabilities([grey])[0]
    right_half = np.arange(6) >= 3
    lung = 1 - grey / 255
    expected = np.stack([grey / 255, lung * right_half, lung * ~right_half], axis=-1)
    np.testing.assert_allclose(flipped, expected, atol=1e-6)
    np.testing.assert_allclose(
        Predictor(run / "model.onnx").probabilities([grey])[0], expected, atol=1e-6
    )


def test_networks_together_are_as_certain_as_the_least_certain(tmp_path: Path) -> None:
    paths = [write_network(tmp_path / name, (8, 8)) / "model.onnx" for name in "ab"]
    assert Predictor(paths).usual_certainty is None
    for path, together, one in zip(paths, (0.9, 0.8), (0.5, 0.6), strict=True):
        document = read_json(path.with_name("model.json"))
        document["certainty"] = {"together": together, "slice": one, "slices": 7}
        write_json(path.with_name("model.json"), document)
    assert Predictor(paths).usual_certainty == Usual(0.8, 0.5, 14)
    assert Predictor(paths[:1]).usual_certainty == Usual(0.9, 0.5, 7)
    write_json(paths[0].with_name("model.json"), document | {"certainty": {"mean": 1}})
    with pytest.raises(DataError, match=r"model\.json.*not what lungseg train writes"):
        Predictor(paths[0]).usual_certainty  # noqa: B018


def test_the_model_is_a_file_or_that_of_a_run(tmp_path: Path) -> None:
    run = write_network(tmp_path / "run", (8, 8))
    assert model_paths(run, None) == [run / "model.onnx"]
    assert model_paths(None, run / "model.onnx") == [run / "model.onnx"]
    for given, said in (
        ((run, run / "model.onnx"), "either a run folder"),
        ((None, run), "there is no such model file"),
        ((run / "model.onnx", None), "there is no such run folder"),
    ):
        with pytest.raises(UsageError, match=said):
            model_paths(*given)
    (run / "model.onnx").unlink()
    with pytest.raises(UsageError, match="the run has no exported model"):
        model_paths(run, None)


def test_networks_together_give_their_mean(tmp_path: Path) -> None:
    one = write_network(tmp_path / "one", (6, 8)) / "model.onnx"
    two = write_network(tmp_path / "two", (6, 8), reach=1) / "model.onnx"
    grey = np.random.default_rng(0).integers(0, 256, (6, 8), np.uint8)
    alone = [Predictor(path).probabilities([grey]) for path in (one, two)]
    assert not np.allclose(alone[0], alone[1])
    both = Predictor([one, two])
    np.testing.assert_allclose(both.probabilities([grey]), (alone[0] + alone[1]) / 2, atol=1e-6)
    assert (len(both), both.path) == (2, one)
    # A flipped picture is the same to a network that knows no side.
    flipped = Predictor(two, flips=True).probabilities([grey])
    np.testing.assert_allclose(flipped, alone[1], atol=1e-6)


def test_networks_of_other_slices_do_not_predict_together(tmp_path: Path) -> None:
    paths = [
        write_network(tmp_path / name, size) / "model.onnx"
        for name, size in (("a", (6, 8)), ("b", (8, 6)))
    ]
    with pytest.raises(DataError, match="expects other slices or classes"):
        Predictor(paths)


def test_a_network_is_named_without_the_place_where_it_lies(tmp_path: Path) -> None:
    run = write_network(tmp_path / "mine", (8, 8))
    assert Predictor(run / "model.onnx").name == "mine"
    other = run / "best.onnx"
    (run / "model.onnx").rename(other)
    assert Predictor(other).name == "best.onnx"
    folds = [write_network(tmp_path / "all" / f"fold{k}", (8, 8)) / "model.onnx" for k in (0, 1)]
    assert Predictor(folds).name == "all"


@pytest.mark.parametrize(
    ("available", "device", "expected"),
    [
        ([CPU], "cpu", [CPU]),
        ([CPU], "auto", [CPU]),
        (["CUDAExecutionProvider", CPU], "auto", ["CUDAExecutionProvider", CPU]),
        (["CUDAExecutionProvider", CPU], "gpu", ["CUDAExecutionProvider", CPU]),
        (["CUDAExecutionProvider", CPU], "cpu", [CPU]),
        (["AzureExecutionProvider", CPU], "auto", [CPU]),
        ([CPU], "gpu", None),
    ],
)
def test_a_gpu_is_used_if_there_is_one_and_it_is_wanted(
    available: list[str], device: str, expected: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: available)
    if expected is not None:
        assert _providers(device) == expected
        return
    with pytest.raises(UsageError, match=r"infer\.device is gpu, but this ONNX Runtime has no GPU"):
        _providers(device)


def test_threads_are_those_that_were_given_or_all_cores(tmp_path: Path) -> None:
    path = write_network(tmp_path / "run", (8, 8)) / "model.onnx"
    assert Predictor(path, threads=3).workers == 3
    assert Predictor(path).workers == cores()
    assert Predictor(path).provider == CPU


@pytest.mark.parametrize("size", [[9, 8], [8, 9]])
def test_a_network_that_takes_other_slices_than_its_description_says_is_refused(
    size: list[int], tmp_path: Path
) -> None:
    path = write_network(tmp_path / "run", (8, 8)) / "model.onnx"
    document = read_json(path.with_name("model.json"))
    document["input"]["size"] = size
    write_json(path.with_name("model.json"), document)
    with pytest.raises(DataError, match=r"takes \[8, 8, 1\] and gives \[2\] classes, but model"):
        Predictor(path)


@pytest.mark.parametrize("cut", [False, True])
def test_a_network_with_other_classes_than_its_description_says_is_refused(
    cut: bool, tmp_path: Path
) -> None:
    greys = {"soft": 200, "left lung": 20, "right lung": 60}
    run = (
        write_classes(tmp_path / "a", (8, 8), greys) if cut else write_sides(tmp_path / "a", (8, 8))
    )
    document = read_json(run / "model.json")
    document["rgb_map"] = {"soft": [0, 0, 0], "lung": [9, 9, 9]}
    write_json(run / "model.json", document)
    with pytest.raises(DataError, match=r"gives \[3\] classes, but model\.json .* and 2"):
        Predictor(run / "model.onnx")


def test_a_description_is_there_and_whole(tmp_path: Path) -> None:
    path = write_network(tmp_path / "run", (8, 8)) / "model.onnx"
    described = path.with_name("model.json")
    document = read_json(described)
    del document["input"]["square_pixels"]  # as version 0.1 wrote it
    write_json(described, document)
    assert Predictor(path).data.square_pixels is False
    for broken in ({}, {"input": 3}, {"input": document["input"]}, {**document, "rgb_map": 3}):
        write_json(described, broken)
        with pytest.raises(DataError, match="is not what lungseg train writes"):
            Predictor(path)
    described.unlink()
    with pytest.raises(DataError, match="expected beside the ONNX file"):
        Predictor(path)
