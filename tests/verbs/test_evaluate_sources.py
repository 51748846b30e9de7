"""A run is scored on its own data set, or on any slices that are named, and reports never mix."""

import html
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.dataset.reading import read_layout
from lungseg.errors import UsageError
from lungseg.evaluation.sources import results_folder
from lungseg.imaging.pixels import read_pixels, write_png
from lungseg.system.tables import read_csv, write_csv
from lungseg.verbs.evaluate import evaluate
from lungseg.verbs.prepare import prepare
from lungseg.verbs.split import split
from tests.support.phantoms import SIDE, tiny, write_phantoms

Cli = Callable[..., Result]
REPORT = ("evaluation.json", "per_case.csv", "report.html")


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the run, without the reports that other tests wrote."""
    ignored = shutil.ignore_patterns("checkpoints", "evaluation*", "per_case.csv", "report.html")
    return shutil.copytree(trained_run, tmp_path / "runs" / "lung", ignore=ignored)


@pytest.fixture
def elsewhere(tmp_path: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of another project, whose data set has the default name."""
    project = tmp_path / "project"
    write_phantoms(project / "raw", patients=3, slices=2)
    for kind in ("images", "masks"):
        for path in (project / "raw" / kind).iterdir():
            path.rename(path.with_name(path.name.replace("patient0", "patient7")))
    prepare(
        tiny_config, project / "raw" / "images", project / "raw" / "masks", project / "prepared"
    )
    split(tiny_config, project / "prepared", project / "data" / "dataset")
    monkeypatch.chdir(project)
    return project


def cases_of(folder: Path) -> set[str]:
    return {row["case"] for row in read_csv(folder / "per_case.csv")}


def cases_to_test(dataset: Path) -> set[str]:
    return {row["case"] for row in read_csv(dataset / "split.csv") if row["part"] == "test"}


def test_without_data_a_run_is_scored_on_its_own_data_set(
    run: Path, dataset: Path, elsewhere: Path, lungseg: Cli
) -> None:
    result = lungseg("evaluate", "--run", run)
    assert result.exit_code == 0, result.stderr
    assert cases_of(run) == cases_to_test(dataset)


def test_a_config_that_names_another_data_set_is_refused(
    run: Path, dataset: Path, elsewhere: Path, config_file: Path, lungseg: Cli
) -> None:
    config_file.write_text("data:\n  dataset: data/dataset\n")
    result = lungseg("evaluate", "-c", config_file, "--run", run)
    assert result.exit_code == 2
    assert f"{run} was trained on {dataset}" in result.stderr.replace("\n", "")
    assert not (run / "report.html").exists()
    config_file.write_text("evaluate:\n  bootstrap: 10\n")  # names none
    assert lungseg("evaluate", "-c", config_file, "--run", run).exit_code == 0
    assert cases_of(run) == cases_to_test(dataset)


def test_a_network_without_its_config_needs_a_data_set(
    run: Path, elsewhere: Path, lungseg: Cli
) -> None:
    (run / "config.yaml").unlink()
    result = lungseg("evaluate", "--run", run)
    assert result.exit_code == 2
    assert "name one by --data" in result.stderr


def test_the_config_of_the_run_is_used(run: Path, elsewhere: Path, lungseg: Cli) -> None:
    stored = run / "config.yaml"
    stored.write_text(stored.read_text().replace("bootstrap: 2000", "bootstrap: 7"))
    assert lungseg("evaluate", "--run", run).exit_code == 0
    summary = json.loads((run / "evaluation.json").read_text())
    assert summary["settings"]["bootstrap"] == 7


