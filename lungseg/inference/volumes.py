"""One CT volume: predicted slice by slice, tidied, measured, written in its own geometry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.imaging.pixels import apply_window, pad_to_square, resize_image, write_png
from lungseg.imaging.volume_files import read_ct, write_volume
from lungseg.imaging.volumes import Ct
from lungseg.inference.measure import measure
from lungseg.inference.postprocess import count_voxels, tidy
from lungseg.inference.predictor import Predictor, crop, foreground_map, labels_of
from lungseg.inference.rows import Measures
from lungseg.inference.sides import label_sides
from lungseg.reporting.overlays import contact_sheet, outline, write_gif
from lungseg.system import console
from lungseg.system.environment import batches

SHEET_SLICES = 12


@dataclass(frozen=True)
class Segmented:
    """A segmented CT volume.

    Attributes:
        ct: the volume.
        labels: SimpleITK image on the canonical grid: lung 1, or left 1 and right 2.
        lung_voxels: number of voxels that are lung.
        remarks: what was assumed, repaired or removed, one sentence each.
        measured: volumes in mL, densities in HU.
    """

    ct: Ct
    labels: Any
    lung_voxels: int
    remarks: list[str]
    measured: Measures


def segment(predictor: Predictor, path: Path, name: str, output: Path, config: Config) -> Segmented:
    """Segment one volume and write its mask, and what else the config asks for, to `output`.

    Memory holds the volume, its labels, and a few slices of the network's.

    Raises:
        DataError: where the volume cannot be read, or a file not be written.
    """
    settings = config.infer
    ct = read_ct(path, name, settings.series_uid)
    for finding in ct.findings:
        console.warn(f"{name}: {finding.code}: {finding.detail}")
    canonical = ct.canonical
    hu = sitk.GetArrayViewFromImage(canonical)
    lungs, certainty = _predict(predictor, hu, name, config)
    lungs.CopyInformation(canonical)
    lungs, steps = tidy(lungs, settings, canonical)
    sides, side_steps = label_sides(lungs)
    measured = measure(canonical, sides)
    labels = sides if settings.sides else lungs
    write_volume(ct.restore(sitk.GetArrayFromImage(labels)), output / f"{name}{ct.suffix}")
    found = sitk.GetArrayViewFromImage(labels)
    if certainty is not None:
        folder = output / "probabilities"
        folder.mkdir(exist_ok=True)
        write_volume(ct.restore(certainty), folder / f"{name}{ct.suffix}")
    if settings.overlay or settings.video:
        (output / "overlays").mkdir(exist_ok=True)
    if settings.overlay:
        write_png(output / "overlays" / f"{name}.png", _sheet(hu, found, predictor))
    if settings.video:
        # From head to feet, as one reads a CT.
        frames = (_frame(hu, found, k, predictor) for k in reversed(range(len(hu))))
        write_gif(output / "overlays" / f"{name}.gif", frames)
    remarks = [finding.detail for finding in ct.findings]
    if settings.dicom_seg:
        from lungseg.imaging.dicom.segmentation import write_dicom_seg

        remarks += write_dicom_seg(
            path,
            ct,
            labels,
            output / f"{name}.dcm",
            sides=settings.sides,
            series_uid=settings.series_uid,
        )
    lung_voxels = count_voxels(labels)
    if not lung_voxels:
        console.warn(f"{name}: no lung was found in the whole volume")
        steps.append("no lung was found")
    remarks += [*steps, *(side_steps if settings.sides else [])]
    return Segmented(ct, labels, lung_voxels, remarks, measured)


def _predict(
    predictor: Predictor, hu: NDArray[Any], name: str, config: Config
) -> tuple[Any, NDArray[np.uint8] | None]:
    """Return the lungs, a SimpleITK image of 0 and 1, and their probability where asked for."""
    lungs = np.zeros(hu.shape, dtype=np.uint8)
    certainty = np.zeros(hu.shape, dtype=np.uint8) if config.infer.probabilities else None
    size = (hu.shape[1], hu.shape[2])
    tiled = config.infer.tiles and min(size) > max(predictor.data.image_size)
    with console.progress(len(hu), name, "slice") as bar:
        for positions in batches(range(len(hu)), config.infer.batch_size):
            if tiled:
                found = [predictor.tiled(_grey(hu[k], predictor)) for k in positions]
            else:
                squares = [_square(hu[k], predictor) for k in positions]
                found = [crop(one, size) for one in predictor.probabilities(squares)]
            for k, probabilities in zip(positions, found, strict=True):
                lungs[k] = labels_of(probabilities) > 0
                if certainty is not None:
                    certainty[k] = foreground_map(probabilities)
            bar.advance(len(positions))
    return sitk.GetImageFromArray(lungs), certainty


def _grey(hu: NDArray[Any], predictor: Predictor) -> NDArray[np.uint8]:
    grey = apply_window(hu, predictor.data.window)
    return np.repeat(grey[..., None], 3, axis=2) if predictor.data.channels == 3 else grey


def _square(hu: NDArray[Any], predictor: Predictor) -> NDArray[np.uint8]:
    """Window a slice, pad it to a square (patients are not stretched), resize it."""
    data = predictor.data
    resized = resize_image(pad_to_square(apply_window(hu, data.window)), data.image_size)
    return np.repeat(resized[..., None], 3, axis=2) if data.channels == 3 else resized


def _frame(
    hu: NDArray[Any], labels: NDArray[Any], k: int, predictor: Predictor
) -> NDArray[np.uint8]:
    return outline(apply_window(hu[k], predictor.data.window), np.asarray(labels[k]))


def _sheet(hu: NDArray[Any], labels: NDArray[Any], predictor: Predictor) -> NDArray[np.uint8]:
    """Draw evenly spaced slices, from head to feet, with the lungs outlined."""
    positions = np.unique(np.linspace(len(hu) - 1, 0, min(SHEET_SLICES, len(hu))).round())[::-1]
    chosen = [int(k) for k in positions]
    pictures = [_frame(hu, labels, k, predictor) for k in chosen]
    captions = [f"slice {k + 1} of {len(hu)}" for k in chosen]
    return contact_sheet(pictures, captions, columns=4)
