"""Shared fixtures: phantom slices, one data set and one tiny trained run for the whole session."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
# `lungseg train` switches oneDNN on. Here TensorFlow may be imported before any training, and on
# some processors it would then be off, so that a command and this process computed differently.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from typer.testing import CliRunner, Result

from lungseg.cli.app import program
from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.system.tables import read_json, write_json
from tests.support.notebook import write_scans
from tests.support.phantoms import tiny, write_phantoms
from tests.support.places import REPOSITORY, SHARED_DATA, SOAK, Figures

# A machine with other work on it is slow, not wrong: no property is timed.
settings.register_profile("lungseg", deadline=None)
settings.load_profile("lungseg")


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    return check_config(tiny(), "tiny")


@pytest.fixture(scope="session")
def figures() -> Iterator[Figures]:
    """Yield where the robustness tests put their figures; `make soak` keeps them."""
    found: Figures = {}
    yield found
    if SOAK:
        path = REPOSITORY / "scripts" / "maintain" / "robustness.json"
        known = read_json(path) if path.exists() else {}
        write_json(path, {**known, **{key: {**known.get(key, {}), **found[key]} for key in found}})


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images/ and masks/ of five phantom patients, four slices each."""
    folder = tmp_path_factory.mktemp("raw")
    write_phantoms(folder, patients=5, slices=4)
    return folder


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
def notebook(
    raw: Path,
    prepared: Path,
    dataset: Path,
    trained_run: Path,
    tiny_config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Work in a folder with all that the examples of the Python API read; return it."""
    from lungseg.config.loading import dump_config

    folder = tmp_path / "notebook"
    for name, target in {
        "raw": raw, "data/prepared": prepared, "data/dataset": dataset, "demo/run": trained_run,
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)
    (folder / "lung.yaml").write_text(dump_config(tiny_config))
    write_scans(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def lungseg() -> Callable[..., Result]:
    """Return a function that runs the command line in this process."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(program(), [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def mini() -> Path:
    """Return the real slices, where they are at hand."""
    folder = SHARED_DATA / "lungsegdb-mini"
    if not folder.is_dir():
        pytest.skip("the real slices (shared/data/lungsegdb-mini) are not here")
    return folder