def test_another_part_and_other_data_leave_the_test_report(
    run: Path, dataset: Path, elsewhere: Path, lungseg: Cli
) -> None:
    listed = read_csv(run / "data.csv")
    added = {**listed[0], "part": "train", "case": "added", "sha256": "0" * 64}  # data.train_only
    write_csv(run / "data.csv", list(added), [*listed, added])
    assert lungseg("evaluate", "--run", run).exit_code == 0
    before = {name: (run / name).read_bytes() for name in REPORT}
    valid = lungseg("evaluate", "--run", run, "--part", "valid")
    train = lungseg("evaluate", "--run", run, "--part", "train")
    other = lungseg("evaluate", "--run", run, "--data", "data/dataset")
    assert [valid.exit_code, train.exit_code, other.exit_code] == [0, 0, 0], other.stderr
    assert {name: (run / name).read_bytes() for name in REPORT} == before
    parts = {row["case"]: row["part"] for row in read_csv(dataset / "split.csv")}
    for part in ("valid", "train"):
        assert {parts[case] for case in cases_of(run / f"evaluation_{part}")} == {part}
    [folder] = run.glob("evaluation_dataset_*")
    assert cases_of(folder) == cases_to_test(elsewhere / "data" / "dataset")
    assert str(folder) in other.stderr.replace("\n", "")


def test_the_own_test_part_is_known_by_its_pixels(
    run: Path, dataset: Path, tmp_path: Path, tiny_config: Config
) -> None:
    moved = shutil.copytree(dataset, tmp_path / "moved")
    assert evaluate(tiny_config, run, moved).output == run
    image = moved / read_layout(moved, tiny_config)["test"][0].image.relative_to(moved)
    (moved / "split.csv").unlink()
    pixels = read_pixels(image).astype(np.uint8)
    write_png(image, 255 - pixels)
    assert evaluate(tiny_config, run, moved).output != run  # a slice is another
    write_png(image, pixels)
    assert evaluate(tiny_config, run, moved).output == run
    image.unlink()
    assert evaluate(tiny_config, run, moved).output != run  # a slice is missing


@pytest.mark.parametrize("form", ["dataset", "listed", "bare"])
def test_a_test_part_alone_is_enough(
    form: str, run: Path, dataset: Path, tmp_path: Path, lungseg: Cli
) -> None:
    data = tmp_path / "sent"
    shutil.copytree(dataset / "test", data / "test")
    if form == "bare":
        data = data / "test"
    elif form == "listed":
        data = shutil.copytree(dataset, tmp_path / "whole") / "test"  # split.csv is beside it
    out = tmp_path / "out"
    result = lungseg("evaluate", "--run", run, "--data", data, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert cases_of(out) == cases_to_test(dataset)
    summary = json.loads((out / "evaluation.json").read_text())
    assert summary["part"] == ("test" if form == "dataset" else "all")
    expected = {"dataset": None, "listed": "split.csv", "bare": "likeness"}[form]
    assert summary.get("patients_from") == expected
    if form == "listed":
        groups = {r["group"] for r in read_csv(dataset / "split.csv") if r["part"] == "test"}
        assert set(summary["per_patient"]) == groups


def test_prepared_slices_are_scored_whole(
    run: Path, tmp_path: Path, tiny_config: Config, lungseg: Cli
) -> None:
    write_phantoms(tmp_path / "raw", patients=2, slices=3)
    config = check_config(
        {**tiny(), "prepare": {"copies": 1}, "augment": {"offline": {"hflip": 1.0}}}, "test"
    )
    prepared = tmp_path / "prepared"
    prepare(config, tmp_path / "raw" / "images", tmp_path / "raw" / "masks", prepared)
    result = evaluate(tiny_config, run, prepared, tmp_path / "out")
    rows = read_csv(prepared / "manifest.csv")
    assert cases_of(tmp_path / "out") == {r["case"] for r in rows if r["case"] == r["source"]}
    assert (result.summary["part"], result.summary["patients"]) == ("all", 2)
    assert result.summary["patients_from"] == "split.group_regex"
    refused = lungseg("evaluate", "--run", run, "--data", prepared, "--part", "valid", "-o", "x")
    assert refused.exit_code == 2
    assert "has no parts" in refused.stderr


def test_the_names_of_the_runs_own_patients_are_no_rule_for_other_slices(
    run: Path, raw: Path, tmp_path: Path, lungseg: Cli
) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "other" / kind).mkdir(parents=True)
        for number, path in enumerate(sorted((raw / kind).iterdir())[:4]):
            shutil.copy(path, tmp_path / "other" / kind / f"x{number}.png")
    arguments = ("evaluate", "--run", run, "--data", tmp_path / "other", "-o", tmp_path / "out")
    result = lungseg(*arguments)
    assert result.exit_code == 0, result.stderr
    named = lungseg(*arguments, "--overwrite", "-s", r"split.group_regex=^(y\d+)")
    assert (named.exit_code, "does not match the case" in named.stderr) == (2, True)


