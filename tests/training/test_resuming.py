"""Which keys of the config may change when a run is resumed."""

from pathlib import Path

import pytest

from lungseg.config.loading import check_config, dump_config, with_overrides
from lungseg.errors import UsageError
from lungseg.training.run_folder import check_same_config
from tests.support.phantoms import tiny


@pytest.mark.parametrize(
    ("schedule", "key", "value", "may_change"),
    [
        ("constant", "train.epochs", 9, True),
        ("cosine", "train.epochs", 9, False),  # the learning rate follows from it
        ("cosine", "train.patience", 9, True),
        ("constant", "train.batch_size", 2, False),
        ("constant", "seed", 1, False),
        ("constant", "infer.sides", True, True),
        ("constant", "evaluate.flips", False, True),
        ("constant", "data.dataset", Path("moved"), True),
        ("constant", "data.train_only", [Path("more")], False),
    ],
)
def test_a_longer_training_is_the_same_run_and_another_is_not(
    schedule: str, key: str, value: object, may_change: bool, tmp_path: Path
) -> None:
    config = check_config(tiny(schedule=schedule), "test")
    (tmp_path / "config.yaml").write_text(dump_config(config))
    changed = with_overrides(config, {key: value})
    if may_change:
        check_same_config(changed, tmp_path)
        return
    with pytest.raises(UsageError, match=rf"{key}: was"):
        check_same_config(changed, tmp_path)
