"""Keys of version 0.1 still work, with a warning."""

from pathlib import Path

import pytest

from lungseg.config.loading import check_config, load_config, with_overrides
from lungseg.config.schema import Config
from lungseg.errors import UsageError

# Written by `lungseg train` of version 0.1.
OLD_RUN = Path(__file__).parent / "data" / "config_0.1.yaml"


def test_the_config_of_an_old_run_loads(caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(OLD_RUN)
    expected = Config.model_validate(
        {
            "data": {"dataset": "demo/dataset", "train_only": ["phantoms"]},
            "train": {"run": "runs/old", "mini_test": "mini", "learning_rate": 0.002},
            "prepare": {"threads": 2},
        }
    )
    assert config == with_overrides(
        expected,
        {
            "augment.online.lesion.p": 0.5,
            "augment.online.affine.scale": 0.25,
            "augment.online.crop.p": 0.0,
            "augment.online.window.mediastinal": 0.0,
            "split.neighbour_similarity": 0.85,
            "infer.components": 2,
        },
    )
    assert f"{OLD_RUN}: prepare.workers is now called prepare.threads" in caplog.text
    assert f"{OLD_RUN}: evaluate.workers is now called evaluate.threads" in caplog.text


@pytest.mark.parametrize("section", ["prepare", "evaluate"])
@pytest.mark.parametrize("override", ["{}.workers=3", "{}={{workers: 3}}"])
def test_an_override_may_use_the_old_name(
    section: str, override: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = load_config(None, [override.format(section)])
    assert getattr(config, section).threads == 3
    assert caplog.text.count("is now called") == 1


@pytest.mark.parametrize("override", ["train.tensorboard=true", "train={tensorboard: true}"])
def test_tensorboard_is_now_a_log(override: str, caplog: pytest.LogCaptureFixture) -> None:
    assert load_config(None, [override]).train.log == ["csv", "tensorboard"]
    assert "train.tensorboard is now called train.log" in caplog.text


def test_no_tensorboard_is_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    """It is in the config of every run of version 0.1."""
    assert load_config(OLD_RUN).train.log == ["csv"]
    assert load_config(None, ["train.tensorboard=false"]).train.log == ["csv"]
    assert "tensorboard" not in caplog.text


def test_csv_is_always_written() -> None:
    assert load_config(None, ["train.log=[mlflow, tensorboard, mlflow]"]).train.log == [
        "csv", "mlflow", "tensorboard",
    ]  # fmt: skip
    assert load_config(None, ["train.log=[]"]).train.log == ["csv"]
    with pytest.raises(UsageError, match=r"train\.log"):
        load_config(None, ["train.log=[wandb]"])
    with pytest.raises(UsageError, match=r"train\.log"):
        load_config(None, ["train.tensorboard=maybe"])


def test_the_new_name_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert load_config(None, ["prepare.threads=3"]).prepare.threads == 3
    assert caplog.text == ""


def test_an_old_name_below_a_new_one_is_covered(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("prepare: {workers: 2}")
    (tmp_path / "top.yaml").write_text("extends: base.yaml\nprepare: {threads: 3}")
    assert load_config(tmp_path / "top.yaml").prepare.threads == 3
    (tmp_path / "top.yaml").write_text("extends: base.yaml\nprepare: {copies: 3}")
    assert load_config(tmp_path / "top.yaml").prepare.threads == 2


def test_both_names_are_never_given() -> None:
    with pytest.raises(UsageError, match=r"prepare\.workers is the old name of prepare\.threads"):
        check_config({"prepare": {"workers": 2, "threads": 2}}, "t")
