"""`make lint` refuses large files, those that git does not know yet included."""

import subprocess
from pathlib import Path

import pytest

from scripts.maintain import check_sizes


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("ignored.png\n")
    (tmp_path / "ignored.png").write_bytes(bytes(check_sizes.MAX_BYTES + 1))
    (tmp_path / "small.png").write_bytes(bytes(check_sizes.MAX_BYTES))
    monkeypatch.setattr(check_sizes, "ROOT", tmp_path)
    return tmp_path


def test_small_and_ignored_files_pass(repository: Path) -> None:
    with pytest.raises(SystemExit) as end:
        check_sizes.main()
    assert end.value.code == 0


@pytest.mark.parametrize("known", [True, False])
def test_a_large_file_is_named(
    repository: Path, known: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "large.png").write_bytes(bytes(check_sizes.MAX_BYTES + 1))
    if known:
        subprocess.run(["git", "add", "large.png"], cwd=repository, check=True)
    with pytest.raises(SystemExit) as end:
        check_sizes.main()
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("large.png: 200 kB")
