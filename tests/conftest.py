"""Shared fixtures: phantom slices, one data set and one tiny trained run for the whole session."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from typer.testing import CliRunner, Result

from lungseg.cli.app import app
from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.imaging.pixels import apply_window, write_png
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient
from lungseg.system.tables import read_json, write_json

# A machine with other work on it is slow, not wrong: no property is timed.
settings.register_profile("lungseg", deadline=None)
settings.load_profile("lungseg")

SIDE = 64
REPOSITORY = Path(__file__).parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
# `make soak`: the long form of the robustness tests, whose figures go into docs/robustness.md.
SOAK = bool(os.environ.get("LUNGSEG_SOAK"))

Figures = dict[str, Any]


def tiny(**train: Any) -> dict[str, Any]:
    """Return config data for slices of 64 pixels and a network of a few thousand weights."""
    return {
        "data": {"image_size": [SIDE, SIDE]},
        "split": {"fractions": [0.6, 0.2, 0.2], "group_regex": r"^(patient\d+)_"},
        "augment": {"online": {"hflip": 0.5, "affine": {"p": 0.5}, "noise": {"p": 0.5}}},
        "model": {
            "name": "resunet",
            "base_filters": 4,
            "num_layers": 3,
            "max_filters": 16,
            "stem_stride": 1,
        },
        "train": {
            "epochs": 2,
            "samples_per_epoch": 0,
            "batch_size": 4,
            "learning_rate": 0.01,
            "warmup_epochs": 0,
            "epoch_change_images": 2,
            **train,
        },
    }


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    return check_config(tiny(), "tiny")


@pytest.fixture(scope="session")
def figures() -> Iterator[Figures]:
    """Yield where the robustness tests put their figures; `make soak` keeps them."""
    found: Figures = {}
    yield found
    if SOAK:
        path = REPOSITORY / "docs" / "robustness.json"
        known = read_json(path) if path.exists() else {}
        write_json(path, {**known, **{key: {**known.get(key, {}), **found[key]} for key in found}})


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images/ and masks/ of five phantom patients, four slices each."""
    folder = tmp_path_factory.mktemp("raw")
    write_phantoms(folder, patients=5, slices=4)
    return folder


def write_phantoms(folder: Path, patients: int, slices: int, side: int = SIDE) -> None:
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(patients):
        patient = make_patient(number)
        for index in range(slices):
            hu, mask = make_slice(patient, (index + 0.5) / slices, side)
            name = f"patient{number + 1:02d}_slice{index + 1:02d}.png"
            write_png(folder / "images" / name, apply_window(hu, (-1000, 400)))
            write_png(folder / "masks" / name, (mask * 255).astype(np.uint8))


@pytest.fixture(scope="session")
def prepared(raw: Path, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lungseg.verbs.prepare import prepare

    output = tmp_path_factory.mktemp("work") / "prepared"
    prepare(tiny_config, raw / "images", raw / "masks", output)
    return output


@pytest.fixture(scope="session")
def dataset(prepared: Path, tiny_config: Config) -> Path:
    from lungseg.verbs.split import split

    output = prepared.parent / "dataset"
    split(tiny_config, prepared, output)
    return output


@pytest.fixture(scope="session")
def trained_run(dataset: Path, tiny_config: Config) -> Path:
    from lungseg.verbs.train import train

    run = dataset.parent / "run"
    train(tiny_config, dataset, run, command=["lungseg", "train"])
    return run


@pytest.fixture
def config_file(tmp_path: Path, tiny_config: Config) -> Path:
    from lungseg.config.loading import dump_config

    path = tmp_path / "tiny.yaml"
    path.write_text(dump_config(tiny_config))
    return path


@pytest.fixture
def lungseg() -> Callable[..., Result]:
    """Return a function that runs the command line in this process."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def mini() -> Path:
    """Return the real slices, where they are at hand."""
    folder = SHARED_DATA / "lungsegdb-mini"
    if not folder.is_dir():
        pytest.skip("the real slices (shared/data/lungsegdb-mini) are not here")
    return folder
