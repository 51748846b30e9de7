"""The page lists how many changes were noticed, and each survivor with the reason."""

from dataclasses import asdict
from pathlib import Path

from lungseg.system.tables import read_json, write_json
from scripts.maintain.describe_mutants import HARMLESS, MISSING, key_of, section
from scripts.maintain.mutants import Mutant
from tests.support.places import REPOSITORY


def change(file: str, after: str) -> Mutant:
    return Mutant(f"lungseg/{file}.py", 7, "operator", 0, "a | b", after)


def test_survivors_are_listed_with_their_reason_or_that_there_is_none(tmp_path: Path) -> None:
    same, other = change("dataset/slices", "b | a"), change("dataset/slices", "a")
    outcomes = {
        same: "survived",
        other: "survived",
        change("dataset/checks", "x"): "timed out",
        **{change("imaging/pixels", str(k)): "killed" for k in range(5)},
    }
    write_json(
        tmp_path / "mutants.json",
        {"seed": 9, "mutants": [{**asdict(m), "outcome": o} for m, o in outcomes.items()]},
    )
    write_json(tmp_path / "harmless.json", {key_of(same): "union has no order"})
    page = section(tmp_path / "mutants.json", tmp_path / "harmless.json")
    said = " ".join(page.split())
    assert "Seed 9: 8 changes were tried, and the tests noticed 6 of them (75%)." in said
    assert "| `lungseg/dataset` | 3 | 0 | 1 | 2 |" in page
    assert "| `lungseg/imaging` | 5 | 5 | 0 | 0 |" in page
    assert "| `lungseg/evaluation` | 0 | 0 | 0 | 0 |" in page
    rows = [line for line in page.splitlines() if line.startswith("| `lungseg/dataset/")]
    assert rows == [
        rf"| `lungseg/dataset/slices.py:7: a \| b  ->  a` | {MISSING} |",
        r"| `lungseg/dataset/slices.py:7: a \| b  ->  b \| a` | union has no order |",
    ]


def test_every_reason_names_a_change_of_a_file_that_is_there() -> None:
    for key in read_json(HARMLESS):
        file, _, lines = key.partition(": ")
        before, arrow, after = lines.partition("  ->  ")
        assert before and arrow and after, key
        assert (REPOSITORY / file).is_file(), key
