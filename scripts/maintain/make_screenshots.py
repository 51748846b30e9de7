"""Take the pictures of gallery.html and report.html in docs/ again, of phantoms, at three widths.

A picture that looks as before is not written again, so that the numbers of another machine do not
change the repository. Without Chromium the pictures stay as they are.

Example:
    python -m scripts.maintain.make_screenshots
    python -m scripts.maintain.make_screenshots --pages /tmp/pages    # also whole pages, to look at
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from tests.support.browser import CHROMIUM, Page, open_browser

DOCS = Path(__file__).parents[2] / "docs"
# Width of the window, and height of the part of the page that is kept.
SIZES = {1280: 1000, 800: 1000, 400: 1000}
QUALITY = 60  # of WebP, 0 to 100
# A picture looks as before if at most this share of its pixels has another grey.
ALIKE, OTHER_GREY = 0.04, 40


def settings() -> Config:
    """Return a config that trains in seconds."""
    data: dict[str, Any] = {
        "data": {"image_size": [128, 128]},
        "split": {"fractions": [0.5, 0.15, 0.35], "group_regex": r"^(patient\d+)_",
                  "patient_similarity": 0.9},
        "augment": {"online": {"hflip": 0.5, "affine": {"p": 0.7}}},
        "model": {"name": "resunet", "base_filters": 8, "num_layers": 4, "max_filters": 64,
                  "stem_stride": 1},
        "train": {"epochs": 10, "samples_per_epoch": 0, "batch_size": 8, "learning_rate": 0.004,
                  "epoch_change_images": 0},
        "infer": {"sides": True, "gallery": "full"},
    }  # fmt: skip
    return check_config(data, "screenshots")


def make_pages(folder: Path) -> dict[str, Path]:
    """Train briefly on phantoms; return the report of the run and the gallery of some volumes."""
    from lungseg.phantom.dataset import write_phantom_volumes, write_phantoms
    from lungseg.verbs.evaluate import evaluate
    from lungseg.verbs.infer import infer
    from lungseg.verbs.prepare import prepare
    from lungseg.verbs.split import split
    from lungseg.verbs.train import train

    config = settings()
    write_phantoms(folder / "raw", 18, 4, 128)
    prepare(config, folder / "raw" / "images", folder / "raw" / "masks", folder / "prepared")
    split(config, folder / "prepared", folder / "phantoms")
    train(config, folder / "phantoms", folder / "run", command=["lungseg", "train"])
    evaluate(config, folder / "run", folder / "phantoms")
    write_phantom_volumes(folder / "ct", 4, 24, 128, seed=100)  # other patients
    infer(config, [folder / "ct" / "images"], folder / "masks", run=folder / "run")
    return {
        "report": folder / "run" / "report.html",
        "gallery": folder / "masks" / "gallery.html",
    }


def look_alike(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures have the same size and nearly the same greys."""
    if one.size != other.size:
        return False
    greys = [np.asarray(each.convert("L"), int) for each in (one, other)]
    return float((np.abs(greys[0] - greys[1]) > OTHER_GREY).mean()) <= ALIKE


def take(page: Page, name: str, path: Path, whole: Path | None) -> None:
    """Take the pictures of a page at each width, into docs/; and of all of it, into `whole`."""
    for width, height in SIZES.items():
        page.resize(width, height)
        page.open(path)
        page.draw()
        shot = Image.open(io.BytesIO(page.picture())).convert("RGB")
        target = DOCS / f"{name}_{width}.webp"
        if not target.exists() or not look_alike(shot, Image.open(target)):
            shot.save(target, quality=QUALITY, method=6)
            sys.stdout.write(f"{target.name}: {target.stat().st_size / 1000:.0f} kB\n")
        if whole is not None:
            whole.mkdir(parents=True, exist_ok=True)
            page.picture(whole / f"{name}_{width}.png", whole=True)


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description="Take the screenshots in docs/ again.")
    parser.add_argument("--pages", type=Path, help="folder for pictures of the whole pages")
    given = parser.parse_args()
    if CHROMIUM is None:
        sys.stdout.write("no Chromium here, so the screenshots in docs/ stay as they are\n")
        return
    with tempfile.TemporaryDirectory() as name, open_browser() as page:
        for title, path in make_pages(Path(name)).items():
            take(page, title, path, given.pages)


if __name__ == "__main__":
    main()
