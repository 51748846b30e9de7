"""Errors keep the file they are about apart from the problem."""

from __future__ import annotations

import pickle
from pathlib import Path

from lungseg.errors import DataError


def test_a_data_error_names_its_file_before_the_problem() -> None:
    problem = DataError(Path("raw") / "case_1.png", "the file is empty (0 bytes).")
    assert str(problem) == f"{Path('raw', 'case_1.png')}: the file is empty (0 bytes)."
    assert (problem.path, problem.what) == (
        Path("raw") / "case_1.png",
        "the file is empty (0 bytes).",
    )


def test_a_data_error_without_a_file_is_the_problem_alone() -> None:
    assert str(DataError(None, "the mask holds other colours")) == "the mask holds other colours"


def test_a_data_error_crosses_to_another_process_whole() -> None:
    problem = pickle.loads(pickle.dumps(DataError(Path("a.png"), "is damaged")))
    assert type(problem) is DataError
    assert (str(problem), problem.path, problem.what) == (
        "a.png: is damaged",
        Path("a.png"),
        "is damaged",
    )


def test_a_data_error_concerns_its_file_and_the_folders_around_it() -> None:
    problem = DataError(Path("scans/ct_1/slice.dcm"), "is damaged")
    assert problem.concerns(Path("scans/ct_1/slice.dcm"))
    assert problem.concerns(Path("scans/ct_1"))
    assert not problem.concerns(Path("scans/ct_2"))
    # A name that only begins alike is another file.
    assert not problem.concerns(Path("scans/ct"))
    assert not DataError(None, "no file").concerns(Path("scans"))
