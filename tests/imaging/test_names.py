"""Names of files: letters beyond ASCII, and files that nobody sees."""

from pathlib import Path

from lungseg.imaging.folders import by_stem, list_images


def test_case_is_folded_as_file_systems_do() -> None:
    _, clashes = by_stem([Path("Maße.png"), Path("MASSE.tif")])
    assert clashes == [[Path("Maße.png"), Path("MASSE.tif")]]


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    # A Mac leaves ._a.png beside each a.png on a foreign disk.
    for name in ("a.png", "._a.png", ".DS_Store"):
        (tmp_path / name).touch()
    assert list_images(tmp_path) == ([tmp_path / "a.png"], [])
