"""Files appear whole, whatever their name."""

import os
from pathlib import Path

import pytest

from lungseg.errors import DataError
from lungseg.system.files import require_regular, write_bytes
from lungseg.system.tables import read_csv, write_csv


@pytest.mark.parametrize("name", ["a.png", "n" * 251 + ".png", "ä" * 125 + ".png", "." * 255])
def test_any_name_a_file_can_have_can_be_written(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / name, b"content")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"content"


def test_names_that_are_no_utf8_survive_a_table(tmp_path: Path) -> None:
    name = os.fsdecode(b"bad\xff.png")
    write_csv(tmp_path / "t.csv", ["file"], [{"file": name}])
    assert read_csv(tmp_path / "t.csv") == [{"file": name}]


def test_what_is_no_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", Path("/dev/zero")):
        with pytest.raises(DataError, match=str(path)):
            require_regular(path)


def test_a_table_that_a_spreadsheet_has_saved_is_read(tmp_path: Path) -> None:
    # With a byte order mark and the line ends of Windows.
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfcase,group\r\na,1\r\n")
    assert read_csv(tmp_path / "t.csv", ("case",)) == [{"case": "a", "group": "1"}]
