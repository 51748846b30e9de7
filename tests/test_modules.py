"""The modules are of a size that one reads, and docs/architecture.md tells how many there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import lungseg

PACKAGE = Path(lungseg.__file__).parent
ARCHITECTURE = Path(__file__).parents[1] / "docs" / "architecture.md"


def modules() -> dict[str, int]:
    """Return the number of lines of each module that holds more than a docstring."""
    texts = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    return {
        path.relative_to(PACKAGE).as_posix(): len(text.splitlines())
        for path, text in texts.items()
        if len(ast.parse(text).body) > 1
    }


def test_a_module_has_40_to_300_lines_unless_the_architecture_gives_a_reason() -> None:
    reasons = ARCHITECTURE.read_text(encoding="utf-8").partition("for a reason:")[2]
    explained = set(re.findall(r"^\| `(\S+\.py)`", reasons, re.MULTILINE))
    assert {name for name, lines in modules().items() if lines < 40} == explained
    assert [name for name, lines in modules().items() if lines > 300] == []


def test_the_architecture_counts_the_modules() -> None:
    names = modules()
    commands = [n for n in names if re.fullmatch(r"cli/(?!app|options|__init__)\w+\.py", n)]
    verbs = [n for n in names if n.startswith("verbs/")]
    networks = [n for n in names if re.fullmatch(r"models/(?!blocks|__init__)\w+\.py", n)]
    others = len(names) - len(commands) - len(verbs) - len(networks)
    text = " ".join(ARCHITECTURE.read_text(encoding="utf-8").split())
    assert (
        f"has {len(names)} modules with code. Of these, {len(commands)} are the commands in "
        f"`cli/`, {len(verbs)} are verbs and {len(networks)} are networks,"
    ) in text
    assert f"The other {others} have one subject each." in text
