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
    assert capsys.readouterr().err == "large.png: 200 kB; at most 200 kB.\n"


def test_the_shipped_network_has_a_limit_of_its_own(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = repository / "lungseg" / "shipped" / "model.onnx"
    network.parent.mkdir(parents=True)
    for size, code in ((10_000_000, 0), (10_000_001, 1)):
        network.write_bytes(bytes(size))
        with pytest.raises(SystemExit) as end:
            check_sizes.main()
        assert end.value.code == code
    assert "model.onnx: 10000 kB; at most 10000 kB" in capsys.readouterr().err
