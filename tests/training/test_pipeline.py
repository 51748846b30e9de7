"""The input pipeline draws anew in each round, needs little memory, and is no bottleneck."""

import importlib
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import tensorflow as tf

from lungseg.config.loading import check_config
from lungseg.dataset.slices import Slice
from lungseg.errors import UsageError
from lungseg.phantom.dataset import write_pair
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient
from lungseg.training.pipeline import Pipeline
from tests.support.watch import watch


def test_a_slice_is_augmented_anew_in_each_round_and_the_same_again_on_resuming(
    tmp_path: Path,
) -> None:
    # Two slices with the same pixels: only the draw tells their samples apart.
    paths = (tmp_path / "s.png", tmp_path / "m.png")
    write_pair(*paths, *make_slice(make_patient(0), 0.5, 32))
    slices = [Slice(name, name, name, *paths, 0.2, "", "") for name in ("a", "b")]
    given = {
        "data": {"image_size": [32, 32]},
        "augment": {"online": {"noise": {"p": 1.0, "limit": 0.3}}},
        "train": {"samples_per_epoch": 0, "batch_size": 1},
    }

    def stream(first_epoch: int, seed: int = 1) -> list[bytes]:
        pipeline = Pipeline(check_config({**given, "seed": seed}, "test"), slices, [])
        return [images.numpy().tobytes() for images, _ in pipeline.training(first_epoch, 4)]

    shown = stream(0)
    assert len(set(shown)) == len(shown) == 8
    assert stream(2) == shown[4:]
    assert not set(stream(0, seed=2)) & set(shown)


def test_a_lesion_is_not_drawn_where_it_may_be_of_another_class(tmp_path: Path) -> None:
    classes = {"background": [0, 0, 0], "lung": [255, 255, 255], "infection": [255, 0, 0]}
    slices = [Slice("a", "a", "a", tmp_path / "s.png", tmp_path / "m.png", 0.2, "", "")]
    given = {"data": {"rgb_map": classes}}
    with pytest.raises(UsageError, match=r"infection may be .* Set lesion\.p to 0"):
        Pipeline(check_config(given, "test"), slices, [])
    without = {**given, "augment": {"online": {"lesion": {"p": 0}}}}
    assert Pipeline(check_config(without, "test"), slices, []).steps


