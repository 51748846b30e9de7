"""Two devices, or two processes, train to the weights of one with the same batches."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lungseg.config.loading import check_config
from lungseg.errors import UsageError
from lungseg.training.distribution import is_chief, make_strategy, patch_for_workers
from tests.support.phantoms import tiny
from tests.support.places import REPOSITORY


def start(
    dataset: Path, run: Path, strategy: str, devices: int = 1, task: str = ""
) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
    if task:
        environment["TF_CONFIG"] = task
    arguments = [str(dataset), str(run), strategy, str(devices)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.distributed_worker", *arguments],
        env=environment,
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*workers: "subprocess.Popen[str]") -> None:
    for worker in workers:
        _, error = worker.communicate(timeout=300)
        assert worker.returncode == 0, error[-3000:]


def history(run: Path) -> list[dict[str, float]]:
    with (run / "history.csv").open() as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


def assert_equal_training(run: Path, other: Path) -> None:
    import keras

    for row, expected in zip(history(run), history(other), strict=True):
        assert row == pytest.approx(expected, rel=2e-3, abs=2e-4)
    weights = [
        keras.saving.load_model(folder / "model.keras", compile=False).get_weights()
        for folder in (run, other)
    ]
    for found, wanted in zip(*weights, strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-3)


@pytest.fixture(scope="module")
def alone(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("alone") / "run"
    finish(start(dataset, run, "none"))
    return run


@pytest.mark.slow
def test_two_devices_train_as_one(dataset: Path, alone: Path, tmp_path: Path) -> None:
    finish(start(dataset, tmp_path / "run", "mirrored", devices=2))
    assert_equal_training(tmp_path / "run", alone)


@pytest.mark.slow
def test_two_processes_train_as_one(dataset: Path, alone: Path, tmp_path: Path) -> None:
    hosts = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            hosts.append(f"127.0.0.1:{free.getsockname()[1]}")
    tasks = [
        json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}})
        for index in range(2)
    ]
    finish(*(start(dataset, tmp_path / "run", "multiworker", task=task) for task in tasks))
    assert_equal_training(tmp_path / "run", alone)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_a_run_that_differs_would_be_found_out(alone: Path, trained_run: Path) -> None:
    # The comparison above can fail: the session's run had dropout.
    with pytest.raises(AssertionError):
        assert_equal_training(trained_run, alone)


def test_the_first_worker_is_the_chief(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_chief()
    for index, expected in ((0, True), (1, False)):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"task": {"type": "worker", "index": index}}))
        assert is_chief() is expected
    monkeypatch.setenv("TF_CONFIG", "worker 1")
    with pytest.raises(UsageError, match="TF_CONFIG: expected JSON"):
        is_chief()


def test_several_workers_without_their_list_is_an_error() -> None:
    with pytest.raises(UsageError, match="TF_CONFIG"):
        make_strategy(check_config(tiny(strategy="multiworker"), "test"))


def test_a_keras_without_the_methods_to_replace_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tensorflow as tf

    strategy = SimpleNamespace(num_replicas_in_sync=1)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", SimpleNamespace)
    model = SimpleNamespace(_symbolic_build=print)
    with pytest.raises(UsageError, match=r"needs _maybe_symbolic_build of keras.Model"):
        patch_for_workers(model, strategy, check_config(tiny(), "test"))
