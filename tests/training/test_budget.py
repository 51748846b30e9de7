"""A time budget plans epochs that fit, and a run with one ends in time."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungseg.config.loading import check_config
from lungseg.errors import UsageError
from lungseg.training.budget import EPOCH_OVERHEAD_S, EXPORT_S, VALIDATION_SHARE, Deadline, plan
from lungseg.verbs.train import train
from tests.support.phantoms import tiny

CONFIG = check_config({"train": {"epochs": 60, "batch_size": 4}}, "test")


@given(seconds=st.floats(60, 40_000), speed=st.floats(0.001, 2.0), validation=st.integers(0, 300))
def test_a_plan_fits_its_time_and_fills_it(seconds: float, speed: float, validation: int) -> None:
    try:
        planned = plan(CONFIG, seconds, speed, validation)
    except UsageError:
        assert 8 * 4 * speed + validation * speed / 3 + 1 > 0.9 * seconds - 2 * EXPORT_S
        return
    epoch = planned.samples_per_epoch * speed
    epoch += validation * speed * VALIDATION_SHARE + EPOCH_OVERHEAD_S
    assert planned.epochs * epoch + EXPORT_S <= seconds
    assert planned.epochs * (epoch + 4 * speed) + EXPORT_S >= 0.9 * seconds - EXPORT_S or (
        planned.epochs < 60
    )
    assert planned.samples_per_epoch % 4 == 0


def test_an_hour_for_a_few_hundred_slices_keeps_the_epochs() -> None:
    planned = plan(CONFIG, 3600, 0.17, 45)
    assert planned.epochs == 60
    assert planned.samples_per_epoch == pytest.approx(300, abs=20)
    config = planned.apply(CONFIG)
    assert (config.train.epochs, config.train.samples_per_epoch) == (
        planned.epochs,
        planned.samples_per_epoch,
    )


def test_too_little_time_is_an_error_before_training() -> None:
    with pytest.raises(UsageError, match=r"time_budget leaves 30 s .* one short epoch takes"):
        plan(CONFIG, 30, 2.0, 100)


@pytest.mark.parametrize(("text", "seconds"), [("60min", 3600), ("45s", 45), ("1.5h", 5400)])
def test_units_of_time(text: str, seconds: float) -> None:
    config = check_config({"train": {"time_budget": text}}, "test")
    assert config.train.budget_seconds == seconds


def test_a_time_without_unit_is_an_error() -> None:
    with pytest.raises(UsageError, match="time_budget"):
        check_config({"train": {"time_budget": "60"}}, "test")


def test_a_deadline_leaves_time_for_the_export() -> None:
    assert Deadline(time.monotonic() + EXPORT_S + 5).allows_another()
    assert not Deadline(time.monotonic() + EXPORT_S - 1).allows_another()


@pytest.mark.slow
def test_a_run_with_a_budget_ends_in_time_and_says_its_plan(dataset: Path, tmp_path: Path) -> None:
    config = check_config(tiny(time_budget="75s", epochs=30), "test")
    result = train(config, dataset, tmp_path / "run")
    assert result.seconds <= 75
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["plan"]["epochs"] >= result.epochs
    # A resume keeps to the plan it began with.
    again = train(config, dataset, tmp_path / "run", resume=True)
    assert again.epochs >= result.epochs
    assert json.loads((tmp_path / "run" / "plan.json").read_text()) == record["plan"]
