"""`lungseg train --help` shows the table of networks, which no other command reads."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from lungseg.cli import train as command

NETWORKS = {"tinynet": {"parameters": 1234, "gflop": 0.5, "learning_rate": 0.003, "dice": 0.75}}


def test_the_table_is_read_when_help_is_asked_for(
    lungseg: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"networks": NETWORKS, "hardware": {"cores": 3}, "date": "2026-01-02"}
    measured = tmp_path / "measured.json"
    measured.write_text(json.dumps(document))
    monkeypatch.setattr(command, "MEASURED", measured)
    lines = lungseg("train", "--help").stdout.splitlines()
    assert "    tinynet               1,234     0.5        -        -   0.003  0.750" in lines
    assert any("on 3 cores, 2026-01-02" in line for line in lines)
    measured.unlink()
    for arguments in (("--help",), ("split", "--help"), ("train", "--resume", "--overwrite")):
        assert "measured.json" not in lungseg(*arguments).output
