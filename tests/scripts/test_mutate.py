"""Changes are spread over packages by a seed, and each is tried by the tests of its module."""

import shutil
from collections import Counter
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import pytest

from scripts.maintain.covering_tests import (
    CoveringTests,
    find_covering_tests,
    lines_of_statement,
)
from scripts.maintain.forked_pytest import KILLED, run_pytest
from scripts.maintain.mutants import (
    PACKAGES,
    Mutant,
    Place,
    package_of,
    same_program,
    sources,
    spread,
)
from scripts.maintain.mutate import NOT_YET, Trial, naming_tests, try_all
from tests.support.places import REPOSITORY


def test_changes_come_from_each_package_by_turns_and_follow_the_seed() -> None:
    # The first package has 40 places, the others have 10; every place has many changes.
    changes = [(operator, k) for operator in "abc" for k in range(5)]
    candidates = [
        Place(f"{package}/module.py", (line, 0), changes)
        for number, package in enumerate(PACKAGES)
        for line in range(10 if number else 40)
    ]
    drawn = list(spread(candidates, seed=3))
    first = Counter(package_of(place.file) for place, _ in drawn[:50])
    assert set(first.values()) == {10}
    assert len({(place.file, place.position) for place, _ in drawn}) == len(drawn) == 80
    assert {operator for _, (operator, _) in drawn} == set("abc")
    assert drawn == list(spread(candidates, seed=3)) != list(spread(candidates, seed=4))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("def f(a: int & None = 1) -> float: return a < 2", True),
        ("def f(a: int | None = 2) -> str: return a < 2", False),
        ("def f(a: int | None = 1) -> str: return a <= 2", False),
    ],
)
def test_a_change_of_types_is_no_change_of_the_program(other: str, same: bool) -> None:
    assert same_program("def f(a: int | None = 1) -> str: return a < 2", other) is same


def test_a_constant_is_tried_by_the_tests_of_its_module_and_then_by_those_that_name_it() -> None:
    own, *others = naming_tests(REPOSITORY, "lungseg/inference/sides.py")
    assert own == "tests/inference/test_sides.py"
    assert "tests/inference/test_measure.py" in others
    assert "tests/inference/test_rows.py" not in others
    # `from lungseg.evaluation import metrics, summary` names two modules.
    named = naming_tests(REPOSITORY, "lungseg/evaluation/summary.py")
    assert named == ["tests/evaluation/test_summary.py", "tests/evaluation/test_metrics.py"]


def test_every_package_exists_and_every_module_is_in_a_package() -> None:
    assert all((REPOSITORY / package).is_dir() for package in PACKAGES)
    files = sources(REPOSITORY)
    assert "lungseg/imaging/dicom/series.py" in files
    training = [file for file in files if package_of(file) == "lungseg/training"]
    assert training == ["lungseg/training/callbacks.py", "lungseg/training/losses.py"]


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        (1, [1, 2]),
        (2, [1, 2]),
        *((line, [3, 4, 5, 6, 7, 8]) for line in (3, 4, 5)),
        (6, [6, 7]),
        (7, [6, 7]),
        (8, [8]),
        (9, [9, 10]),
        (11, [11]),
        (12, [12]),
    ],
)
def test_a_line_belongs_to_its_statement_a_block_to_its_head_and_a_function_to_its_body(
    line: int, lines: list[int]
) -> None:
    source = (
        "a = [\n1]\n@g\ndef f(\nb):\n  c = (\n  2)\n  if c: d = 1\nif (a or\n b):\n  d = 3\n# end"
    )
    assert list(lines_of_statement(source, line)) == lines


# A tree with the plugin and a package. The fixture runs `double` once, for the first of two tests.
TREE = {
    "pyproject.toml": "[tool.pytest.ini_options]\nmarkers = ['slow']\n",
    "lungseg/__init__.py": "",
    "tests/__init__.py": "",
    "lungseg/sums.py": """LIMIT = 3
def double(x):
    return 2 * x
def half(x):
    return x / 2
def rest(x):
    return x % 2
""",
    "tests/test_sums.py": """import pytest
from lungseg.sums import double, half
@pytest.fixture(scope="module")
def four():
    return double(2)
def test_type(four):
    assert isinstance(four, int)
def test_value(four):
    assert four == 4
def test_half():
    assert half(4) == 2
""",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("scripts.maintain.forked_pytest.LIBRARIES", ("pytest",))
    for name in ("covering_tests.py", "forked_pytest.py"):
        (tmp_path / "scripts" / "maintain").mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "scripts" / "maintain" / name, tmp_path / "scripts" / "maintain")
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_the_tests_that_run_a_line_are_found_also_if_a_fixture_runs_it(
    tree: Path, processes: int
) -> None:
    quarter = "from lungseg.sums import half\ndef test_quarter():\n    assert half(half(4)) == 1\n"
    (tree / "tests" / "test_more.py").write_text(quarter)
    find_covering_tests(tree, ["tests"], processes)
    covering = CoveringTests(tree)
    value, kind, half = (f"tests/test_sums.py::test_{name}" for name in ("value", "type", "half"))
    assert set(covering.of("lungseg/sums.py", 3)) == {value, kind}
    assert set(covering.of("lungseg/sums.py", 5)) == {half, "tests/test_more.py::test_quarter"}
    assert covering.of("lungseg/sums.py", 7) == covering.of("lungseg/sums.py", 1) == []
    assert all(covering.seconds_of([name]) > 0 for name in (value, kind, half))
    assert set(covering.fixtures) == {"four"}
    covering.tests = {
        name: {"seconds": seconds, "shared": shared}
        for name, seconds, shared in ((value, 1, ["four"]), (kind, 2, ["four"]), (half, 4, []))
    }
    covering.fixtures = {"four": 10.0}
    assert covering.seconds_of([value, kind, half]) == 17, "the fixture once"
    assert covering.of("lungseg/sums.py", 3) == [value, kind]
    assert covering.of("lungseg/sums.py", 5) == [half]


