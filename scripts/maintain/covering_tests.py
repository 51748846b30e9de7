"""Find the fast tests that run a line, by one run of them all under coverage.py.

Used as a plugin of pytest (`-p scripts.maintain.covering_tests`), it writes how long each test
took, whether it passed, which fixtures it shares with others, and how long each of these took.
"""

from __future__ import annotations

import ast
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from scripts.maintain.forked_pytest import run_pytest

REPORT = "tests.json"
_found: dict[str, dict[str, Any]] = {}
_fixtures: dict[str, float] = {}


def pytest_collection_modifyitems(items: Iterable[Any]) -> None:
    """Note the fixtures that a test has together with others."""
    for item in items:
        definitions = item._fixtureinfo.name2fixturedefs
        shared = [name for name, [*_, last] in definitions.items() if _is_shared(last)]
        _found[item.nodeid] = {"seconds": 0.0, "failed": False, "shared": shared}


def _is_shared(definition: Any) -> bool:
    # Fixtures of plugins run nothing of ours.
    return bool(definition.scope != "function" and definition.func.__module__.startswith("tests"))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any) -> Iterator[None]:
    """Note how long a shared fixture takes, without those that it rests on."""
    start = time.perf_counter()
    try:
        return (yield)
    finally:
        if _is_shared(fixturedef):
            _note_fixture(fixturedef.argname, time.perf_counter() - start)


def _note_fixture(name: str, seconds: float) -> None:
    # Several modules may have a fixture of one name: the slowest counts.
    _fixtures[name] = max(seconds, _fixtures.get(name, 0.0))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how long a part of a test took, and whether it failed."""
    # pytest-xdist reports a test in its own process and in the first one, which collects none.
    if found := _found.get(report.nodeid):
        found["seconds"] += report.duration
        found["failed"] |= report.failed


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was noted; a process of pytest-xdist hands it to the first one."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["found"] = {name: found for name, found in _found.items() if found["seconds"]}
        output["fixtures"] = _fixtures
    else:
        document = {"tests": _found, "fixtures": _fixtures}
        Path(REPORT).write_text(json.dumps(document), encoding="utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take what a process of pytest-xdist noted.

    Raises:
        RuntimeError: if the process crashed, so that its tests are not known.
    """
    if error:
        raise RuntimeError(f"a process of the tests crashed: {error}")
    _found.update(node.workeroutput["found"])
    for name, seconds in node.workeroutput["fixtures"].items():
        _note_fixture(name, seconds)


def find_covering_tests(copy: Path, tests: Sequence[str], processes: int = 1) -> None:
    """Run the fast tests of a copy of the tree, and write which lines each of them runs.

    Args:
        copy: The root of the copy.
        tests: Files of tests, or folders.
        processes: How many files of tests run at a time.

    Raises:
        SystemExit: if a test fails.
    """
    options = ["-p", __name__, "--cov=lungseg", "--cov-context=test", "--cov-report="]
    if processes > 1:
        options += ["-n", str(processes), "--dist", "loadfile"]
    run_pytest(copy, [*options, "-m", "not slow", *tests], timeout=4 * 3600)
    found: dict[str, dict[str, Any]] = json.loads((copy / REPORT).read_text())["tests"]
    failed = [name for name in found if found[name]["failed"]]
    if failed:
        raise SystemExit(f"these tests fail without a change: {' '.join(failed)}")


class CoveringTests:
    """The fast tests that run each line of a copy of the tree."""

    def __init__(self, copy: Path) -> None:
        """Read what `find_covering_tests` wrote."""
        from coverage import CoverageData

        self.copy = copy
        report = json.loads((copy / REPORT).read_text())
        self.tests: dict[str, dict[str, Any]] = report["tests"]
        self.fixtures: dict[str, float] = report["fixtures"]
        self._sharing: dict[str, set[str]] = defaultdict(set)
        for name, test in self.tests.items():
            for fixture in test["shared"]:
                self._sharing[fixture].add(name)
        self._data = CoverageData(str(copy / ".coverage"))
        self._data.read()

    def of(self, file: str, line: int) -> list[str]:
        """Return the tests that run a line, quickest first, with their fixtures.

        A line that runs in a fixture counts for every test with that fixture. A line that runs at
        import, such as a constant, has none.
        """
        contexts = self._data.contexts_by_lineno(os.path.realpath(self.copy / file))
        found: set[str] = set()
        source = (self.copy / file).read_text(encoding="utf-8")
        for number in lines_of_statement(source, line):
            for context in contexts.get(number, []):
                name, _, phase = context.rpartition("|")
                if name not in self.tests:
                    continue
                found.add(name)
                if phase == "setup":
                    found.update(*(self._sharing[each] for each in self.tests[name]["shared"]))
        return sorted(found, key=lambda test: self.seconds_of([test]))

    def seconds_of(self, names: Iterable[str]) -> float:
        """Return how long tests take together on the unchanged copy, with each fixture once."""
        tests = [self.tests[name] for name in names]
        shared = {fixture for test in tests for fixture in test["shared"]}
        fixtures = sum(self.fixtures.get(fixture, 0.0) for fixture in shared)
        return float(sum(test["seconds"] for test in tests) + fixtures)


def lines_of_statement(source: str, line: int) -> range:
    """Return the lines of the statement at a line; of a block, only those of its head.

    The head of a function or class runs at import, so all of its lines count, decorators included.
    """
    head, statement = _statement(source, line)
    return range(head.start, statement.end_lineno + 1) if _is_definition(statement) else head


def is_in_definition(source: str, line: int) -> bool:
    """Whether a line is in the head of a function or class, decorators included."""
    return _is_definition(_statement(source, line)[1])


def _is_definition(statement: Any) -> bool:
    return isinstance(statement, (ast.FunctionDef, ast.ClassDef))


def _statement(source: str, line: int) -> tuple[range, Any]:
    """Return the smallest statement at a line, and its lines; of a block, those of its head."""
    found: list[tuple[range, Any]] = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.stmt):
            continue
        body, end = getattr(node, "body", None), node.end_lineno or node.lineno
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
        last = max(node.lineno, body[0].lineno - 1) if body else end
        if line in range(first, last + 1):
            found.append((range(first, last + 1), node))
    return min(found, key=lambda each: len(each[0]), default=(range(line, line + 1), None))
