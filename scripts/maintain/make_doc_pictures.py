"""Draw the pictures in docs/ anew, from phantoms alone.

Example:
    python -m scripts.maintain.make_doc_pictures
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.dataset.augmentation import Augmenter
from lungseg.imaging.pixels import apply_window, write_png
from lungseg.phantom.drawing import make_slice, make_volume
from lungseg.phantom.patient import make_patient
from lungseg.reporting.overlays import TRUTH, contact_sheet, outline
from lungseg.verbs.infer import infer
from scripts.bench.speed import trained_run

DOCS = Path(__file__).parents[2] / "docs"


def draw_overlays() -> None:
    """Segment a phantom volume with a network trained for a moment on other phantoms."""
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
        shutil.copy(folder / "out" / "overlays" / "phantom.png", DOCS / "overlay.png")


def main() -> None:
    """Write docs/phantom.png, augmentation.png and overlay.png."""
    draw_overlays()
    pictures, captions = [], []
    for seed in (2, 1, 8):
        for z in (0.1, 0.3, 0.5, 0.7, 0.9):
            hu, mask = make_slice(make_patient(seed), z, 384)
            pictures.append(outline(apply_window(hu, (-1000, 400)), mask, TRUTH))
            captions.append(f"phantom {seed}, z {z}")
    write_png(DOCS / "phantom.png", contact_sheet(pictures, captions, columns=5))

    hu, mask = make_slice(make_patient(1), 0.5, 384)
    image = apply_window(hu, (-1000, 400))
    augment = Augmenter(Config().augment.online)
    drawn = [augment(image, mask, seed) for seed in range(10)]
    sheet = contact_sheet(
        [outline(i, np.asarray(m), TRUTH) for i, m in drawn],
        [f"draw {seed}" for seed in range(10)],
        columns=5,
    )
    write_png(DOCS / "augmentation.png", sheet)


if __name__ == "__main__":
    main()
