"""The Python of README runs as it stands."""

import re
from pathlib import Path

import pytest

from tests.support.places import REPOSITORY

BLOCKS = re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.M | re.S)


def test_readme_shows_python() -> None:
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_of_python_runs(block: str, notebook: Path) -> None:
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    if "found.save" in block:
        assert Path("lungs.nii.gz").stat().st_size > 0
