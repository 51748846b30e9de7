"""`MODEL_CARD.md`: everything in it is from the run's own files, and a person's card is kept."""

import csv
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lungseg.config.schema import Config
from lungseg.reporting.model_card import model_card, write_model_card
from lungseg.system.run_files import open_run
from lungseg.verbs.evaluate import evaluate
from lungseg.verbs.train import train
from tests.support.places import REPOSITORY


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run, tmp_path / "my run"))


def rows_of(card: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    below = card.split(f"## {heading}\n", 1)[1].split("\n## ")[0]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_training_writes_what_the_files_say(trained_run: Path) -> None:
    card = (trained_run / "MODEL_CARD.md").read_text()
    with (trained_run / "data.csv").open() as stream:
        data = list(csv.DictReader(stream))
    slices = Counter(row["part"] for row in data)
    patients = {part: len({r["group"] for r in data if r["part"] == part}) for part in slices}
    record = json.loads((trained_run / "run.json").read_text())
    found = {row[0]: row for row in rows_of(card, "Data")}
    assert list(found) == ["train", "valid", "test"]
    for part, row in found.items():
        assert row[1:3] == [str(slices[part]), str(patients[part])]
        assert row[4] == f"`{record['data_sha256'][part]}`"
    for words in (
        "**It is not a medical device.**",
        f"with val_lung_dice {record['best']:.4f}",
        f"tensorflow {record['versions']['tensorflow']}",
        "Augmentation: hflip, affine, noise.",
        "patients are not in these files",
    ):
        assert words in card, words


def test_evaluating_adds_the_scores(run: Path, dataset: Path, tiny_config: Config) -> None:
    assert "was not evaluated yet" in model_card(run)
    evaluate(tiny_config, run, dataset)
    card = (run / "MODEL_CARD.md").read_text()
    assert "was not evaluated yet" not in card
    with (run / "per_case.csv").open() as stream:
        dice = {row["case"]: float(row["dice"]) for row in csv.DictReader(stream)}
    row = next(row for row in rows_of(card, "Scores") if row[1].startswith("Dice"))
    assert row[0] == "`lung`"
    assert row[2] == f"{np.mean(list(dice.values())):.4f}"
    summary = json.loads((run / "evaluation.json").read_text())
    grey = summary["baselines"]["grey_threshold"]["lung"]["dice"]["mean"]
    assert row[4:] == [f"{grey:.4f}", "0.0000"]
    assert row[3] == ""
    assert "There is no 95% interval: it needs at least 5 patients, not 1." in card
    assert summary["verdict"]["sentence"] in card
    worst = min(dice, key=lambda case: dice[case])
    assert f"Cases with the lowest lung Dice: `{worst}` {dice[worst]:.4f}" in card


def test_scores_of_another_network_are_left_out(
    run: Path, dataset: Path, tiny_config: Config
) -> None:
    evaluate(tiny_config, run, dataset)
    with (run / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    assert "was not evaluated yet" in model_card(run)


def test_scores_of_another_part_are_not_those_of_the_card(
    run: Path, dataset: Path, tiny_config: Config
) -> None:
    before = (run / "MODEL_CARD.md").read_text()
    config = tiny_config.model_copy(
        update={"evaluate": tiny_config.evaluate.model_copy(update={"part": "valid"})}
    )
    evaluate(config, run, dataset)
    assert (run / "evaluation_valid" / "report.html").is_file()
    assert (run / "MODEL_CARD.md").read_text() == before


def test_a_card_that_was_changed_is_kept(
    run: Path, dataset: Path, tiny_config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lungseg")
    (run / "MODEL_CARD.md").write_text("my own words")
    evaluate(tiny_config, run, dataset)
    assert (run / "report.html").is_file()
    assert (run / "MODEL_CARD.md").read_text() == "my own words"
    assert "MODEL_CARD.md was changed by someone, so it is left as it is" in caplog.text
    train(tiny_config, dataset, run, resume=True)
    assert (run / "MODEL_CARD.md").read_text() == "my own words"


def test_a_network_that_was_copied_alone_gets_none(run: Path) -> None:
    (run / "MODEL_CARD.md").unlink()
    with open_run(run) as output:
        write_model_card(run, output)
        assert (run / "MODEL_CARD.md").is_file()
        for name in ("MODEL_CARD.md", "data.csv"):
            (run / name).unlink()
        write_model_card(run, output)
    assert not (run / "MODEL_CARD.md").exists()


def test_names_are_shown_not_run(run: Path) -> None:
    renamed = run.rename(run.with_name("a`|<img onerror=alert(1)>"))
    title = model_card(renamed).splitlines()[0]
    assert title == "# Model card: `a <img onerror=alert(1)>`"


def test_a_run_of_version_0_1_gets_a_card() -> None:
    card = model_card(REPOSITORY / "tests" / "data" / "run_0_1")
    assert [row[:3] for row in rows_of(card, "Data")] == [
        ["train", "12", "3"], ["valid", "4", "1"], ["test", "4", "1"],
    ]  # fmt: skip
    assert re.search(r"Network: resunet, [\d,]+ parameters", card)
    assert "| part | slices | patients |" in card  # all are named
