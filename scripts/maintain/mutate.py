"""Change lines of lungseg one at a time, and list the changes that no fast test notices.

cosmic-ray makes the changes (`make mutate` installs it). Each is tried in a copy of the tree: first
by the tests that belong to its module, then by the wider tests of its package. A change that
survives both is a line that no test guards, or one that does the same. Results are written after
each change, so the same command goes on after an interruption.

Example:
    python -m scripts.maintain.mutate --count 400 --seed 1
"""

from __future__ import annotations

import ast
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lungseg.system.tables import read_json, write_json
from scripts.maintain.check_sizes import files_of_repository

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).with_name("mutants.json")
# What is changed, and the tests of a package that go beyond its own folder.
PACKAGES = {
    "lungseg/evaluation": ["tests/verbs/test_evaluate.py", "tests/verbs/test_evaluate_folders.py"],
    "lungseg/dataset": ["tests/verbs/test_prepare.py", "tests/verbs/test_prepare_volumes.py",
                        "tests/verbs/test_split.py", "tests/verbs/test_folds.py"],
    "lungseg/inference": ["tests/verbs/test_infer.py", "tests/verbs/test_infer_options.py",
                          "tests/verbs/test_label.py", "tests/imaging/test_volumes.py",
                          "tests/test_api.py"],
    "lungseg/imaging": ["tests/verbs/test_prepare_volumes.py", "tests/verbs/test_infer.py"],
    "lungseg/training": ["tests/verbs/test_train.py"],
}  # fmt: skip
ONLY = {"lungseg/training": ("losses.py", "callbacks.py")}
# Bits in place of arithmetic are an error of floats at once, which any test notices.
TOO_EASY = re.compile(r"BinaryOperator_(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)_(Bit|LShift|RShift)")
# A change may make a loop endless: tests are stopped after this many times their usual duration.
SLOWDOWN, LEAST_TIMEOUT_S = 5, 60


@dataclass(frozen=True)
class Mutant:
    """One change: the file, the line, cosmic-ray's operator, and the line before and after."""

    file: str
    line: int
    operator: str
    occurrence: int
    before: str
    after: str

    def __str__(self) -> str:
        """Return the change as it is listed."""
        return f"{self.file}:{self.line}: {self.before}  ->  {self.after}"


@dataclass(frozen=True)
class Place:
    """A place in a file, and all changes that cosmic-ray would make there."""

    file: str
    position: tuple[int, int]
    changes: list[tuple[str, int]]


def sources(root: Path) -> list[str]:
    """Return the files to change, relative to the root."""
    return [
        path.relative_to(root).as_posix()
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
        if path.name in ONLY.get(package, (path.name,))
    ]


def package_of(file: str) -> str:
    """Return the key of `PACKAGES` that a file belongs to."""
    return next(package for package in PACKAGES if file.startswith(package + "/"))


def places(root: Path) -> list[Place]:
    """Return every place that cosmic-ray can change, in the order of files and lines."""
    from cosmic_ray.commands.init import init
    from cosmic_ray.work_db import WorkDB, use_db

    found: dict[tuple[str, tuple[int, int]], list[tuple[str, int]]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        use_db(Path(folder) / "session.sqlite", WorkDB.Mode.create) as session,
    ):
        init([root / file for file in sources(root)], session, {})
        for item in session.work_items:
            [spec] = item.mutations
            if TOO_EASY.search(spec.operator_name):
                continue
            file = Path(spec.module_path).relative_to(root).as_posix()
            changes = found.setdefault((file, tuple(spec.start_pos)), [])
            changes.append((spec.operator_name, spec.occurrence))
    return [Place(*key, sorted(changes)) for key, changes in sorted(found.items())]


def spread(candidates: Sequence[Place], seed: int) -> Iterator[tuple[Place, tuple[str, int]]]:
    """Yield one random change of each place, by turns from each package, in an order of the seed.

    An operator such as `+` has eleven changes and a number two, so places are drawn, not changes.
    """
    rng = random.Random(seed)
    queues: dict[str, list[Place]] = {package: [] for package in PACKAGES}
    for place in candidates:
        queues[package_of(place.file)].append(place)
    for queue in queues.values():
        rng.shuffle(queue)
    while any(queues.values()):
        for queue in queues.values():
            if queue:
                place = queue.pop()
                yield place, rng.choice(place.changes)


def same_program(one: str, other: str) -> bool:
    """Whether two sources differ at most in the types of names, which Python does not check."""

    def without_types(source: str) -> str:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            for name in ("annotation", "returns"):
                if hasattr(node, name):
                    setattr(node, name, None)
        return ast.dump(tree)

    return without_types(one) == without_types(other)


def choose(root: Path, count: int, seed: int) -> list[Mutant]:
    """Choose `count` changes, spread evenly over the packages; fewer if there are no more."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    chosen: list[Mutant] = []
    for place, (operator, occurrence) in spread(places(root), seed):
        if len(chosen) == count:
            break
        source = (root / place.file).read_text(encoding="utf-8")
        changed = mutate_code(source, get_operator(operator)(), occurrence)
        if changed is None or same_program(source, changed):
            continue
        pairs = enumerate(zip(source.splitlines(), changed.splitlines(), strict=False), 1)
        line, before, after = next((k, a.strip(), b.strip()) for k, (a, b) in pairs if a != b)
        chosen.append(Mutant(place.file, line, operator, occurrence, before, after))
    return chosen


def tests_of(root: Path, file: str) -> list[str]:
    """Return the tests of a module in its package's folder: its own, then others that name it."""
    module = file.removesuffix(".py").replace("/", ".")
    parent, _, name = module.rpartition(".")
    named = re.compile(rf"\b{re.escape(module)}\b|from {re.escape(parent)} import .*\b{name}\b")
    naming = [
        path.relative_to(root).as_posix()
        for path in sorted((root / folder_of(file)).rglob("test_*.py"))
        if named.search(path.read_text(encoding="utf-8"))
    ]
    return sorted(naming, key=lambda test: not test.endswith(f"/test_{name}.py"))