READ_ALL = """
import sys
from pathlib import Path
from lungseg.config.loading import check_config
from lungseg.training.pipeline import Pipeline
from lungseg.dataset.slices import Slice
folder, count = Path(sys.argv[1]), int(sys.argv[2])
slices = [
    Slice(f"s{n}", f"s{n}", f"g{n}", folder / f"s{n}.png", folder / f"m{n}.png", 0.2, "", "")
    for n in range(count)
]
config = check_config({"data": {"image_size": [256, 256]}}, "test")
seen = sum(len(labels) for _, labels in Pipeline(config, slices, []).training(0, 1))
assert seen == count, seen
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    hu, mask = make_slice(make_patient(0), 0.5, 256)
    write_pair(tmp_path / "s0.png", tmp_path / "m0.png", hu, mask)
    for number in range(1, 5000):
        for kind in "sm":
            os.link(tmp_path / f"{kind}0.png", tmp_path / f"{kind}{number}.png")
    seen = [
        watch([sys.executable, "-c", READ_ALL, str(tmp_path), str(count)]) for count in (200, 5000)
    ]
    assert [one.code for one in seen] == [0, 0], seen
    assert seen[1].peak_mib <= 1.1 * seen[0].peak_mib


# The pipeline is to be no bottleneck. `make bench` measures by what ratio it is faster than
# training. The tests below hold what that ratio rests on, whatever the machine is busy with.


def phantom_slices(folder: Path, count: int, side: int) -> list[Slice]:
    """Write phantoms and return them as slices."""
    slices = []
    for number in range(count):
        paths = (folder / f"s{side}_{number}.png", folder / f"m{side}_{number}.png")
        write_pair(*paths, *make_slice(make_patient(number), 0.4, side))
        slices.append(Slice(str(number), str(number), str(number), *paths, 0.2, "", ""))
    return slices


def test_each_sample_is_decoded_once_and_the_augmentation_is_built_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()

    def counted(module: str, name: str) -> None:
        function = getattr(importlib.import_module(module), name)

        def count(*given: object) -> object:
            counts[name] += 1
            return function(*given)

        monkeypatch.setattr(f"{module}.{name}", count)

    for name in ("read_slice", "read_labels"):
        counted("lungseg.training.pipeline", name)
    counted("lungseg.dataset.augmentation", "build_pipeline")
    # Two threads would need two of it.
    given = {"data": {"image_size": [32, 32]}, "train": {"samples_per_epoch": 48, "threads": 1}}
    pipeline = Pipeline(check_config(given, "test"), phantom_slices(tmp_path, 8, 32), [])
    assert sum(len(labels) for _, labels in pipeline.training(0, 1)) == 48
    assert counts == {"read_slice": 48, "read_labels": 48, "build_pipeline": 1}


def test_batches_are_read_while_the_network_is_busy_with_another(tmp_path: Path) -> None:
    given = {
        "data": {"image_size": [32, 32]},
        "train": {"samples_per_epoch": 48, "batch_size": 4, "threads": 1},
    }
    pipeline = Pipeline(check_config(given, "test"), phantom_slices(tmp_path, 8, 32), [])
    seen: list[int] = []
    two_more = threading.Event()
    read = pipeline._read

    def watched(chosen: Slice) -> tuple[object, object]:
        seen.append(threading.get_ident())
        if len(seen) >= 12:
            two_more.set()
        return read(chosen)

    pipeline._read = watched  # type: ignore[method-assign, assignment]
    # TensorFlow's own optimizations would add what the pipeline lacks, but need not be there.
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    batches = iter(pipeline.training(0, 1).with_options(options))
    next(batches)
    # Nobody asks for more, and yet two further batches are read, by another thread than this one.
    assert two_more.wait(timeout=60), f"{len(seen)} slices were read"
    assert threading.get_ident() not in seen


READ_TWO_AT_ONCE = """
import threading
import numpy as np
import tensorflow as tf
options = tf.data.Options()
options.threading.private_threadpool_size = 2  # as a machine with two cores has
from lungseg.config.loading import check_config
from lungseg.training.pipeline import Pipeline
given = {"data": {"image_size": [32, 32]}, "train": {"samples_per_epoch": 8, "threads": 2}}
pipeline = Pipeline(check_config(given, "test"), [None], [])
meeting = threading.Barrier(2)
def read(chosen):
    meeting.wait(timeout=30)  # ends in an error if no second slice is read meanwhile
    return [np.zeros((32, 32), "uint8")] * 2
pipeline._read = read
stream = pipeline.training(0, 1).with_options(options)
print(sum(len(labels) for _, labels in stream))
"""


@pytest.mark.slow
def test_slices_are_read_by_as_many_threads_as_the_config_says() -> None:
    seen = watch([sys.executable, "-c", READ_TWO_AT_ONCE])
    assert (seen.code, seen.said.split()[-1]) == (0, "8"), seen.said


def test_no_line_of_python_runs_for_each_pixel(tmp_path: Path) -> None:
    online = {
        "affine": {"p": 1.0},
        "elastic": {"p": 1.0},
        "barrel": {"p": 1.0},
        "grid": {"p": 1.0},
        **{name: {"p": 1.0} for name in ("lesion", "window", "gamma", "noise", "blur")},
    }

    def lines_run(side: int) -> int:
        """Return the number of lines that reading and augmenting a slice runs."""
        given = {"data": {"image_size": [side, side]}, "augment": {"online": online}}
        [chosen] = phantom_slices(tmp_path, 1, side)
        pipeline = Pipeline(check_config(given, "test"), [chosen], [])
        count = 0

        def trace(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal count
            count += event == "line"
            return trace

        def load() -> None:
            pipeline._augment(*pipeline._read(chosen), 1)

        load()  # imports, and the pipeline of transforms is built
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            load()
        finally:
            sys.settrace(before)
        return count

    small, large = lines_run(64), lines_run(512)
    # 64 times as many pixels and 8 times as many rows: two lines for each row would be noticed.
    assert 100 < large < 1.2 * small
