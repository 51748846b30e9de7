"""Compare two checkouts on one volume and one slice, in turns: seconds, memory, and the masks.

Both use the Python and the packages that run this script, and the same network. Seconds from the
start of the process to the mask on disk, and of all cores together, are the least of the rounds.

Example:
    git worktree add --detach ../before main
    python -m scripts.bench.volume ../before . --rounds 3
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from lungseg.imaging.pixels import apply_window, write_png
from lungseg.phantom.drawing import make_volume
from lungseg.phantom.patient import make_patient
from lungseg.system.environment import cores, describe_hardware

MODEL = Path(__file__).parents[2] / "lungseg" / "shipped" / "model.onnx"
DRAWN = 60  # slices of the phantom; each is repeated

# Linux starts a child's peak memory at that of its parent, so a small process starts the command.
SMALL_PARENT = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call([*sys.argv[1:], "-q"], stdout=subprocess.DEVNULL)
wall = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(code)
"""


@dataclass(frozen=True)
class Run:
    """One run of `lungseg infer`.

    Attributes:
        wall: seconds from the start to the end of the process.
        cpu: seconds of all its threads together.
        peak_mib: the most memory it held.
    """

    wall: float
    cpu: float
    peak_mib: float


def infer(checkout: Path, model: Path, source: Path, output: Path) -> Run:
    """Run `lungseg infer` of a checkout."""
    command = [sys.executable, "-m", "lungseg", "infer", "--model", str(model), str(source)]
    # Without files of bytecode, most of the time of a slice would be that of Python's compiler.
    variables = {key: v for key, v in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    variables |= {"PYTHONPATH": str(checkout), "PYTHONPYCACHEPREFIX": str(output.parent / "pyc")}
    done = subprocess.run(
        [sys.executable, "-S", "-c", SMALL_PARENT, *command, "-o", str(output), "--overwrite"],
        cwd=checkout,
        env=variables,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{checkout}: lungseg infer failed: {done.stderr}")
    return Run(*map(float, done.stdout.split()))


def describe_machine() -> str:
    """Return the cores, and how many threads wanted them in the minute before."""
    processor, load = describe_hardware()["processor"], os.getloadavg()[0]
    return f"{cores()} cores of {processor}; {load:.1f} threads wanted them before"


def write_phantom(path: Path, slices: int) -> None:
    """Write a volume of so many slices of 512 x 512."""
    drawn = np.stack([hu for hu, _ in make_volume(make_patient(0), DRAWN)])[::-1]
    numbers = np.arange(slices) * DRAWN // slices
    volume = sitk.GetImageFromArray(drawn[numbers].astype(np.int16))
    volume.SetSpacing((0.7, 0.7, 300 / slices))
    sitk.WriteImage(volume, str(path), useCompression=True)


def dice(one: Path, other: Path) -> float:
    """Return the Dice of two masks."""
    first, second = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0 for path in (one, other))
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def compare(
    checkouts: tuple[Path, Path], model: Path, source: Path, folder: Path, rounds: int
) -> None:
    """Run both checkouts in turns on an input, and print how they compare."""
    outputs = [folder / name for name in ("before", "after")]
    runs: tuple[list[Run], list[Run]] = ([], [])
    for _ in range(rounds):
        for checkout, output, of_checkout in zip(checkouts, outputs, runs, strict=True):
            of_checkout.append(infer(checkout, model, source, output))
    sys.stdout.write(f"{source.name}\n")
    for name, unit in (("wall", "s"), ("cpu", "s, all cores"), ("peak_mib", "MiB")):
        before, after = (min(getattr(run, name) for run in of) for of in runs)
        sys.stdout.write(
            f"  {unit:14} before {before:8.2f}  after {after:8.2f}  ratio {before / after:.2f}\n"
        )
    agreement = dice(*(output / source.name for output in outputs))
    sys.stdout.write(f"  Dice of the masks {agreement:.6f}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the arguments, compare, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another checkout")
    parser.add_argument("--model", type=Path, default=MODEL, help="an ONNX file")
    parser.add_argument("--volume", type=Path, help="a CT; by default a phantom")
    parser.add_argument("--slices", type=int, default=300, help="of the phantom")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    checkouts = (given.before.resolve(), given.after.resolve())
    sys.stdout.write(f"{describe_machine()}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, (hu, _), _ = make_volume(make_patient(0), 3)
        write_png(folder / "slice.png", apply_window(hu, (-1000, 400)))
        infer(checkouts[0], given.model, folder / "slice.png", folder / "before")  # fill the caches
        infer(checkouts[1], given.model, folder / "slice.png", folder / "after")
        compare(checkouts, given.model, folder / "slice.png", folder, given.rounds)
        volume = given.volume.resolve() if given.volume else folder / "volume.nii.gz"
        if not given.volume:
            write_phantom(volume, given.slices)
        compare(checkouts, given.model, volume, folder, given.rounds)


if __name__ == "__main__":
    main()