def folder_of(file: str) -> str:
    """Return the folder of tests of a module's package."""
    return package_of(file).replace("lungseg", "tests", 1)


def wider_tests(file: str) -> list[str]:
    """Return the tests of a module's package."""
    return [folder_of(file), *PACKAGES[package_of(file)]]


def run_tests(copy: Path, tests: Sequence[str], timeout: float) -> str:
    """Run fast tests in the copy until one fails: `passed`, `failed` or `timed_out`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-x", "-m", "not slow", "-p", "no:cacheprovider", *tests],
        cwd=copy,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Python tells a changed file by its size and second, which two changes may share.
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    )
    try:
        code = process.wait(timeout)
    except BaseException as problem:  # after Ctrl+C, too, the tests and their children must end
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(problem, subprocess.TimeoutExpired):
            return "timed_out"
        raise
    return "passed" if code in (0, 5) else "failed"  # 5: there are no fast tests


class Trial:
    """Tries changes in a copy of the tree."""

    def __init__(self, root: Path, copy: Path) -> None:
        """Copy what git knows, or would add."""
        self.copy = copy
        for name in files_of_repository(root):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, copy / name)
        self._timeouts: dict[tuple[str, ...], float] = {}

    def timeout_of(self, tests: Sequence[str]) -> float:
        """Return the limit of some tests, which must pass on the unchanged tree."""
        key = tuple(tests)
        if key not in self._timeouts:
            started = time.monotonic()
            if run_tests(self.copy, tests, timeout=3600) != "passed":
                raise SystemExit(f"these tests fail without a change: {' '.join(tests)}")
            usual = time.monotonic() - started
            self._timeouts[key] = max(LEAST_TIMEOUT_S, SLOWDOWN * usual)
        return self._timeouts[key]

    def outcome_of(self, mutant: Mutant) -> str:
        """Return `by its own tests`, `by its package's tests`, `timed out` or `survived`."""
        from cosmic_ray.mutating import use_mutation
        from cosmic_ray.plugins import get_operator

        stages = {
            "by its own tests": tests_of(self.copy, mutant.file),
            "by its package's tests": wider_tests(mutant.file),
        }
        for stage, tests in stages.items():
            if not tests:
                continue
            timeout = self.timeout_of(tests)
            operator = get_operator(mutant.operator)()
            with use_mutation(self.copy / mutant.file, operator, mutant.occurrence):
                found = run_tests(self.copy, tests, timeout)
            if found != "passed":
                return "timed out" if found == "timed_out" else stage
        return "survived"


def summarise(outcomes: Mapping[Mutant, str]) -> dict[str, Any]:
    """Return the number of changes by package and outcome."""
    counts: dict[str, Counter[str]] = {package: Counter() for package in PACKAGES}
    for mutant, outcome in outcomes.items():
        counts[package_of(mutant.file)][outcome] += 1
    return {package: dict(sorted(counter.items())) for package, counter in counts.items()}


def main(
    count: Annotated[int, typer.Option(min=1, help="Changes to try.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice.")] = 1,
    anew: Annotated[bool, typer.Option(help="Forget the results so far.")] = False,
    result: Annotated[Path, typer.Option(help="Where the results are kept.")] = RESULT,
) -> None:
    """Try changes, and list those that survive."""
    texts = [(ROOT / file).read_bytes() for file in sources(ROOT)]
    head = {"seed": seed, "sources": hashlib.sha256(b"".join(texts)).hexdigest()}
    known: dict[str, Any] = read_json(result) if result.exists() and not anew else head
    if {key: known.get(key) for key in head} != head:
        raise SystemExit(f"{result} is of other sources or another seed; --anew replaces it.")
    outcomes = {
        Mutant(**{key: each[key] for key in each if key != "killed"}): each["killed"]
        for each in known.get("mutants", [])
    }
    chosen = choose(ROOT, count, seed)
    typer.echo(f"{len(chosen)} changes, seed {seed}; {len(outcomes)} are tried already")
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(ROOT, Path(folder))
        for number, mutant in enumerate(chosen, 1):
            if mutant in outcomes:
                continue
            outcomes[mutant] = trial.outcome_of(mutant)
            typer.echo(f"{number}/{len(chosen)} {outcomes[mutant]}: {mutant}")
            tried = [{**asdict(each), "killed": outcomes[each]} for each in outcomes]
            write_json(result, {**head, "counts": summarise(outcomes), "mutants": tried})
    for outcome in ("timed out", "survived"):
        left = sorted(str(mutant) for mutant in outcomes if outcomes[mutant] == outcome)
        typer.echo(f"\n{len(left)} of {len(outcomes)} {outcome}")
        typer.echo("\n".join(left))


if __name__ == "__main__":
    typer.run(main)
