"""What a case leaves behind if a part of it fails."""

import os
import socket
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.schema import Config, InferConfig
from lungseg.errors import DataError, UsageError
from lungseg.imaging.folders import Input
from lungseg.imaging.pixels import write_png
from lungseg.inference import cases
from lungseg.inference.predictor import Predictor
from lungseg.inference.rows import CaseRow
from lungseg.system import console
from tests.support.networks import write_network
from tests.support.volumes import image_of


def fail(*_: Any) -> None:
    raise DataError(None, "cannot be hashed")


def volume(path: Path, value: int = -1000) -> Input:
    sitk.WriteImage(image_of(np.full((4, 30, 30), value, np.int16)), str(path))
    return Input(path, "a", True)


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    return Predictor(write_network(tmp_path / "run", (30, 30)) / "model.onnx")


def test_no_mask_is_left_without_its_origin(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "origin_of", fail)
    (tmp_path / "out").mkdir()
    row = cases.predict_volume(predictor, volume(tmp_path / "a.nii.gz"), tmp_path / "out", Config())
    assert row.failed
    assert "cannot be hashed" in row.detail
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_wrong_with_a_volume_says_more_than_that_it_cannot_be_hashed(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "origin_of", fail)
    item = volume(tmp_path / "a.nii.gz", value=1000)
    row = cases.predict_volume(predictor, item, tmp_path, Config())
    assert "not in Hounsfield units" in row.detail


class Scheduler:
    """Stands for Dask: works at once, in this process, and gives the results in reverse order."""

    def __init__(self) -> None:
        """Start without a client."""
        self.addresses: list[tuple[str, float]] = []
        self.sent: list[dict[str, Any]] = []
        self.is_open = False

    def Client(self, address: str, timeout: float) -> "Scheduler":  # noqa: N802 - Dask's name
        self.addresses.append((address, timeout))
        return self

    def __enter__(self) -> "Scheduler":
        """Open the connection."""
        self.is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.is_open = False

    def submit(self, work: Any, *arguments: Any, **options: Any) -> Future[Any]:
        assert self.is_open
        self.sent.append(options)
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as problem:
            future.set_exception(problem)
        return future

    def as_completed(self, futures: Any) -> list[Future[Any]]:
        return list(futures)[::-1]


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    found = Scheduler()
    monkeypatch.setattr(cases, "require", lambda *_, **__: found)
    return found


def test_a_cluster_gets_whole_paths_and_a_crash_is_the_row_of_its_case(
    scheduler: Scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def segment(item: Input, paths: Any, output: Path, config: Config) -> CaseRow:
        given.append((item, paths, output, config))
        if item.name == "b":
            raise MemoryError("no memory")
        return CaseRow(item.name, item.place, "done", f"{item.name}.mha")

    monkeypatch.setattr(cases, "segment_case", segment)
    monkeypatch.chdir(tmp_path)
    items = [
        Input(Path("scans/a"), "a", True, files=(Path("scans/a/1.dcm"), Path("scans/a/2.dcm"))),
        Input(Path("b.mha"), "b", True),
    ]
    config = Config()
    rows = list(cases.map_cases("tcp://x:1", items, [Path("m.onnx")], Path("out"), config))
    assert [(row.case, row.status, row.detail) for row in rows] == [
        ("b", "failed", "MemoryError: no memory"),
        ("a", "done", ""),
    ]
    first, second = tmp_path / "scans/a", tmp_path / "b.mha"
    assert [item.path for item, *_ in given] == [first, second]
    assert given[0][0].files == (first / "1.dcm", first / "2.dcm")
    assert [call[1:] for call in given] == [([tmp_path / "m.onnx"], tmp_path / "out", config)] * 2
    # Each case is computed, even if it looks like another, and again if its worker dies.
    assert scheduler.sent == [{"pure": False, "retries": 3}] * 2
    assert scheduler.addresses == [("tcp://x:1", 20)]
    assert not scheduler.is_open


@pytest.mark.parametrize("problem", [OSError("timed out"), ValueError("no address")])
def test_a_scheduler_that_is_not_there_is_named(
    problem: Exception, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "Client", Mock(side_effect=problem))
    with pytest.raises(UsageError, match=f"--scheduler tcp://x:1: no Dask .* answers: {problem}"):
        next(cases.map_cases("tcp://x:1", [], [], Path("out"), Config()))


@pytest.mark.parametrize("is_here", [True, False])
def test_a_worker_says_all_itself_unless_it_is_this_process(
    is_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(console, "show_always", lambda: said.append("always"))
    monkeypatch.setattr(cases, "segment_case", lambda *given: given)
    client = (socket.gethostname(), os.getpid() if is_here else os.getpid() + 1)
    item = Input(Path("a.mha"), "a", True)
    config = Config()
    given: Any = cases._work(client, item, [], Path("o"), config)
    assert given == (item, [], Path("o"), config)
    assert said == ([] if is_here else ["always"])


def test_a_worker_loads_the_networks_once_for_all_cases_of_a_call(
    predictor: Predictor, tmp_path: Path
) -> None:
    # A plain image goes the way of images: dark is lung.
    grey = np.full((30, 30), 200, np.uint8)
    grey[:, :10] = 10
    write_png(tmp_path / "a.png", grey)
    (tmp_path / "out").mkdir()
    cases._loaded.cache_clear()
    for _ in range(2):
        item = Input(tmp_path / "a.png", "a", False)
        row = cases.segment_case(item, [predictor.path], tmp_path / "out", Config())
        assert (row.status, row.lung_pixels) == ("done", 300)
    row = cases.segment_case(
        volume(tmp_path / "v.nii.gz"), [predictor.path], tmp_path / "out", Config()
    )
    assert (row.slices, row.mask) == (4, "a.nii.gz")
    info = cases._loaded.cache_info()
    assert (info.misses, info.hits) == (1, 2)
    with_flips = Config(infer=InferConfig(flips=True, threads=1, device="cpu"))
    cases.segment_case(item, [predictor.path], tmp_path / "out", with_flips)
    loaded = cases._loaded((predictor.path,), 1, "cpu", True)
    assert (loaded._flips, loaded.workers) == (True, 1)
    info = cases._loaded.cache_info()
    assert (info.misses, info.hits) == (2, 3)


def test_size_spacing_and_each_remark_are_told(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(console, "detail", told.append)
    hu = np.full((4, 30, 20), 40, np.int16)
    hu[1:3, 5:12, 5:12] = -1000
    sitk.WriteImage(image_of(hu, (1.5, 2.25, 7.0)), str(tmp_path / "a.mha"))
    item = Input(tmp_path / "a.mha", "a", True)
    row = cases.predict_volume(predictor, item, tmp_path, Config())
    assert told[0].startswith("a: 4 slices of 30 x 20 pixels, 7 x 2.25 x 1.5 mm, in ")
    assert len(told) > 2
    assert "; ".join(line.removeprefix("a: ") for line in told[1:]) == row.detail
    assert (row.slices, row.height, row.width, row.mask) == (4, 30, 20, "a.mha")