@pytest.mark.slow
def test_tests_run_in_the_copy_and_a_loop_without_end_is_stopped(tree: Path) -> None:
    assert run_pytest(tree, ["tests"], timeout=600) == 0
    (tree / "lungseg" / "sums.py").write_text(TREE["lungseg/sums.py"].replace("/ 2", "/ 3"))
    assert run_pytest(tree, ["tests"], timeout=600) == 1
    (tree / "tests" / "test_loop.py").write_text("def test_it():\n    while True:\n        pass\n")
    assert run_pytest(tree, ["tests/test_loop.py"], timeout=2) == KILLED


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_tree_whose_tests_fail_is_refused(tree: Path, processes: int) -> None:
    (tree / "tests" / "test_more.py").write_text("def test_it():\n    assert 0\n")
    with pytest.raises(SystemExit, match=r"fail without a change: tests/test_more.py::test_it"):
        find_covering_tests(tree, ["tests"], processes)


SECONDS = {
    "tests/verbs/test_train.py::test_slow": 300.0,
    "tests/verbs/test_evaluate.py::test_verb": 90.0,
    "tests/evaluation/test_surfaces.py::test_own": 3.0,
    "tests/cli/test_cli.py::test_quick": 1.0,
    "tests/api/test_api.py::test_long": 25.0,
    "tests/api/test_api.py::test_longer": 29.0,
}


class Covering:
    """Tests that all run every line."""

    def of(self, file: str, line: int) -> list[str]:
        return sorted(SECONDS, key=SECONDS.__getitem__)

    def seconds_of(self, names: list[str]) -> float:
        return sum(SECONDS[name] for name in names)


def mutant(line: int) -> Mutant:
    return Mutant("lungseg/evaluation/surfaces.py", line, "operator", 0, "a", "b")


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    own = tmp_path / "tests" / "evaluation" / "test_surfaces.py"
    own.parent.mkdir(parents=True)
    own.write_text("from lungseg.evaluation.surfaces import measure\n")
    module = tmp_path / "lungseg" / "evaluation" / "surfaces.py"
    module.parent.mkdir(parents=True)
    module.write_text("LIMIT = 3\n@cache\ndef measure():\n    return LIMIT\n")
    return Trial(tmp_path, Covering())  # type: ignore[arg-type]


def test_the_own_and_quick_tests_come_first_and_in_the_end_those_of_the_subject(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick, slow = trial.tests_for(mutant(1))
    assert [[name.partition("::")[2] for name in portion] for portion in [*quick, *slow]] == [
        ["test_own", "test_quick"],
        ["test_long"],  # another 29 s would be more than 30
        ["test_verb", "test_longer"],  # another 300 s would be more than 120
    ]
    assert len(quick) == 2
    whole = "tests/evaluation/test_surfaces.py"
    assert trial.tests_for(mutant(2)) == trial.tests_for(mutant(3)) == ([[whole], *quick], slow)
    assert trial.tests_for(mutant(4)) == (quick, slow)
    slowest = "tests/verbs/test_train.py::test_slow"
    assert trial.within(4, [slowest, slowest]) == [slowest]
    tried: list[list[str]] = []
    outcomes = iter(["survived", "killed", "timed out", *["survived"] * 3])

    def try_by(self: Trial, tests: list[str], mutant: Mutant) -> str:
        tried.append(tests)
        return next(outcomes)

    monkeypatch.setattr(Trial, "try_by", try_by)
    assert (trial.outcome_of(mutant(1), True), tried) == ("killed", quick)
    assert (trial.outcome_of(mutant(1), True), tried[2:]) == ("timed out", quick[:1])
    assert (trial.outcome_of(mutant(1), True), tried[3:]) == (NOT_YET, quick)
    assert (trial.outcome_of(mutant(1), False), tried[5:]) == ("survived", slow)


def test_a_line_that_no_test_runs_is_tried_by_the_files_that_name_its_module(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.covering = SimpleNamespace(of=lambda file, line: [])  # type: ignore[assignment]
    assert trial.tests_for(mutant(1)) == ([["tests/evaluation/test_surfaces.py"]], [])
    monkeypatch.setattr(Trial, "try_by", lambda *_: "survived")
    assert trial.outcome_of(mutant(1), True) == "survived", "there is no slower test"
    (trial.copy / "tests" / "evaluation" / "test_surfaces.py").unlink()
    assert trial.tests_for(mutant(1)) == ([], [])
    assert trial.outcome_of(mutant(1), True) == "survived"


def test_changes_are_tried_at_the_same_time_but_one_in_each_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Barrier(2, timeout=60)
    busy: Counter[Path] = Counter()

    def outcome_of(self: Trial, mutant: Mutant, quick: bool) -> str:
        busy[self.copy] += 1
        assert busy[self.copy] == 1
        both.wait()
        busy[self.copy] -= 1
        return f"outcome {mutant.line}"

    monkeypatch.setattr(Trial, "outcome_of", outcome_of)
    trials = [Trial(tmp_path / name, Covering()) for name in "ab"]  # type: ignore[arg-type]
    found = dict(try_all([mutant(line) for line in range(6)], trials, True))
    assert found == {mutant(line): f"outcome {line}" for line in range(6)}
