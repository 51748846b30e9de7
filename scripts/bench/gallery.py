"""Measure what `gallery.html` costs: the processor's time and the bytes of each case and page.

Time is that of the processor, so other programs on the machine hardly change it.

Example:
    python -m scripts.bench.gallery
"""

import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from lungseg.inference.gallery import draw_volume
from lungseg.reporting.gallery import GalleryCase, write_gallery
from lungseg.reporting.pictures import CasePictures

SLICES, CASES, FLAGGED = 60, 200, 20


def seconds_of(work: Callable[[], CasePictures]) -> tuple[float, CasePictures]:
    """Return the processor's seconds of the fastest of three tries, and the result."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def cases() -> dict[str, float]:
    """Draw a phantom of 60 slices of 512 x 512, in full and in part."""
    from lungseg.phantom.drawing import make_volume
    from lungseg.phantom.patient import make_patient

    pairs = list(make_volume(make_patient(0), SLICES))[::-1]
    hu, lung = (np.stack(planes) for planes in zip(*pairs, strict=True))
    sides = lung * np.where(np.arange(lung.shape[2]) < lung.shape[2] // 2, 2, 1).astype(np.uint8)
    found = {}
    draw = partial(draw_volume, hu, lung, sides, lung, (5.0, 0.7, 0.7))
    for name, full in (("all slices", True), ("a few slices", False)):
        seconds, pictures = seconds_of(partial(draw, full=full))
        found[f"a case with {name}, s"] = seconds
        found[f"a case with {name}, MB"] = len(pictures.to_json()) / 1e6
        Path(FOLDER.name, str(full)).write_text(pictures.to_json())
    return found


def page() -> dict[str, float]:
    """Write a page of 200 such cases."""
    folder = Path(FOLDER.name)
    listed = []
    for index in range(CASES):
        flagged = index < FLAGGED
        path = folder / f"p-{index}.json"
        path.symlink_to(folder / str(flagged))
        listed.append(
            GalleryCase(
                f"case{index:03}", f"case{index:03}.nii.gz", failed=False, is_volume=True,
                flags=["cut_off"] if flagged else [], volume_ml=4000, left_ml=1900, right_ml=2100,
                certainty=0.98, pictures=path,
            )
        )  # fmt: skip
    start = time.process_time()
    write_gallery(folder / "gallery.html", listed)
    seconds = time.process_time() - start
    tracemalloc.start()
    write_gallery(folder / "gallery.html", listed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = (folder / "gallery.html").stat().st_size
    return {
        f"a page of {CASES} cases, {FLAGGED} of them flagged, s": seconds,
        f"a page of {CASES} cases, MB": size / 1e6,
        f"a page of {CASES} cases, largest memory, MB": peak / 1e6,
    }


FOLDER = tempfile.TemporaryDirectory()


def main() -> None:
    """Measure, and print a table."""
    with FOLDER:
        results = {**cases(), **page()}
    sys.stdout.write("| measured | value |\n|---|---|\n")
    sys.stdout.write("".join(f"| {key} | {value:.2f} |\n" for key, value in results.items()))


if __name__ == "__main__":
    main()
