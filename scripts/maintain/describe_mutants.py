"""Describe the changes of `make mutate`, as Markdown for docs/robustness.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lungseg.system.tables import read_json
from scripts.bench.write_networks import paragraph
from scripts.maintain.mutants import Mutant
from scripts.maintain.mutate import NOT_YET, RESULT, outcomes_in, summarise

# Why a change that no fast test notices does no harm, by `key_of`.
HARMLESS = Path(__file__).with_name("harmless.json")
MISSING = "it may do harm: a test is missing"
OUTCOMES = ("killed", "timed out", "survived")


def section(result: Path = RESULT, harmless: Path = HARMLESS) -> str:
    """Return the section; without results, how to get some."""
    if not result.exists():
        return "`make mutate` was not run yet."
    found, reasons = read_json(result), read_json(harmless)
    outcomes = outcomes_in(found)
    return "\n\n".join([_head(found, outcomes), _table(outcomes), _listed(outcomes, reasons)])


def _head(found: Mapping[str, Any], outcomes: Mapping[Mutant, str]) -> str:
    tried = len(outcomes)
    noticed = len(outcomes) - len(_survivors(outcomes))
    return paragraph(
        "`make mutate` changes single places of the code, spread evenly over these packages, and "
        f"runs the fast tests that run the line. Seed {found['seed']}: {tried} changes were "
        f"tried, and the tests noticed {noticed} of them ({noticed / max(1, tried):.0%}). A "
        "change that makes the tests run for much longer is counted as timed out, which is "
        f"noticed, too. {found.get('remark', '')}".strip()
    )


def _table(outcomes: Mapping[Mutant, str]) -> str:
    lines = ["| package | changes | killed | timed out | survived |", "|---|---|---|---|---|"]
    for package, counts in summarise(outcomes).items():
        row = [counts.get(outcome, 0) for outcome in OUTCOMES]
        row[-1] += counts.get(NOT_YET, 0)
        lines.append(f"| `{package}` | {sum(row)} | {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def _survivors(outcomes: Mapping[Mutant, str]) -> list[Mutant]:
    return sorted((m for m in outcomes if outcomes[m] in ("survived", NOT_YET)), key=str)


def _listed(outcomes: Mapping[Mutant, str], reasons: Mapping[str, str]) -> str:
    survived = _survivors(outcomes)
    if not survived:
        return "No change survived."
    lines = [
        "Those that survived, with the line before and after the change:",
        "",
        "| change | why it does no harm, or what was done |",
        "|---|---|",
    ]
    for mutant in survived:
        shown = str(mutant).replace("|", "\\|")
        lines.append(f"| `{shown}` | {reasons.get(key_of(mutant), MISSING)} |")
    return "\n".join(lines)


def key_of(mutant: Mutant) -> str:
    """Return what a change is called in harmless.json: without the line, which moves."""
    return f"{mutant.file}: {mutant.before}  ->  {mutant.after}"
