"""Measure the time from labelled CT to a network whose masks are good, on held-back patients.

`lungseg prepare`, `split` and `train` run one after the other with the default config. The clock
stops when an epoch's validation lung Dice reaches the target; the training is ended then.

Example:
    python -m scripts.bench.time_to_dice --images work/labelled/images --masks \
        work/labelled/masks -s split.fractions="[0.65, 0.35, 0]"
"""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from lungseg.system.tables import read_csv
from scripts.bench.volume import describe_machine

WATCHED = "val_lung_dice"
CHECK_S = 0.2


def first_epoch(history: Path, target: float) -> tuple[int, float] | None:
    """Return the first epoch whose validation lung Dice is at least the target, and that Dice."""
    for row in read_csv(history) if history.exists() else ():
        if row.get(WATCHED) and float(row[WATCHED]) >= target:
            return int(row["epoch"]), float(row[WATCHED])
    return None


def lungseg(*words: object) -> subprocess.Popen[bytes]:
    """Start a command of lungseg."""
    return subprocess.Popen([sys.executable, "-m", "lungseg", *map(str, words)])


def main(
    images: Annotated[Path, typer.Option(help="Folder of CTs.")],
    masks: Annotated[Path, typer.Option(help="Folder of their masks.")],
    target: Annotated[float, typer.Option("--dice", help="Lung Dice to reach.")] = 0.97,
    settings: Annotated[list[str], typer.Option("-s", help="Settings of the config.")] = [],  # noqa: B006
) -> None:
    """Prepare, split and train until the Dice is reached; print the seconds of each."""
    given = [word for setting in settings for word in ("-s", setting)]
    typer.echo(describe_machine())
    with tempfile.TemporaryDirectory() as name:
        prepared, dataset, run = (Path(name) / part for part in ("prepared", "dataset", "run"))
        start = time.monotonic()
        for words in (
            ("prepare", "--images", images, "--masks", masks, "-o", prepared),
            ("split", "--input", prepared, "-o", dataset),
        ):
            if lungseg(*words, *given).wait():
                raise SystemExit(f"lungseg {words[0]} failed")
            typer.echo(f"{words[0]}: {time.monotonic() - start:.0f} s from the start")
        training = lungseg("train", "--data", dataset, "--run", run, *given)
        found, ended = None, False
        while found is None:
            if ended:
                raise SystemExit(f"the training ended before a lung Dice of {target}")
            time.sleep(CHECK_S)
            ended = training.poll() is not None  # asked first: its last epoch counts, too
            found = first_epoch(run / "history.csv", target)
        seconds = time.monotonic() - start
        training.send_signal(signal.SIGTERM)
        training.wait()
    epoch, dice = found
    typer.echo(f"lung Dice {dice:.3f} after epoch {epoch}: {seconds:.0f} s from the start")


if __name__ == "__main__":
    typer.run(main)
