"""What messages say of long lists."""

import pytest

from lungseg.system.wording import counted, some_of


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", 2, "c"], "a, 2, c"),
        (["a", "b", "c", "d", "e", "f", "g", "h"], "a, b, c and 5 more"),
    ],
)
def test_a_list_names_the_first_three_and_counts_the_others(names: list[object], text: str) -> None:
    assert some_of(names) == text
    assert some_of(["a", "b"], most=1) == "a and 1 more"


def test_unnamed_patients_are_counted_as_groups() -> None:
    assert (counted(1, None), counted(7, None)) == ("1 patient", "7 patients")
    assert (counted(1, "A group is a file."), counted(0, "A group is.")) == ("1 group", "0 groups")
