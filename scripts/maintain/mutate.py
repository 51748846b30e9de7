"""Change lines of lungseg one at a time, and list the changes that no fast test notices.

cosmic-ray makes the changes (`make mutate` installs it). First all fast tests run once under
coverage.py. Then each change is tried in a copy of the tree, by the tests that run its line. A
change that survives is a line that no test guards, or one that does the same. Results are written
after each change, so the same command goes on after an interruption.

Example:
    python -m scripts.maintain.mutate --count 400 --seed 1
"""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import py_compile
import re
import shutil
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any

import typer

from lungseg.system.tables import read_json, write_json
from scripts.maintain.check_sizes import files_of_repository
from scripts.maintain.covering_tests import (
    CoveringTests,
    find_covering_tests,
    is_in_definition,
)
from scripts.maintain.forked_pytest import KILLED, run_pytest
from scripts.maintain.mutants import PACKAGES, Mutant, choose, package_of, sources

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).with_name("mutants.json")
# A change may make a loop endless: tests are stopped after this many times their usual duration.
SLOWDOWN, LEAST_TIMEOUT_S = 5, 240
# Nearly every test runs some lines. So tests run in portions of these many seconds, the quickest
# first, until one notices the change. All changes are tried by the quick portions before any is
# tried by the slow one, which takes minutes and begins with the tests of the same subject. So a run
# that is stopped early has tried most of them. What is beyond counts as if it did not notice.
QUICK_PORTIONS, SLOW_PORTION = (4.0, 30.0), 120.0
NOT_YET = "survived the quick tests"
USUAL_SECONDS = 40.0  # of a file of tests, whose duration is not known
NO_TESTS = 5  # pytest's exit status if there is nothing to run


def naming_tests(root: Path, file: str) -> list[str]:
    """Return the files of tests of a module: its own, then those that import it by name."""
    module = file.removesuffix(".py").replace("/", ".")
    parent, _, name = module.rpartition(".")
    named = re.compile(rf"\b{re.escape(module)}\b|from {re.escape(parent)} import .*\b{name}\b")
    folder = root / package_of(file).replace("lungseg", "tests", 1)
    naming = [
        path.relative_to(root).as_posix()
        for path in sorted(folder.rglob("test_*.py"))
        if named.search(path.read_text(encoding="utf-8"))
    ]
    return sorted(naming, key=lambda test: not test.endswith(f"/test_{name}.py"))


class Trial:
    """Tries changes in a copy of the tree."""

    def __init__(self, copy: Path, covering: CoveringTests) -> None:
        """Take the copy, and the tests that run each line of another copy."""
        self.copy = copy
        self.covering = covering

    def tests_for(self, mutant: Mutant) -> tuple[list[list[str]], list[list[str]]]:
        """Return the tests that may notice a change, in portions: the quick and the slow ones.

        Those that name the module come first. A decorator acts also where its function does not
        run, so the whole file of the module's own tests tries its change.
        """
        naming = naming_tests(self.copy, mutant.file)
        source = (self.copy / mutant.file).read_text(encoding="utf-8")
        rest = self.covering.of(mutant.file, mutant.line)
        rest.sort(key=lambda test: test.split("::")[0] not in naming)
        quick = [naming[:1]] if is_in_definition(source, mutant.line) else []
        for limit in QUICK_PORTIONS:
            quick.append(self.within(limit, rest))
            rest = rest[len(quick[-1]) :]
        rest.sort(key=lambda test: not of_subject(test, mutant.file))
        slow = [self.within(SLOW_PORTION, rest)]
        quick, slow = ([tests for tests in portions if tests] for portions in (quick, slow))
        return quick or [naming] * bool(naming), slow

    def within(self, limit: float, tests: Sequence[str]) -> list[str]:
        """Return the first tests, at most so many seconds of them, but at least one."""
        numbers = range(1, len(tests) + 1)
        fitting = bisect_right(numbers, limit, key=lambda n: self.covering.seconds_of(tests[:n]))
        return list(tests[: max(1, fitting)])

    def outcome_of(self, mutant: Mutant, quick: bool) -> str:
        """Return `killed`, `timed out`, `survived`, or `NOT_YET` if slower tests are to follow.

        Args:
            mutant: the change to try.
            quick: whether to try it by the quick tests, or by those that follow them.
        """
        quick_tests, slow_tests = self.tests_for(mutant)
        for tests in quick_tests if quick else slow_tests:
            outcome = self.try_by(tests, mutant)
            if outcome != "survived":
                return outcome
        return NOT_YET if quick and slow_tests else "survived"

    def try_by(self, tests: Sequence[str], mutant: Mutant) -> str:
        """Return the outcome of a change by some tests."""
        from cosmic_ray.mutating import use_mutation
        from cosmic_ray.plugins import get_operator

        # A whole file of tests has no duration of its own.
        known = [test for test in tests if "::" in test]
        usual = self.covering.seconds_of(known) if known else USUAL_SECONDS
        timeout = max(LEAST_TIMEOUT_S, SLOWDOWN * usual)
        operator = get_operator(mutant.operator)()
        with use_mutation(self.copy / mutant.file, operator, mutant.occurrence):
            status = run_pytest(self.copy, ["-x", "-m", "not slow", *tests], timeout)
        if status == KILLED:
            return "timed out"
        return "survived" if status in (0, NO_TESTS) else "killed"


