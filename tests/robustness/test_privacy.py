"""No command asks a server or writes below the home folder.

Each command runs in a process of its own, with an empty home folder, in a network namespace where
every packet is recorded; `tests/support/sealed.py` says what that sees and what it does not.
"""

import sys
from pathlib import Path

import pytest

from lungseg.config.loading import dump_config
from lungseg.config.schema import Config
from tests.support.notebook import write_scans
from tests.support.sealed import require_namespace, watch_privacy

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")

LUNGSEG = (sys.executable, "-m", "lungseg")
COMMANDS = {
    "phantom": "phantom -o phantoms --patients 1 --slices 2 --volumes",
    "prepare": "prepare -c tiny.yaml --images raw/images --masks raw/masks -o again -s "
    "prepare.copies=1 -s augment.offline.hflip=0.5",
    "split": "split -c tiny.yaml --input prepared -o divided",
    "evaluate": "evaluate -c tiny.yaml --run run --data dataset -o scores",
    "infer": "infer -c tiny.yaml --run run raw/images -o masks --overlay",
    "label": "label scan.mha -o labels",
    "config": "config lung",
    "train": "train -c tiny.yaml --data dataset --run trained -s train.epochs=1",
    "inspect": "inspect -c tiny.yaml",
    "export": "export --run run --format savedmodel",
}
# TensorFlow leaves the code that it generates among the temporary files.
WITH_TENSORFLOW = {"train", "inspect", "export"}
SLOW = pytest.mark.slow
# ONNX Runtime's first look-up came after more than 2 s and less than 15 s.
PATIENT = """
import sys, time
from pathlib import Path
from lungseg.inference.predictor import Predictor
Predictor(Path(sys.argv[1]))
time.sleep(15)
"""


@pytest.fixture(scope="module")
def place(
    raw: Path, prepared: Path, dataset: Path, trained_run: Path, tiny_config: Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    require_namespace()
    folder = tmp_path_factory.mktemp("place")
    inputs = {"raw": raw, "prepared": prepared, "dataset": dataset, "run": trained_run}
    for name, target in inputs.items():
        (folder / name).symlink_to(target)
    write_scans(folder)
    (folder / "tiny.yaml").write_text(dump_config(tiny_config))
    return folder


def test_a_look_up_and_a_connection_are_seen(tmp_path: Path) -> None:
    require_namespace()
    code = (
        "import socket\n"
        "try: socket.getaddrinfo('somewhere.example.', 80)\n"
        "except OSError: pass\n"
        "with socket.socket() as s:\n"
        "    s.setblocking(False)\n"
        "    s.connect_ex(('198.51.100.7', 443))\n"
        "open(__import__('os').path.expanduser('~/note'), 'w').close()\n"
    )
    seen = watch_privacy([sys.executable, "-c", code], tmp_path)
    assert seen.files == ["note"]
    assert "198.51.100.7 port 443" in seen.sent
    assert any(each.endswith("for somewhere.example") for each in seen.sent), seen.sent


@pytest.mark.parametrize(
    "verb",
    [pytest.param(v, marks=SLOW if v in WITH_TENSORFLOW else ()) for v in COMMANDS],
)
def test_a_command_asks_nobody_and_leaves_the_home_folder_empty(verb: str, place: Path) -> None:
    seen = watch_privacy([*LUNGSEG, *COMMANDS[verb].split()], place)
    assert seen.code == 0, seen.said
    assert seen.files == []
    assert seen.sent == []
    if verb not in WITH_TENSORFLOW:
        assert seen.temporary == []


@pytest.mark.slow
def test_a_network_in_use_for_a_while_asks_nobody(place: Path, trained_run: Path) -> None:
    network = str(trained_run / "model.onnx")
    seen = watch_privacy([sys.executable, "-c", PATIENT, network], place)
    assert seen.code == 0, seen.said
    assert seen.sent == []
