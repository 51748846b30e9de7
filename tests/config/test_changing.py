"""A config changed in a program is checked as one that was read; its paths can be made absolute."""

from pathlib import Path

import pytest

from lungseg.config.loading import check_config, with_absolute_paths, with_overrides
from lungseg.config.networks import UNet3PlusConfig
from lungseg.config.schema import Config
from lungseg.errors import UsageError


def test_some_keys_change_and_the_others_stay() -> None:
    config = check_config({"train": {"batch_size": 7}, "data": {"images": "raw"}}, "t")
    changed = with_overrides(config, {"train.epochs": 3, "data.window": (-500, 500)})
    assert (changed.train.epochs, changed.train.batch_size) == (3, 7)
    assert (changed.data.window, changed.data.images) == ((-500, 500), Path("raw"))
    assert config.train.epochs == 60
    network = with_overrides(config, {"model.name": "unet3plus", "model.num_layers": 3}).model
    assert network == UNet3PlusConfig(name="unet3plus", num_layers=3)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("train.epochs", 0, "greater than or equal to 1"),
        ("train.epoch", 3, "did you mean 'epochs'"),
        ("data.window", (400, -1000), "lower HU must be below"),
        ("train.reducer", {"factor": 0.5}, "both set the learning rate"),
    ],
)
def test_a_wrong_change_is_refused(key: str, value: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        with_overrides(Config(), {key: value})


def test_every_relative_path_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = check_config(
        {
            "data": {"images": "raw/images", "train_only": ["a", "/b", "../c"]},
            "split": {"group_csv": "groups.csv", "group_regex": "(x)"},
            "train": {"mini_test": "mini"},
        },
        "t",
    )
    changed = with_absolute_paths(config)
    data = changed.data
    assert (data.images, data.masks) == (tmp_path / "raw" / "images", None)
    assert (data.prepared, data.dataset) == (tmp_path / "data/prepared", tmp_path / "data/dataset")
    assert data.train_only == [tmp_path / "a", Path("/b"), tmp_path.parent / "c"]
    assert changed.split.group_csv == tmp_path / "groups.csv"
    assert (changed.train.run, changed.train.mini_test) == (
        tmp_path / "runs/lung",
        tmp_path / "mini",
    )
    # Nothing but paths has changed.
    assert changed.split.group_regex == "(x)"
    assert (
        changed.model_copy(update={"data": config.data, "split": config.split}).model_copy(
            update={"train": config.train}
        )
        == config
    )
