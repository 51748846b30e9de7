"""The input pipeline draws anew in each round, needs little memory, and is no bottleneck."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_the_pipeline_delivers_four_times_what_training_consumes(tmp_path: Path) -> None:
    # A ratio of two speeds in one run, with a margin of three; `make bench` says the figure.
    from lungseg.training.compiling import compile_model

    config = check_config({"train": {"samples_per_epoch": 48}}, "test")
    slices = []
    for number in range(8):
        hu, mask = make_slice(make_patient(number), 0.4)
        paths = (tmp_path / f"s{number}.png", tmp_path / f"m{number}.png")
        write_pair(*paths, hu, mask)
        slices.append(Slice(str(number), str(number), str(number), *paths, 0.2, "", ""))
    pipeline = Pipeline(config, slices, [])
    model = compile_model(config, pipeline.steps)
    batch = next(iter(pipeline.training(0, 1)))
    model.train_on_batch(*batch)

    def seconds(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    read = min(seconds(lambda: [None for _ in pipeline.training(0, 1)]) for _ in range(3)) / 48
    step = min(seconds(lambda: model.train_on_batch(*batch)) for _ in range(3)) / len(batch[1])
    assert step >= 4 * read
