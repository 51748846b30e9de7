"""Fuzz what reads files from outside with atheris: configs, images, masks, DICOM, NIfTI.

For any bytes, a reader must return a result or raise LungsegError. Another error, a crash of a C++
library, an input that takes 20 s, or one that takes 2 GB of memory ends the target and leaves the
input in `fuzz/`. Add that input to tests/robustness/test_fuzzed.py, and fix the reader.

Example:
    python -m scripts.maintain.fuzz --seconds 60 config nifti
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

FOLDER = Path("fuzz")
TIMEOUT_S, MEMORY_MB = 20, 2048
Reader = Callable[[Path], object]


def readers() -> dict[str, tuple[str, Reader]]:
    """Return the targets by name: the suffix of the files, and the function that reads one."""
    from lungseg.config.loading import load_config
    from lungseg.config.schema import DataConfig
    from lungseg.imaging.masks import read_labels
    from lungseg.imaging.pixels import read_pixels, to_slice
    from lungseg.imaging.volume_files import read_ct

    data = DataConfig(image_size=(32, 32))
    return {
        "config": (".yaml", load_config),
        "image": (".png", lambda path: to_slice(read_pixels(path), data)),
        "mask": (".tif", lambda path: read_labels(path, data)),
        "dicom": (".dcm", lambda path: read_ct(path, name="case").canonical),
        "nifti": (".nii", lambda path: read_ct(path, name="case").canonical),
    }


def seeds(folder: Path) -> None:
    """Write a few good inputs of each target to a folder of its name, as a start for the fuzzer."""
    import numpy as np
    import SimpleITK as sitk  # noqa: N813
    from PIL import Image

    from tests.bad_inputs.samples import grey, hu
    from tests.support.dicom_files import write_series

    for name in readers():
        (folder / name).mkdir()
    recipe = Path(__file__).parents[2] / "configs" / "lung.yaml"
    (folder / "config" / "recipe").write_bytes(recipe.read_bytes())
    (folder / "config" / "short").write_text("train: {epochs: 3}\ndata:\n  window: [-1000, 400]\n")
    small = Image.fromarray(grey()[:24, :24])
    for number, form in enumerate(("PNG", "JPEG", "TIFF", "BMP")):
        small.save(folder / "image" / str(number), format=form)
        small.save(folder / "mask" / str(number), format=form)
    small.convert("P").save(folder / "image" / "palette", format="PNG", transparency=0)
    Image.fromarray(grey()[:24, :24].astype(np.float32)).save(folder / "image" / "f", format="TIFF")
    (path,) = write_series(folder / "series", hu()[:1, :24, :24])
    path.rename(folder / "dicom" / "ct")
    sitk.WriteImage(sitk.GetImageFromArray(hu()[:3, :16, :16]), str(folder / "seed.nii"))
    (folder / "seed.nii").rename(folder / "nifti" / "volume")


def fuzz(target: str, arguments: list[str]) -> None:
    """Fuzz one target; libFuzzer never returns."""
    import atheris

    with atheris.instrument_imports(include=["lungseg", "yaml", "PIL"]):
        suffix, read = readers()[target]
    from lungseg.errors import LungsegError

    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    path = folder / f"fuzzed{suffix}"

    def one(content: bytes) -> None:
        path.write_bytes(content)
        with contextlib.suppress(LungsegError):
            read(path)

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def main(
    targets: Annotated[
        list[str] | None, typer.Argument(help="Targets to fuzz; by default all.")
    ] = None,
    seconds: Annotated[int, typer.Option(min=1, help="Seconds per target.")] = 60,
) -> None:
    """Fuzz each target for some seconds, and count the executions."""
    from lungseg.system.tables import read_json, write_json

    FOLDER.mkdir(exist_ok=True)
    record = Path(__file__).with_name("robustness.json")
    figures = read_json(record) if record.exists() else {}
    failed = []
    with tempfile.TemporaryDirectory() as name:
        seeds(Path(name))
        for target in targets or list(readers()):
            arguments = [
                f"-max_total_time={seconds}",
                f"-timeout={TIMEOUT_S}",
                f"-rss_limit_mb={MEMORY_MB}",
                f"-artifact_prefix={FOLDER / target}_",
                "-seed=1",
                "-print_final_stats=1",
                str(Path(name) / target),
            ]
            done = subprocess.run(
                [sys.executable, "-m", "scripts.maintain.fuzz", "--child", target, *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            counted = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
            runs = int(counted[1]) if counted else 0
            figures.setdefault("fuzz", {})[target] = {"seconds": seconds, "executions": runs}
            typer.echo(f"{target}: {runs:,} executions in {seconds} s, exit code {done.returncode}")
            if done.returncode or not runs:
                failed.append(target)
                typer.echo(done.stderr[-3000:], err=True)
    write_json(record, figures)
    if failed:
        typer.echo(f"failed: {', '.join(failed)}; the inputs are in {FOLDER}/", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    if "--child" in sys.argv:
        fuzz(sys.argv[2], sys.argv[3:])
    else:
        typer.run(main)
