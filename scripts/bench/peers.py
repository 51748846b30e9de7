"""Measure lungseg beside lungmask and nnU-Net: the same volume, the same cores, in one run.

Each package is installed from PyPI in an environment of its own, in the work folder. No weights are
downloaded: lungmask's and nnU-Net's networks are as initialised, which does not change their work.
lungseg runs with the network that it ships, installed for inference alone. Each is a process from
the CT's file to the mask's file. They take turns, and the best turn of each counts. The results go
to results/peers.json, and `scripts.bench.write_peers` writes the tables. Linux only.

Example:
    python -m scripts.bench.peers --work work/peers
"""

import argparse
import datetime
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lungseg.system.environment import describe_hardware
from lungseg.system.tables import read_json, write_json
from scripts.bench.onnx_flop import gflop
from scripts.bench.process_tree import measure

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "peers.json"
SHIPPED = ROOT / "lungseg" / "shipped" / "model.onnx"
# PyPI's torch for Linux is a build for NVIDIA GPUs of several GB.
CPU_BUILD = ["torch", "--index-url", "https://download.pytorch.org/whl/cpu"]
PEERS = {"lungmask": "lungmask", "nnunet": "nnunetv2"}
# A turn of these takes long, so they have one turn only.
ONCE = ("nnunet_mirrored", "lungmask_as_initialised")


class Bench:
    """The work folder: environments, the volume, the peers' networks and the masks."""

    def __init__(self, work: Path) -> None:
        """Take the work folder; it is made if it does not exist."""
        self.work = work.resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self.ct, self.lungs = (
            self.work / "volume" / kind / "patient01.nii.gz" for kind in ("images", "masks")
        )
        self.nnunet = {
            f"nnUNet_{name}": str(self.work / "nnunet" / name)
            for name in ("raw", "preprocessed", "results")
        }

    def program(self, peer: str, name: str = "python") -> str:
        """Return the path of a program in an environment."""
        return str(self.work / "envs" / peer / "bin" / name)

    def install(self, torch: str | None) -> dict[str, Any]:
        """Make the environments that are missing; return their sizes and versions."""
        found: dict[str, Any] = {"installed_mb": {}, "versions": {}}
        for peer in ("lungseg", *PEERS):
            folder = self.work / "envs" / peer
            record = folder / "installed.json"
            if not record.exists():
                if not folder.exists():
                    run([sys.executable, "-m", "venv", str(folder)])
                pip = [self.program(peer), "-m", "pip", "install", "-q"]
                for arguments in self.requirements(peer, torch):
                    run([*pip, *arguments])
                versions = self.versions(peer)
                write_json(record, {"mb": size_mb(folder), "versions": versions})
            known = read_json(record)
            found["installed_mb"][peer] = known["mb"]
            found["versions"] |= known["versions"]
        return found

    def requirements(self, peer: str, torch: str | None) -> list[list[str]]:
        """Return the arguments of each call of pip that fills an environment."""
        if peer == "lungseg":
            needed = ["-r", str(ROOT / "requirements-inference.txt")]
            return [needed, ["--no-deps", str(ROOT)]]
        # torchvision belongs to one version of torch, so pip chooses both in one call.
        if torch:
            return [[torch, PEERS[peer]]]
        vision = ["torchvision"] if peer == "nnunet" else []
        return [[*vision, *CPU_BUILD], [PEERS[peer]]]

    def versions(self, peer: str) -> dict[str, str]:
        """Return the versions of the packages that matter."""
        listed = json.loads(
            run([self.program(peer), "-m", "pip", "list", "--format", "json"]).stdout
        )
        wanted = {"lungseg", "onnxruntime", "torch", *PEERS.values()}
        return {each["name"]: each["version"] for each in listed if each["name"] in wanted}

    def prepare(self, slices: int) -> dict[str, Any]:
        """Draw the volume, and make the peers' networks, once; return the networks' sizes."""
        record = self.work / f"prepared_{slices}.json"
        if not record.exists():
            write_json(record, self.prepare_anew(slices))
        return dict(read_json(record))

    def prepare_anew(self, slices: int) -> dict[str, Any]:
        """Do what `prepare` says."""
        for name, *size in (
            ("volume", "--slices", str(slices), "--patients", "1"),
            ("phantoms", "--slices", "12", "--patients", "5", "--seed", "100"),
        ):
            drawn = self.work / name
            draw = [sys.executable, "-m", "lungseg", "phantom", "-o", str(drawn), "--volumes", "-q"]
            run([*draw, "--overwrite", "--size", "512", *size])
        nnunet_input = self.work / "nnunet" / "input" / "ct_0000.nii.gz"
        for folder in (self.work / "lungmask", nnunet_input.parent, self.work / "masks"):
            folder.mkdir(parents=True, exist_ok=True)
        nnunet_input.unlink(missing_ok=True)
        os.link(self.ct, nnunet_input)
        masks = [str(self.ct), str(self.lungs), str(self.work / "lungmask")]
        return {
            "lungseg": {"gflop": gflop(SHIPPED), "parameters": parameters(SHIPPED)},
            "lungmask": self.ask("lungmask", "prepare", *masks),
            "nnunet": self.ask("nnunet", "prepare", str(self.work / "phantoms")),
        }

    def ask(self, peer: str, *arguments: str) -> dict[str, Any]:
        """Run a peer's script in its environment; return its answer."""
        script = str(Path(__file__).with_name(f"peer_{peer}.py"))
        return last_line(run([self.program(peer), script, *arguments], self.nnunet))

    def nnunet_trained(self) -> dict[str, Any]:
        """Time nnU-Net's training."""
        return self.ask("nnunet", "train")

    def commands(self, nnunet_model: str) -> dict[str, list[str]]:
        """Return the command of each row, from the CT's file to the mask's file."""
        masks = self.work / "masks"
        infer = [self.program("lungseg", "lungseg"), "infer", str(self.ct), "--overwrite"]
        weights = ["--modelpath", str(self.work / "lungmask" / "weights.pth")]
        answered = [
            self.program("lungmask"),
            str(Path(__file__).with_name("peer_lungmask.py")),
            "run",
            str(self.work / "lungmask" / "answer.npy"),
        ]
        lungmask = [str(self.ct), str(masks / "lungmask.nii.gz"), *weights]
        predict = [
            *(self.program("nnunet", "nnUNetv2_predict_from_modelfolder"), "-device", "cpu"),
            *("-i", str(self.work / "nnunet" / "input"), "-o", str(masks / "nnunet")),
            *("-m", nnunet_model, "-f", "all"),
        ]
        return {
            "lungseg": [*infer, "-o", str(masks / "lungseg")],
            "lungseg_no_gallery": [
                *(*infer, "-o", str(masks / "no_gallery"), "-s", "infer.gallery=none"),
            ],
            "lungmask": [*answered, *lungmask],
            "nnunet": [*predict, "--disable_tta"],
            "lungmask_as_initialised": [self.program("lungmask", "lungmask"), *lungmask],
            "lungmask_cpu": [*answered, *lungmask, "--cpu"],
            "nnunet_mirrored": predict,
        }


