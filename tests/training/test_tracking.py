"""`train.log: [mlflow]` writes into files beside the run, and nowhere else."""

import csv
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from lungseg.config.loading import check_config
from lungseg.errors import UsageError
from lungseg.system.privacy import private_import
from lungseg.training.tracking import MlflowLog, told_the_end
from lungseg.verbs.train import train
from tests.support.phantoms import tiny

# MLflow's numbers of them.
FINISHED, FAILED, KILLED = 3, 4, 5
Record = dict[str, Any]


@pytest.fixture(autouse=True)
def a_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a server in MLflow's own variables; pytest-socket would refuse to speak to it."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, "http://tracking.example:5000")


def read_store(store: Path) -> list[Record]:
    """Read the runs of a store from its files, without MLflow."""
    runs = []
    for meta in sorted(store.glob("*/*/meta.yaml")):
        folder = meta.parent
        metrics = {
            path.name: [line.split()[1:] for line in path.read_text().splitlines()]
            for path in (folder / "metrics").iterdir()
        }
        params = {path.name: path.read_text() for path in (folder / "params").iterdir()}
        runs.append({**yaml.safe_load(meta.read_text()), "metrics": metrics, "params": params})
    return runs


def test_a_training_and_its_resume_are_one_run_of_mlflow(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "first"
    settings = {"log": ["mlflow"], "schedule": "constant"}
    train(check_config(tiny(epochs=1, **settings), "t"), dataset, run)
    [begun] = read_store(tmp_path / "runs" / "mlruns")
    assert begun["status"] == FINISHED
    train(check_config(tiny(epochs=2, **settings), "t"), dataset, run, resume=True)
    [found] = read_store(tmp_path / "runs" / "mlruns")
    assert (found["run_name"], found["status"]) == ("first", FINISHED)
    assert found["params"]["model.base_filters"] == "4"
    assert found["params"]["train.batch_size"] == "4"
    history = list(csv.DictReader((run / "history.csv").open()))
    assert len(history) == 2
    for name in ("loss", "val_loss", "val_lung_dice", "learning_rate"):
        logged = [(float(value), int(step)) for value, step in found["metrics"][name]]
        assert logged == [(float(row[name]), int(row["epoch"])) for row in history], name
    # Nothing of MLflow is in the run, and nothing beside both.
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["first", "mlruns"]
    assert not list(run.rglob("mlruns"))
    assert "MLFLOW_ALLOW_FILE_STORE" not in os.environ


@pytest.mark.parametrize(
    ("problem", "status"), [(None, FINISHED), (ValueError, FAILED), (KeyboardInterrupt, KILLED)]
)
def test_mlflow_is_told_how_it_ended(
    problem: type[BaseException] | None, status: int, tmp_path: Path
) -> None:
    log = MlflowLog(tmp_path / "run", check_config(tiny(), "t"))
    log.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.5)))
    log.on_train_begin()
    try:
        with told_the_end([log]):
            log.on_epoch_begin(0)
            log.on_epoch_end(0, {"loss": 1.0})
            if problem is not None:
                raise problem
    except (ValueError, KeyboardInterrupt):
        assert problem is not None
    [found] = read_store(tmp_path / "mlruns")
    assert found["status"] == status


def test_a_store_that_was_removed_is_begun_anew(tmp_path: Path) -> None:
    log = MlflowLog(tmp_path / "run", check_config(tiny(), "t"))
    log.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.5)))
    log.on_train_begin()
    log.run_id = "0" * 32  # from a checkpoint
    log.on_epoch_begin(4)
    log.on_epoch_end(4, {"loss": 1.0})
    [found] = read_store(tmp_path / "mlruns")
    assert found["metrics"]["loss"] == [["1.0", "5"]]
    assert found["run_id"] == log.run_id


def test_a_class_name_that_mlflow_refuses_is_logged_with_other_characters(tmp_path: Path) -> None:
    data = {**tiny(), "data": {"rgb_map": {"background": [0, 0, 0], "lung (L|R)": [1, 1, 1]}}}
    log = MlflowLog(tmp_path / "run", check_config(data, "t"))
    log.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.5)))
    log.on_train_begin()
    log.on_epoch_begin(0)
    log.on_epoch_end(0, {"val_dice_lung (L|R)": 0.5})
    [found] = read_store(tmp_path / "mlruns")
    assert found["params"]["data.rgb_map.lung _L_R_"] == "[1, 1, 1]"
    assert found["metrics"]["val_dice_lung _L_R_"] == [["0.5", "1"]]


def test_it_sends_no_telemetry() -> None:
    with private_import("mlflow"):
        import mlflow.telemetry.client
    assert mlflow.telemetry.client.get_telemetry_client() is None


def test_without_mlflow_nothing_is_begun(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setattr("lungseg.system.environment.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'train.log: mlflow needs mlflow: pip install "lungseg'):
        train(check_config(tiny(log=["mlflow"]), "t"), dataset, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
