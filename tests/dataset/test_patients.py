"""The patient of a case by its name."""

import pytest

from lungseg.dataset.patients import patient_in
from lungseg.errors import UsageError


def test_the_part_in_parentheses_is_the_patient() -> None:
    assert patient_in("scan_p12_s03", r"_(p\d+)_") == "p12"
    with pytest.raises(UsageError, match="does not match the case 'other'"):
        patient_in("other", r"_(p\d+)_")


def test_each_alternative_names_a_patient() -> None:
    assert patient_in("scan7", r"^(p\d+)_|^scan(\d+)") == "7"
    with pytest.raises(UsageError, match="does not match the case 'x'"):
        patient_in("x", r"^x(\d*)")  # an empty name is none
