"""One CT volume: predicted slice by slice, tidied, measured, written in its own geometry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.config.schema import Config, InferConfig
from lungseg.errors import UsageError
from lungseg.imaging.folders import volume_suffix
from lungseg.imaging.pixels import (
    apply_window,
    axial_slice,
    labels_of,
    resize_image,
    with_channels,
    write_png,
)
from lungseg.imaging.volume_files import read_ct, write_volume
from lungseg.imaging.volumes import Ct
from lungseg.inference.measure import measure
from lungseg.inference.postprocess import count_voxels, tidy
from lungseg.inference.predictor import Predictor, crop, foreground_map
from lungseg.inference.rows import Measures
from lungseg.inference.sides import find_sides, side_labels
from lungseg.reporting.overlays import contact_sheet, outline, write_gif
from lungseg.system import console
from lungseg.system.environment import batches
from lungseg.system.tables import to_record

SHEET_SLICES = 12

MASK_SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The lungs of one CT volume.

    Attributes:
        ct: the volume.
        labels: SimpleITK image on the canonical grid (axes to the left, back and head): lung 1, or
            left lung 1, right lung 2 and lung of unknown side 3.
        lung_voxels: number of voxels that are lung.
        measured: volumes in mL, densities in HU.
        steps: one line per step that changed the mask.
        probability: probability of lung as uint8 on the canonical grid, 255 for certain; None
            unless the config asks for it.
        not_written: one line per file that could not be written.

    Examples:
        >>> lungs = lungseg.Segmenter("demo/run")
        >>> result = lungs.segment_volume("scan.mha")
        >>> result.mask.shape, result.mask.dtype
        ((12, 64, 64), dtype('uint8'))
        >>> result.measures["lung_volume_ml"] > 0
        True
        >>> result.save("lungs.nii.gz")
    """

    ct: Ct
    labels: Any = field(repr=False)
    lung_voxels: int
    measured: Measures
    steps: list[str]
    probability: NDArray[np.uint8] | None = field(default=None, repr=False)
    not_written: list[str] = field(default_factory=list)

    @property
    def image(self) -> Any:
        """The mask as a SimpleITK image in the scan's own geometry."""
        return self.ct.restore(sitk.GetArrayFromImage(self.labels))

    @cached_property
    def mask(self) -> NDArray[np.uint8]:
        """The mask, uint8 `(z, y, x)`, of the shape of the scan: 0 background, 1 lung.

        If `sides` was set, 1 is the left lung, 2 the right lung and 3 lung of unknown side.
        """
        return np.asarray(sitk.GetArrayFromImage(self.image))

    @property
    def measures(self) -> Mapping[str, float | int | bool]:
        """The measurements by name, as in the columns of `cases.csv`, without empty ones."""
        return to_record(self.measured)

    @property
    def remarks(self) -> list[str]:
        """What was assumed about the scan, and each step that changed the mask."""
        return [*(finding.detail for finding in self.ct.findings), *self.not_written, *self.steps]

    def save(self, path: str | Path) -> None:
        """Write the mask in the scan's own geometry: `.nii.gz`, `.nii`, `.mha` or `.nrrd`.

        Raises:
            UsageError: if the suffix is another one.
            DataError: if the file cannot be written.
        """
        path = Path(path)
        if volume_suffix(path) not in MASK_SUFFIXES:
            raise UsageError(f"{path}: a mask is saved as one of {', '.join(MASK_SUFFIXES)}.")
        write_volume(self.image, path)


def segment_file(
    predictor: Predictor, path: Path, name: str, output: Path, config: Config
) -> Segmentation:
    """Segment one volume and write its mask, and what else the config asks for, to `output`.

    The volume, its labels, and a few slices at the network's size are in memory.

    Raises:
        DataError: if the volume cannot be read, or if a file cannot be written.
    """
    result = segment_ct(
        predictor, read_ct(path, name=name, series_uid=config.infer.series_uid), config
    )
    return _write(result, predictor, path, output, config)