def test_slices_of_another_size_are_said(
    run: Path, dataset: Path, tmp_path: Path, tiny_config: Config, lungseg: Cli
) -> None:
    larger = shutil.copytree(dataset, tmp_path / "larger")
    (larger / "split.csv").unlink()
    pairs = sorted((larger / "test" / "images").iterdir())
    for image in pairs[1:]:
        for path in (image, larger / "test" / "masks" / image.name):
            write_png(path, read_pixels(path).repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8))
    out = tmp_path / "out"
    result = lungseg("evaluate", "--run", run, "--data", larger, "-o", out)
    assert result.exit_code == 0, result.stderr
    [caveat] = json.loads((out / "evaluation.json").read_text())["caveats"]
    count = f"{len(pairs) - 1} of {len(pairs)} slices were resized to the network's {SIDE} x {SIDE}"
    assert caveat.startswith(count)
    assert f"{len(pairs) - 1} of {2 * SIDE} x {2 * SIDE}" in caveat
    assert count in html.unescape((out / "report.html").read_text())
    assert count in result.stderr.replace("\n", " ")
    same = evaluate(tiny_config, run, dataset, tmp_path / "same")
    assert same.summary["caveats"] == []


@pytest.mark.parametrize("scored", ["prepared", "dataset", "dataset/test"])
def test_slices_of_another_window_are_said(
    scored: str, run: Path, raw: Path, tmp_path: Path, tiny_config: Config
) -> None:
    given = tiny()
    given["data"]["window"] = [-160, 240]
    config = check_config(given, "test")
    prepare(config, raw / "images", raw / "masks", tmp_path / "prepared")
    split(config, tmp_path / "prepared", tmp_path / "dataset")
    result = evaluate(tiny_config, run, tmp_path / scored, tmp_path / "out")
    assert result.summary["caveats"] == [
        "the slices were prepared with the window -160 to 240 HU, the network was trained with "
        "-1000 to 400 HU"
    ]
    assert "the window -160 to 240 HU" in (tmp_path / "out" / "report.html").read_text()


def test_all_patients_may_be_in_the_test_part(
    run: Path, prepared: Path, tmp_path: Path, config_file: Path, lungseg: Cli
) -> None:
    settings = ("-c", config_file, "-s", "split.fractions=[0, 0, 1]")
    done = lungseg("split", *settings, "--input", prepared, "-o", tmp_path / "dataset")
    assert done.exit_code == 0, done.stderr
    assert {row["part"] for row in read_csv(tmp_path / "dataset" / "split.csv")} == {"test"}
    result = lungseg("evaluate", "--run", run, "--data", tmp_path / "dataset", "-o", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    folds = lungseg("split", *settings, "-s", "split.folds=2", "--input", prepared, "-o", "x")
    assert folds.exit_code == 2
    assert "folds need slices to train on" in folds.stderr


def test_a_run_without_its_network_is_told_the_command_that_goes_on(
    run: Path, dataset: Path, tiny_config: Config
) -> None:
    (run / "model.onnx").unlink()
    with pytest.raises(UsageError, match=f"lungseg train --resume --run {run}. "):
        evaluate(tiny_config, run, dataset)


@pytest.mark.parametrize(
    ("scored", "folder"),
    [("a", ""), ("c", "evaluation_valid"), ("b", "evaluation_train"), ("ab", "evaluation_train")],
)
def test_slices_of_several_parts_are_those_of_the_last(
    scored: str, folder: str, tmp_path: Path
) -> None:
    # Slice a is in the test part and, by a leak, in the training as well.
    listed = [("train", "a"), ("train", "b"), ("valid", "c"), ("test", "a")]
    rows = [{"part": part, "sha256": name} for part, name in listed]
    write_csv(tmp_path / "data.csv", ("part", "sha256"), rows)
    found = results_folder(tmp_path, tmp_path / "data", [(tmp_path, set(scored))])
    assert found == tmp_path / folder
