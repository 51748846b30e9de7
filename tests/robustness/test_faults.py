"""Killed, stopped, out of disk space or robbed of its input, every command loses nothing.

Each command is run undisturbed once. Then it is disturbed in a copy of the same place and run
again, and what it leaves has to equal the undisturbed output, byte for byte where no clock and no
path is in it.
"""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.loading import check_config, dump_config
from tests.support.phantoms import tiny, write_phantoms
from tests.support.places import SOAK, Figures
from tests.support.volumes import phantom_volume
from tests.support.watch import Watched, watch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="signals and limits as Linux has them"),
]

EPOCHS = 4
# What holds times, dates or the order of a zip's entries; that it is there is all that is compared.
WITH_A_CLOCK = {".lungseg.jsonl", "run.json", "report.html", "model.keras", "evaluation.json"}
COMMANDS = {
    "prepare": ("prepare --images raw/images --masks raw/masks -o prepared", "prepared"),
    "split": ("split --input prepared -o dataset", "dataset"),
    "train": ("train --data dataset --run run --resume", "run"),
    "evaluate": ("evaluate --run run --data dataset", "run"),
    "infer": ("infer --run run raw/images volume.nii.gz -o masks --resume", "masks"),
}
KILLS = {"prepare": 10, "split": 8, "train": 12, "evaluate": 10, "infer": 10}
if not SOAK:
    KILLS = {"prepare": 2, "split": 1, "train": 1, "evaluate": 1, "infer": 2}


@dataclass(frozen=True)
class Reference:
    """A command run undisturbed.

    Attributes:
        before: the place as it was before.
        after: hash of each file of the output.
        quiet_s: seconds until the command wrote anything.
        busy_s: seconds from then on.
    """

    before: Path
    after: dict[str, str]
    quiet_s: float
    busy_s: float


def without_network() -> list[str]:
    """Return what runs a command where there is no network; nothing where that is not allowed."""
    offline = ["unshare", "--map-root-user", "--net"]
    try:
        subprocess.run([*offline, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return offline


OFFLINE = without_network()


def command(verb: str, *within: str) -> list[str]:
    name, *rest = COMMANDS[verb][0].split()
    return [*OFFLINE, *within, sys.executable, "-m", "lungseg", name, "-c", "tiny.yaml", *rest]


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): ""
        if path.name in WITH_A_CLOCK
        else hashlib.sha256(content_of(path)).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def content_of(path: Path) -> bytes:
    """Return the bytes of a file, without what may differ between two runs alike.

    That is the folder in a run's config, and the seconds that its card says the training took.
    """
    content = path.read_bytes()
    if path.name == "config.yaml":
        return re.sub(rb": /\S*/", b": ", content)
    if path.name == "MODEL_CARD.md":
        content, found = re.subn(rb"(Trained .*), [\d,]+ s\.", rb"\1.", content)
        assert found == 1
    return content


def entries(place: Path) -> set[Path]:
    # Not rglob, which stumbles over a folder that is renamed meanwhile.
    return {
        Path(root) / name for root, folders, files in os.walk(place) for name in folders + files
    }


def begin(verb: str, place: Path) -> tuple["subprocess.Popen[bytes]", float]:
    """Start a command; return it as soon as it has written something, and after how long."""
    known, started = entries(place), time.monotonic()
    process = subprocess.Popen(
        command(verb), cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and entries(place) == known:
        time.sleep(0.005)
    return process, time.monotonic() - started


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reference]:
    """Return each command run undisturbed, one after the other, in one place."""
    place = tmp_path_factory.mktemp("undisturbed") / "place"
    place.mkdir()
    write_phantoms(place / "raw", patients=5, slices=4)
    volume, _ = phantom_volume(6, seed=7)
    sitk.WriteImage(volume, str(place / "volume.nii.gz"))
    config = check_config(tiny(epochs=EPOCHS, deterministic=True, threads=1), "tiny")
    (place / "tiny.yaml").write_text(dump_config(config))
    found = {}
    for verb, (_, output) in COMMANDS.items():
        before = place.with_name(f"before_{verb}")
        shutil.copytree(place, before)
        process, quiet = begin(verb, place)
        started = time.monotonic()
        assert process.wait() == 0, verb
        busy = time.monotonic() - started
        found[verb] = Reference(before, hashes(place / output), quiet, busy)
    return found


def check_again(verb: str, place: Path, reference: Reference) -> None:
    """Run the same command again and compare what there is then with the reference."""
    output = place / COMMANDS[verb][1]
    again = watch(command(verb), cwd=place)
    if again.code == 2:
        # The command had finished before it was disturbed; its output is not written over.
        assert "not empty" in again.said, again.said
    else:
        assert again.code == 0, again.said
    assert hashes(output) == reference.after
    unfinished = ("partial", ".lungseg.ready", ".lungseg.lock")
    left = [path.name for path in entries(place) if any(name in path.name for name in unfinished)]
    assert not left


@pytest.mark.skipif(not OFFLINE, reason="this machine lets nobody take the network away")
def test_no_command_needs_a_network(references: dict[str, Reference]) -> None:
    # They ran without one; here it is made sure that there was none.
    ask = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=5)"
    seen = watch([*OFFLINE, sys.executable, "-c", ask])
    assert "Network is unreachable" in seen.said
    assert set(references) == set(COMMANDS)


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_killed_command_run_again_leaves_what_it_would_have(
    verb: str, references: dict[str, Reference], tmp_path: Path, figures: Figures
) -> None:
    reference = references[verb]
    moments = random.Random(f"{verb} 20261123")
    landed = 0
    for number in range(KILLS[verb]):
        place = tmp_path / str(number)
        shutil.copytree(reference.before, place)
        process, _ = begin(verb, place)
        # The first run, from a cold disk, was slower than the ones that follow.
        time.sleep(moments.uniform(0, 0.6 * reference.busy_s))
        landed += process.poll() is None
        process.kill()
        process.wait()
        check_again(verb, place, reference)
        shutil.rmtree(place)
    figures.setdefault("kills", {})[verb] = {"tried": KILLS[verb], "landed": landed}


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_full_disk_is_said_and_nothing_is_lost(
    verb: str, references: dict[str, Reference], tmp_path: Path
) -> None:
    reference, place = references[verb], tmp_path / "place"
    shutil.copytree(reference.before, place)
    stopped = watch(command(verb), cwd=place, file_bytes=100)
    assert stopped.code in (3, 4), stopped.said
    assert "File too large" in stopped.said or "cannot be written" in stopped.said
    assert "Traceback" not in stopped.said
    check_again(verb, place, reference)


@pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere"
)
@pytest.mark.parametrize("verb", COMMANDS)
def test_a_folder_that_may_not_be_written_is_named(
    verb: str, references: dict[str, Reference], tmp_path: Path
) -> None:
    reference, place = references[verb], tmp_path / "place"
    shutil.copytree(reference.before, place)
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    locked = [place, *(p for p in place.rglob("*") if p.is_dir())]
    for folder in locked:
        folder.chmod(0o555)
    refused = watch(command(verb, *powerless), cwd=place)
    for folder in locked:
        folder.chmod(0o755)
    assert refused.code == 3, refused.said
    assert "ermission denied" in refused.said
    assert COMMANDS[verb][1] in refused.said
    assert "Traceback" not in refused.said
    check_again(verb, place, reference)


def test_a_polite_kill_during_a_checkpoint_loses_nothing(
    references: dict[str, Reference], tmp_path: Path
) -> None:
    reference, place = references["train"], tmp_path / "place"
    shutil.copytree(reference.before, place)
    process, _ = begin("train", place)
    checkpoint = place / "run" / "checkpoints" / ".epoch_0002.partial"
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 130
    check_again("train", place, reference)


@pytest.mark.parametrize("verb", ["prepare", "infer"])
def test_an_input_that_vanishes_is_named_and_the_others_are_done(
    verb: str, references: dict[str, Reference], tmp_path: Path
) -> None:
    place = tmp_path / "place"
    shutil.copytree(references[verb].before, place)
    first = place / "raw" / "images" / "patient01_slice01.png"
    for number in range(800):
        for kind in ("images", "masks"):
            source = place / "raw" / kind / first.name
            os.link(source, source.with_name(f"z{number:04d}.png"))
    gone = [place / "raw" / "images" / f"z{number:04d}.png" for number in range(700, 800)]
    process = subprocess.Popen(
        [*command(verb), "-q"], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = place / COMMANDS[verb][1]
    while process.poll() is None and not output.exists():
        time.sleep(0.002)
    for path in gone:
        path.unlink()
    said = process.communicate()[0].decode()
    assert process.returncode == 4, said
    assert "Traceback" not in said
    listing = {"prepare": "issues.csv", "infer": "cases.csv"}[verb]
    listed = (output / listing).read_text()
    assert all(path.stem in listed for path in gone)
    masks = output / "masks" if verb == "prepare" else output
    assert len(list(masks.glob("z*.png"))) == 700


def test_a_slice_that_is_damaged_after_the_split_is_named_by_train(
    references: dict[str, Reference], tmp_path: Path
) -> None:
    place = tmp_path / "place"
    shutil.copytree(references["train"].before, place)
    victim = sorted((place / "dataset" / "train" / "images").iterdir())[0]
    victim.unlink()
    victim.write_bytes(b"")
    seen: Watched = watch(command("train"), cwd=place)
    assert seen.code == 3, seen.said
    assert victim.name in seen.said
    assert "Traceback" not in seen.said
