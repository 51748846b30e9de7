"""The clock stops at the first epoch that reaches the target."""

from pathlib import Path

import pytest

from scripts.bench.time_to_dice import first_epoch

HISTORY = "epoch,loss,val_lung_dice\n1,0.9,0.31\n2,0.5,0.969\n3,0.3,0.97\n4,0.2,0.98\n"


@pytest.mark.parametrize(
    ("target", "found"),
    [(0.3, (1, 0.31)), (0.97, (3, 0.97)), (0.975, (4, 0.98)), (0.99, None)],
)
def test_the_first_epoch_that_reaches_the_target_counts(
    target: float, found: tuple[int, float] | None, tmp_path: Path
) -> None:
    history = tmp_path / "history.csv"
    assert first_epoch(history, target) is None, "no epoch has ended yet"
    history.write_text(HISTORY)
    assert first_epoch(history, target) == found


def test_a_row_that_is_being_written_does_not_count_yet(tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    history.write_text(HISTORY + "5,0.1")
    assert first_epoch(history, 0.99) is None