def segment_ct(predictor: Predictor, ct: Ct, config: Config) -> Segmentation:
    """Predict a volume slice by slice, tidy the mask and measure it. Writes nothing."""
    settings = config.infer
    for finding in ct.findings:
        console.warn(f"{ct.name}: {finding.code}: {finding.detail}")
    canonical = ct.canonical
    hu = sitk.GetArrayViewFromImage(canonical)
    lungs, probability = _predict(predictor, hu, ct.name, config)
    lungs.CopyInformation(canonical)
    lungs, steps = tidy(lungs, settings, canonical)
    sides = find_sides(lungs, canonical)
    if sides.unknown:
        console.warn(f"{ct.name}: left and right are not known: {sides.unknown}")
    measured = measure(canonical, lungs, sides)
    labels = side_labels(lungs, sides) if settings.sides else lungs
    lung_voxels = count_voxels(labels)
    if not lung_voxels:
        console.warn(f"{ct.name}: no lung was found in the whole volume")
        steps.append("no lung was found")
    return Segmentation(ct, labels, lung_voxels, measured, [*steps, *sides.steps], probability)


def _write(
    result: Segmentation, predictor: Predictor, source: Path, output: Path, config: Config
) -> Segmentation:
    """Write the files of a volume; return it with a remark per file that could not be written."""
    settings, name = config.infer, result.ct.name
    write_volume(result.image, output / f"{name}{result.ct.suffix}")
    if result.probability is not None:
        folder = output / "probabilities"
        folder.mkdir(exist_ok=True)
        write_volume(result.ct.restore(result.probability), folder / f"{name}{result.ct.suffix}")
    if settings.overlay or settings.video:
        (output / "overlays").mkdir(exist_ok=True)
        canonical = result.ct.canonical
        hu = sitk.GetArrayViewFromImage(canonical)
        labels = sitk.GetArrayViewFromImage(result.labels)
    if settings.overlay:
        write_png(output / "overlays" / f"{name}.png", _sheet(hu, labels, predictor))
    if settings.video:
        # From head to feet, the order in which radiologists read a CT.
        frames = (_frame(hu, labels, k, predictor) for k in reversed(range(len(hu))))
        write_gif(output / "overlays" / f"{name}.gif", frames)
    if settings.dicom_seg:
        from lungseg.imaging.dicom.segmentation import write_dicom_seg

        not_written = write_dicom_seg(
            source,
            result.ct,
            result.labels,
            output / f"{name}.dcm",
            sides=settings.sides,
            series_uid=settings.series_uid,
        )
        return replace(result, not_written=not_written)
    return result


def _predict(
    predictor: Predictor, hu: NDArray[Any], name: str, config: Config
) -> tuple[Any, NDArray[np.uint8] | None]:
    """Return the lungs, a SimpleITK image of 0 and 1, and their probability if asked for."""
    lungs = np.zeros(hu.shape, dtype=np.uint8)
    probability = np.zeros(hu.shape, dtype=np.uint8) if config.infer.probabilities else None
    greys = (apply_window(plane, predictor.data.window) for plane in hu)
    with console.progress(len(hu), name, "slice") as bar:
        for k, probabilities in enumerate(predict_slices(predictor, greys, config.infer)):
            lungs[k] = labels_of(probabilities) > 0
            if probability is not None:
                probability[k] = foreground_map(probabilities)
            bar.advance()
    return sitk.GetImageFromArray(lungs), probability


def predict_slices(
    predictor: Predictor, greys: Iterable[NDArray[np.uint8]], settings: InferConfig
) -> Iterator[NDArray[np.float32]]:
    """Predict axial slices, each at its own size.

    Args:
        predictor: the network.
        greys: slices `(H, W)` in the grey values of the network's window.
        settings: slices predicted together, and whether large ones are predicted in tiles.

    Yields:
        Class probabilities `(H, W, C)` of each slice.
    """
    data = predictor.data
    for batch in batches(greys, settings.batch_size):
        size = (batch[0].shape[0], batch[0].shape[1])
        if settings.tiles and min(size) > max(data.image_size):
            yield from (predictor.tiled(with_channels(grey, data.channels)) for grey in batch)
            continue
        # Pad to squares, so that patients are not stretched.
        squares = [axial_slice(grey, data.channels) for grey in batch]
        found = predictor.probabilities([resize_image(each, data.image_size) for each in squares])
        yield from (crop(probabilities, size) for probabilities in found)


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
