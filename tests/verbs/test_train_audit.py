"""Before a training, the slices of all its parts are compared, those of other folders as well."""

from collections.abc import Callable
from pathlib import Path

from typer.testing import Result


def test_a_patient_of_train_only_must_not_be_judged_by(
    dataset: Path,
    prepared: Path,
    config_file: Path,
    tmp_path: Path,
    lungseg: Callable[..., Result],
) -> None:
    arguments = (
        "train", "--dry-run", "-c", config_file, "--data", dataset, "--run", tmp_path / "run",
    )  # fmt: skip
    clean = lungseg(*arguments)
    assert clean.exit_code == 0
    assert "look like one patient's" not in clean.stderr
    # `prepared` holds the patients of every part of the data set.
    leaky = lungseg(*arguments, "-s", f"data.train_only=[{prepared}]")
    assert leaky.exit_code == 0
    for part in ("valid", "test"):
        assert f"  train / {part}: " in leaky.stderr