def of_subject(test: str, file: str) -> bool:
    """Whether a test is of the package or the command that a file belongs to, by its path."""
    words = {"evaluation": "evaluat", "inference": "infer", "training": "train"}
    package = package_of(file).rpartition("/")[2]
    return f"/{package}/" in test or words.get(package, "prepare") in test


def copy_tree(root: Path, copy: Path) -> None:
    """Copy what git knows, or would add, and compile our packages.

    Tests start many processes, and none may write compiled files (`forked_pytest`). Python tells by
    its hash whether a compiled file is still that of its source, so a change is never overlooked.
    """
    for name in files_of_repository(root):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, copy / name)
    for package in ("lungseg", "scripts"):
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(copy / package, quiet=1, invalidation_mode=mode)


def make_trials(root: Path, work: Path, sources: str, count: int) -> list[Trial]:
    """Run the fast tests once, unless it was done for these sources; return so many trials.

    Each has a copy of its own. No change is made in the copy whose tests were run.
    """
    unchanged = work / "unchanged"
    copy_tree(root, unchanged)
    done = unchanged / "covered.txt"
    if not done.exists() or done.read_text() != sources:
        find_covering_tests(unchanged, ["tests"], processes=count)
        done.write_text(sources)
    covering = CoveringTests(unchanged)
    trials = [Trial(work / f"copy_{number}", covering) for number in range(count)]
    for trial in trials:
        copy_tree(root, trial.copy)
    return trials


def try_all(
    mutants: Sequence[Mutant], trials: Sequence[Trial], quick: bool
) -> Iterator[tuple[Mutant, str]]:
    """Yield each change and its outcome as soon as it is known, one at a time in each trial."""
    free: SimpleQueue[Trial] = SimpleQueue()
    for trial in trials:
        free.put(trial)

    def work(mutant: Mutant) -> tuple[Mutant, str]:
        trial = free.get()
        try:
            return mutant, trial.outcome_of(mutant, quick)
        finally:
            free.put(trial)

    with ThreadPoolExecutor(len(trials)) as pool:
        waiting = [pool.submit(work, mutant) for mutant in mutants]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def summarise(outcomes: Mapping[Mutant, str]) -> dict[str, Any]:
    """Return the number of changes by package and outcome."""
    counts: dict[str, Counter[str]] = {package: Counter() for package in PACKAGES}
    for mutant, outcome in outcomes.items():
        counts[package_of(mutant.file)][outcome] += 1
    return {package: dict(sorted(counter.items())) for package, counter in counts.items()}


def known_outcomes(result: Path, head: Mapping[str, Any], anew: bool) -> dict[Mutant, str]:
    """Return the changes that were tried before.

    Raises:
        SystemExit: if they are of other sources or another seed.
    """
    known: Mapping[str, Any] = read_json(result) if result.exists() and not anew else head
    if {key: known.get(key) for key in head} != head:
        raise SystemExit(f"{result} is of other sources or another seed; --anew replaces it.")
    return outcomes_in(known)


def outcomes_in(found: Mapping[str, Any]) -> dict[Mutant, str]:
    """Return the changes and outcomes of a file of results."""
    return {
        Mutant(**{key: each[key] for key in each if key != "outcome"}): each["outcome"]
        for each in found.get("mutants", [])
    }


def list_outcomes(outcomes: Mapping[Mutant, str], which: Sequence[str]) -> None:
    """Print the changes with some outcomes."""
    for outcome in which:
        found = sorted(str(mutant) for mutant in outcomes if outcomes[mutant] == outcome)
        typer.echo(f"\n{len(found)} of {len(outcomes)} {outcome}")
        typer.echo("\n".join(found))


def main(
    count: Annotated[int, typer.Option(min=1, help="Changes to try.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice.")] = 1,
    anew: Annotated[bool, typer.Option(help="Forget the results so far.")] = False,
    result: Annotated[Path, typer.Option(help="Where the results are kept.")] = RESULT,
    work: Annotated[
        Path | None, typer.Option(help="Folder of the copies; the next call runs no test twice.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Changes tried at a time.")] = 2,
) -> None:
    """Try changes, and list those that survive."""
    texts = [(ROOT / file).read_bytes() for file in sources(ROOT)]
    head: dict[str, Any] = {"seed": seed, "sources": hashlib.sha256(b"".join(texts)).hexdigest()}
    chosen = choose(ROOT, count, seed)
    known = known_outcomes(result, head, anew)
    outcomes = {mutant: known[mutant] for mutant in chosen if mutant in known}
    typer.echo(f"{len(chosen)} changes, seed {seed}; {len(outcomes)} are tried already")
    with contextlib.ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trials = make_trials(ROOT, folder, head["sources"], processes)
        for quick, before in ((True, None), (False, NOT_YET)):
            waiting = [mutant for mutant in chosen if outcomes.get(mutant) == before]
            for mutant, outcome in try_all(waiting, trials, quick):
                outcomes[mutant] = outcome
                typer.echo(f"{len(outcomes)}/{len(chosen)} {outcome}: {mutant}")
                tried = [{**asdict(each), "outcome": outcomes[each]} for each in outcomes]
                write_json(result, {**head, "counts": summarise(outcomes), "mutants": tried})
    list_outcomes(outcomes, ["timed out", "survived"])


if __name__ == "__main__":
    typer.run(main)
