"""Draw the pictures in docs/ again. Everything shown is a phantom.

Example:
    python -m scripts.maintain.make_doc_pictures
"""

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from PIL import Image

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.dataset.augmentation import Augmenter
from lungseg.imaging.pixels import apply_window
from lungseg.phantom.drawing import make_slice, make_volume
from lungseg.phantom.patient import make_patient
from lungseg.reporting.overlays import PREDICTION, TRUTH, Picture, contact_sheet, outline
from lungseg.verbs.infer import infer
from scripts.bench.speed import trained_run

DOCS = Path(__file__).parents[2] / "docs"
# Pictures are drawn at the size that is shown, so that outlines of one pixel stay visible.
SIDE = 200
# Width and number of colours keep a picture below the 200 kB that check_sizes.py allows.
MAX_WIDTH = 800
# The palette: greys, and the outlines' colours blended with some greys.
GREYS = [(grey, grey, grey) for grey in range(0, 256, 5)]
BLENDS = [
    tuple(round(share * c + (1 - share) * grey) for c in colour)
    for colour in (TRUTH, PREDICTION)
    for share in (0.4, 0.7, 1.0)
    for grey in range(0, 256, 32)
]


def save(sheet: Picture, name: str) -> None:
    """Write a picture into docs/ with a palette, reduced to `MAX_WIDTH`."""
    image = Image.fromarray(sheet)
    image.thumbnail((MAX_WIDTH, MAX_WIDTH), Image.Resampling.LANCZOS)
    colours = Image.new("P", (1, 1))
    colours.putpalette([value for colour in (*GREYS, *BLENDS) for value in colour])
    image = image.quantize(palette=colours, dither=Image.Dither.NONE)
    image.save(DOCS / name, optimize=True)


def draw_overlays() -> None:
    """Segment a phantom volume with a network that was trained briefly on other phantoms."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained_run(folder)
        slices = np.stack([hu for hu, _ in make_volume(make_patient(103), 40)])[::-1]
        volume = sitk.GetImageFromArray(slices)
        volume.SetSpacing((0.7, 0.7, 7.5))
        sitk.WriteImage(volume, str(folder / "phantom.nii.gz"))
        config = check_config({"infer": {"overlay": True, "sides": True}}, "docs")
        model = folder / "model.onnx"
        infer(config, [folder / "phantom.nii.gz"], folder / "out", model=model)
        with Image.open(folder / "out" / "overlays" / "phantom.png") as sheet:
            save(np.asarray(sheet.convert("RGB")), "overlay.png")


def main() -> None:
    """Write docs/phantom.png, augmentation.png and overlay.png."""
    draw_overlays()
    pictures, captions = [], []
    for seed in (2, 8):
        for z in (0.1, 0.4, 0.6, 0.9):
            hu, mask = make_slice(make_patient(seed), z, SIDE)
            pictures.append(outline(apply_window(hu, (-1000, 400)), mask, TRUTH))
            captions.append(f"phantom {seed}, z {z}")
    save(contact_sheet(pictures, captions, columns=4, side=SIDE), "phantom.png")

    hu, mask = make_slice(make_patient(1), 0.5, SIDE)
    image = apply_window(hu, (-1000, 400))
    augment = Augmenter(Config().augment.online)
    drawn = [augment(image, mask, seed) for seed in range(8)]
    sheet = contact_sheet(
        [outline(i, np.asarray(m), TRUTH) for i, m in drawn],
        [f"draw {seed}" for seed in range(8)],
        columns=4,
        side=SIDE,
    )
    save(sheet, "augmentation.png")


if __name__ == "__main__":
    main()