def run(
    command: Sequence[str], env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed; its standard error is shown."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the JSON that a script ended with."""
    return dict(json.loads(done.stdout.splitlines()[-1]))


def ours_trained() -> dict[str, Any]:
    """Time the training of our default network."""
    return last_line(run([sys.executable, "-m", "scripts.bench.peer_ours"]))


def size_mb(folder: Path) -> float:
    """Return what a folder takes on the disk, in 10^6 bytes, as `du` counts."""
    files = [path.lstat() for path in folder.rglob("*") if not path.is_symlink()]
    return sum(file.st_blocks * 512 for file in files) / 1e6


def parameters(model: Path) -> int:
    """Return the number of parameters of an ONNX network."""
    import onnx

    kernels = onnx.load(model).graph.initializer
    return sum(math.prod(kernel.dims) for kernel in kernels)


def busy_seconds() -> float:
    """Return the seconds that all cores together have worked since the machine started."""
    with open("/proc/stat", encoding="utf-8") as stream:
        ticks = [int(each) for each in stream.readline().split()[1:]]
    user, nice, system, _, _, irq, softirq = ticks[:7]
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def turn(name: str, command: Sequence[str], bench: Bench) -> dict[str, float]:
    """Measure one row once. `others` is how many cores other processes kept busy meanwhile."""
    before = busy_seconds()
    found = measure(command, bench.work / f"{name}.log", bench.nnunet)
    others = (busy_seconds() - before - found.cpu_seconds) / found.seconds
    sys.stderr.write(f"{name}: {found}, other processes {others:.2f} cores\n")
    return {**asdict(found), "others": others}


def main() -> None:
    """Install, prepare, measure, and write results/peers.json after every measurement."""
    parser = argparse.ArgumentParser(description="Measure lungseg beside lungmask and nnU-Net.")
    parser.add_argument("--work", type=Path, default=ROOT / "work" / "peers")
    parser.add_argument("--torch", help="requirement for torch, from PyPI; by default a CPU build")
    parser.add_argument("--slices", type=int, default=67)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--anew", action="store_true", help="measure again what is known")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    bench = Bench(options.work)
    known: dict[str, Any] = {"turns": {}, "training": {}}
    if options.output.exists() and not options.anew:
        earlier = read_json(options.output)
        known = earlier if earlier["slices"] == options.slices else known
    found = {"date": datetime.date.today().isoformat(), **known, **bench.install(options.torch)}
    chosen = sorted(os.sched_getaffinity(0))[: options.cores]
    os.sched_setaffinity(0, chosen)  # all that is started from here on inherits it
    found |= {
        "hardware": {**describe_hardware(), "cores": len(chosen)},
        "slices": options.slices,
        "networks": bench.prepare(options.slices),
    }
    commands = bench.commands(found["networks"]["nnunet"].pop("folder"))
    for number in range(options.rounds):
        for name, command in commands.items():
            turns = found["turns"].setdefault(name, [])
            if len(turns) <= number and not (turns and name in ONCE):
                turns.append(turn(name, command, bench))
                write_json(options.output, found)
    for name, train in {"lungseg": ours_trained, "nnunet": bench.nnunet_trained}.items():
        if name not in found["training"]:
            found["training"][name] = train()
            write_json(options.output, found)


if __name__ == "__main__":
    main()
