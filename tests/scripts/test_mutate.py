"""Changes are spread over packages by a seed, and each is tried by the tests of its module."""

from collections import Counter
from pathlib import Path

import pytest

from scripts.maintain import mutate
from scripts.maintain.mutate import PACKAGES, Place, package_of, run_tests, same_program, spread
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


def test_a_module_is_tried_by_its_own_tests_first_and_then_by_those_that_name_it() -> None:
    own, *others = mutate.tests_of(REPOSITORY, "lungseg/inference/sides.py")
    assert own == "tests/inference/test_sides.py"
    assert "tests/inference/test_measure.py" in others
    assert "tests/inference/test_rows.py" not in others
    # `from lungseg.evaluation import metrics, summary` names two modules.
    named = mutate.tests_of(REPOSITORY, "lungseg/evaluation/summary.py")
    assert named == ["tests/evaluation/test_summary.py", "tests/evaluation/test_metrics.py"]
    assert mutate.wider_tests("lungseg/evaluation/summary.py")[0] == "tests/evaluation"


def test_every_test_that_is_named_exists_and_every_module_is_in_a_package() -> None:
    for package, tests in PACKAGES.items():
        assert all((REPOSITORY / test).is_file() for test in tests)
        assert (REPOSITORY / package).is_dir()
    files = mutate.sources(REPOSITORY)
    assert "lungseg/imaging/dicom/series.py" in files
    training = [file for file in files if package_of(file) == "lungseg/training"]
    assert training == ["lungseg/training/callbacks.py", "lungseg/training/losses.py"]


@pytest.mark.parametrize(("line", "found"), [("assert 1", "passed"), ("assert 0", "failed")])
def test_tests_run_in_the_copy(line: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(f"def test_it():\n    {line}\n")
    assert run_tests(tmp_path, ["test_it.py"], timeout=600) == found


def test_a_loop_without_end_is_stopped_and_counted_apart(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it():\n    while True:\n        pass\n")
    assert run_tests(tmp_path, ["test_it.py"], timeout=1) == "timed_out"
