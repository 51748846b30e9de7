"""Every kind of bad input ends as it should: a clear message, nothing half-written."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from lungseg.system.environment import ordered_map
from tests.bad_inputs.corpus import KINDS, make_all
from tests.support.places import REPOSITORY, Figures
from tests.support.watch import Watched, watch

MOST_MIB = 1024
# TensorFlow alone takes 13 s to import here, on a busy machine three times that.
MOST_SECONDS = 180


@dataclass(frozen=True)
class Ending:
    """How a command ended, and what its folder held before and after."""

    seen: Watched
    before: set[Path]
    after: set[Path]


@pytest.fixture(scope="session")
def corpus(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad") / "inputs"
    make_all(folder, trained_run)
    return folder


@pytest.fixture(scope="session")
def endings(corpus: Path, request: pytest.FixtureRequest) -> dict[str, Ending]:
    """Return how each kind that was asked for ended; two run at a time."""
    names = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_a_bad_input_ends_as_it_should
    ]

    def meet(name: str) -> tuple[str, Ending]:
        place = corpus / name
        before = set(place.rglob("*"))
        command = [sys.executable, "-m", "lungseg", *KINDS[name].command]
        seen = watch(command, cwd=place, timeout=MOST_SECONDS)
        return name, Ending(seen, before, set(place.rglob("*")))

    return dict(ordered_map(meet, names, threads=2))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="pipes, /proc and /dev/zero as Linux has them")
@pytest.mark.parametrize("name", KINDS)
def test_a_bad_input_ends_as_it_should(
    name: str, corpus: Path, endings: dict[str, Ending], figures: Figures
) -> None:
    kind, seen = KINDS[name], endings[name].seen
    figures.setdefault("bad", {})[name] = {"code": seen.code, "mib": round(seen.peak_mib)}
    assert seen.code == kind.exit_code, seen.said
    assert kind.says in seen.said
    assert "Traceback" not in seen.said
    assert "bug in lungseg" not in seen.said
    assert seen.peak_mib < MOST_MIB
    made = endings[name].after - endings[name].before
    assert not [path for path in made if "partial" in path.name]
    for path in made:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
    if kind.exit_code == 0:
        assert made, seen.said
    assert not list(corpus.rglob("attacked*"))
    assert endings[name].before <= endings[name].after, "an input was taken away"


def test_the_page_lists_every_kind() -> None:
    page = (REPOSITORY / "docs" / "robustness.md").read_text(encoding="utf-8")
    missing = [
        kind.name for kind in KINDS.values() if f"| {kind.what} | {kind.exit_code} |" not in page
    ]
    assert not missing, "make soak writes docs/robustness.md anew"


def test_what_watches_sees_memory_time_and_full_disks(tmp_path: Path) -> None:
    def python(code: str, timeout: float = 600, file_bytes: int = 0) -> Watched:
        command = [sys.executable, "-c", code]
        return watch(command, cwd=tmp_path, timeout=timeout, file_bytes=file_bytes)

    small, large = python("pass"), python("a = bytearray(200 << 20)")
    assert small.peak_mib < 100 < 200 < large.peak_mib
    seen = python("print('x'); raise SystemExit(7)")
    assert (seen.code, seen.said) == (7, "x\n")
    assert seen.peak_mib == pytest.approx(10, abs=50)
    full = python("open('f', 'wb').write(bytes(9000))", file_bytes=4096)
    assert full.code == 1
    assert "File too large" in full.said
    with pytest.raises(TimeoutError):
        python("import time; time.sleep(60)", timeout=1)
