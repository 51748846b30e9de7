"""One CT volume: predicted slice by slice, tidied, measured, written in its own geometry."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.config.classes import is_lung
from lungseg.config.schema import Config, InferConfig
from lungseg.errors import UsageError
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import MASK_SUFFIXES, Input, volume_suffix
from lungseg.imaging.pixels import (
    apply_window,
    labels_of,
    with_channels,
    write_png,
)
from lungseg.imaging.volume_files import read_ct, write_volume
from lungseg.imaging.volumes import Ct
from lungseg.inference.body import coarse_body
from lungseg.inference.certainty import Certainty
from lungseg.inference.classes import lung_of, tidy_classes
from lungseg.inference.flags import find_flags
from lungseg.inference.gallery import draw_volume, in_full, keep_pictures
from lungseg.inference.measure import measure
from lungseg.inference.postprocess import count_voxels
from lungseg.inference.predictor import Predictor, check_sides, foreground_map
from lungseg.inference.quality import assess, thin_out
from lungseg.inference.rows import Measures, Quality
from lungseg.inference.sides import find_sides, side_labels
from lungseg.inference.slices import per_worker, predict_batch
from lungseg.reporting.overlays import volume_frame, volume_sheet, write_gif, write_mp4
from lungseg.system import console
from lungseg.system.environment import batches, ordered_map
from lungseg.system.tables import to_record


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The lungs of one CT volume.

    Attributes:
        ct: the volume.
        labels: SimpleITK image on the canonical grid (axes to the left, back and head): lung 1, or
            left lung 1, right lung 2 and lung of unknown side 3, or the class indices of a network
            with several classes.
        lung_voxels: number of voxels that are lung.
        measured: volumes in mL, densities in HU.
        quality: how far the mask can be trusted.
        flags: why a person should look at the mask: codes of docs/measures.md and sentences.
        steps: one line per step that changed the mask.
        probability: probability of lung as uint8 on the canonical grid, 255 for certain; None
            unless the config asks for it.
        not_written: one line per file that could not be written.
        lung: SimpleITK image on the grid of the labels: 1 in the lungs, whatever the labels say.
        sides: likewise, 1 in the left lung and 2 in the right, also without `infer.sides`.

    Examples:
        >>> lungs = lungseg.Segmenter("demo/run")
        >>> result = lungs.segment_volume("scan.mha")
        >>> result.mask.shape, result.mask.dtype
        ((12, 64, 64), dtype('uint8'))
        >>> result.measures["lung_volume_ml"] > 0
        True
        >>> "cut_off" in [flag.code for flag in result.flags]
        True
        >>> result.save("lungs.nii.gz")
    """

    ct: Ct
    labels: Any = field(repr=False)
    lung_voxels: int
    measured: Measures
    quality: Quality
    flags: list[Finding]
    steps: list[str]
    probability: NDArray[np.uint8] | None = field(default=None, repr=False)
    not_written: list[str] = field(default_factory=list)
    lung: Any = field(default=None, repr=False)
    sides: Any = field(default=None, repr=False)

    @property
    def image(self) -> Any:
        """The mask as a SimpleITK image in the scan's own geometry."""
        return self.ct.restore(sitk.GetArrayFromImage(self.labels))

    @cached_property
    def mask(self) -> NDArray[np.uint8]:
        """The mask, uint8 `(z, y, x)`, of the shape of the scan: 0 background, 1 lung.

        If `sides` was set, 1 is the left lung, 2 the right lung and 3 lung of unknown side. A
        network with several classes gives their indices, in the order of `rgb_map`.
        """
        return np.asarray(sitk.GetArrayFromImage(self.image))

    @property
    def measures(self) -> Mapping[str, float | int | bool]:
        """The measurements by name, as in the columns of `cases.csv`, without empty ones."""
        return to_record(self.measured)

    @property
    def remarks(self) -> list[str]:
        """What was assumed about the scan, each step that changed the mask, and each flag."""
        assumed = [finding.detail for finding in self.ct.findings]
        return [*assumed, *self.not_written, *self.steps, *(flag.detail for flag in self.flags)]

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


def segment_file(predictor: Predictor, item: Input, config: Config) -> Segmentation:
    """Read and segment one volume. Writes nothing.

    The volume, its labels, and a few slices at the network's size are in memory.

    Raises:
        DataError: if the volume cannot be read.
    """
    ct = read_ct(item.path, name=item.name, series_uid=config.infer.series_uid, files=item.files)
    if item.suffix:
        ct = replace(ct, suffix=item.suffix)
    return segment_ct(predictor, ct, config)


def segment_ct(predictor: Predictor, ct: Ct, config: Config) -> Segmentation:
    """Predict a volume slice by slice, tidy the mask and measure it. Writes nothing."""
    settings = config.infer
    for finding in ct.findings:
        console.warn(f"{ct.name}: {finding.code}: {finding.detail}")
    canonical = ct.canonical
    hu = sitk.GetArrayViewFromImage(canonical)
    width, height, _ = canonical.GetSpacing()
    classes = list(predictor.data.rgb_map)
    check_sides(predictor, settings)
    predicted, probability, certainty = _predict(predictor, hu, (height, width), ct.name, config)
    predicted.CopyInformation(canonical)
    # The checks work on every n-th voxel, so that they need little time and memory.
    few, found = thin_out(canonical), lung_of(thin_out(predicted), classes)
    with console.progress(2, f"{ct.name}: tidy, sides", "step") as bar:
        body = coarse_body(canonical)
        labels, steps = tidy_classes(predicted, classes, settings, body)
        del predicted
        bar.advance()
        lung = lung_of(labels, classes)
        sides = find_sides(lung, body)
        bar.advance()
    if sides.unknown:
        console.warn(f"{ct.name}: left and right are not known: {sides.unknown}")
    with ThreadPoolExecutor(1) as thread:
        measuring = thread.submit(measure, canonical, lung, sides)
        quality = assess(few, found, thin_out(lung), certainty)
        measured = measuring.result()
    flags = find_flags(measured, quality, ct.findings, predictor.usual_certainty)
    if settings.sides:
        labels = side_labels(lung, sides)
    lung_voxels = count_voxels(lung)
    if not lung_voxels:
        console.warn(f"{ct.name}: no lung was found in the whole volume")
    elif not measured.touches_border and measured.lung.upper is None:
        steps.append("fewer than 3 slices hold lung, so its thirds are not known")
    steps += sides.steps
    return Segmentation(
        ct,
        labels,
        lung_voxels,
        measured,
        quality,
        flags,
        steps,
        probability,
        lung=lung,
        sides=sides.labels,
    )


def write_files(
    result: Segmentation, predictor: Predictor, item: Input, output: Path, config: Config
) -> Segmentation:
    """Write the mask of a volume, and what else the config asks for, to `output`.

    Returns:
        The volume with a remark per file that this installation or scan does not allow.

    Raises:
        DataError: if a file cannot be written.
    """
    settings, name = config.infer, result.ct.name
    not_written: list[str] = []
    write_volume(result.image, output / f"{name}{result.ct.suffix}")
    if result.probability is not None:
        folder = output / "probabilities"
        folder.mkdir(exist_ok=True)
        write_volume(result.ct.restore(result.probability), folder / f"{name}{result.ct.suffix}")
    if settings.gallery != "none":
        _draw(result, output, settings)
    if settings.overlay or settings.video:
        (output / "overlays").mkdir(exist_ok=True)
        canonical = result.ct.canonical
        hu = sitk.GetArrayViewFromImage(canonical)
        labels = sitk.GetArrayViewFromImage(result.labels)
    if settings.overlay:
        write_png(
            output / "overlays" / f"{name}.png", volume_sheet(hu, labels, predictor.data.window)
        )
    if settings.video:
        # From head to feet, the order in which radiologists read a CT.
        window = predictor.data.window
        frames = (volume_frame(hu, labels, k, window) for k in reversed(range(len(hu))))
        film = output / "overlays" / f"{name}.{settings.video_format}"
        if settings.video_format == "gif":
            write_gif(film, frames, seconds=1 / settings.video_fps)
        elif not write_mp4(film, frames, settings.video_fps):
            not_written.append("no MP4: this OpenCV has no encoder for it; set video_format to gif")
    not_written += _write_dicom(result, predictor, item, output, settings)
    for remark in not_written:
        console.warn(f"{name}: {remark}")
    return replace(result, not_written=not_written)


def _write_dicom(
    result: Segmentation, predictor: Predictor, item: Input, output: Path, settings: InferConfig
) -> list[str]:
    """Write the DICOM objects that the config asks for; return why one could not be written."""
    wanted = {"DICOM-SEG": settings.dicom_seg, "RTSTRUCT": settings.rtstruct}
    kinds = [kind for kind, asked in wanted.items() if asked]
    classes = list(predictor.data.rgb_map)[1:]
    if not (len(classes) == 1 and is_lung(classes[0])):
        has = f"the network has the class{'es' if len(classes) > 1 else ''} {', '.join(classes)}"
        return [f"no {kind}: it is of lung alone, and {has}" for kind in kinds]
    if not kinds:
        return []
    from lungseg.imaging.dicom.segmentation import write_dicom_seg
    from lungseg.imaging.dicom.structure_set import write_structure_set

    not_written = []
    for kind in kinds:
        contours = kind == "RTSTRUCT"
        folder = output / "rtstruct" if contours else output
        not_written += (write_structure_set if contours else write_dicom_seg)(
            item.path,
            result.ct,
            result.labels,
            folder / f"{result.ct.name}.dcm",
            sides=settings.sides,
            series_uid=settings.series_uid,
            files=item.files,
            made_by={"network": predictor.name, "model_sha256": predictor.sha256},
        )
    return not_written


def _draw(result: Segmentation, output: Path, settings: InferConfig) -> None:
    """Draw a volume for `gallery.html`."""
    full, canonical = in_full(settings, [flag.code for flag in result.flags]), result.ct.canonical
    images = (canonical, result.lung, result.sides, result.labels)
    hu, lung, sides, labels = (sitk.GetArrayViewFromImage(image) for image in images)
    pictures = draw_volume(hu, lung, sides, labels, canonical.GetSpacing()[::-1], full=full)
    mask = f"{result.ct.name}{result.ct.suffix}"
    keep_pictures(output, result.ct.name, mask, pictures, full=full)


def _predict(
    predictor: Predictor,
    hu: NDArray[Any],
    spacing: tuple[float, float],
    name: str,
    config: Config,
) -> tuple[Any, NDArray[np.uint8] | None, float | None]:
    """Return the classes, a SimpleITK image; the probability of any if asked for; the certainty."""
    labels = np.zeros(hu.shape, dtype=np.uint8)
    probability = np.zeros(hu.shape, dtype=np.uint8) if config.infer.probabilities else None
    data = predictor.data

    def predict(numbers: list[int]) -> list[Certainty]:
        """Fill the labels of a few slices; return the certainty of each."""
        greys = (apply_window(hu[k], data.window) for k in numbers)
        slices = [with_channels(grey, data.channels) for grey in greys]
        found = predict_batch(predictor, slices, config.infer, spacing, volume=True)
        certainties = [Certainty() for _ in numbers]
        for k, probabilities, certainty in zip(numbers, found, certainties, strict=True):
            labels[k] = labels_of(probabilities)
            certainty.add(probabilities, labels[k])
            if probability is not None:
                probability[k] = foreground_map(probabilities)
        return certainties

    together = Certainty()
    with console.progress(len(hu), name, "slice") as bar:
        size = per_worker(predictor, config.infer)
        # All that a slice needs is done in one thread, so that no core waits for another.
        parts = batches(range(len(hu)), size)
        for certainties in ordered_map(predict, parts, predictor.workers):
            # One by one: the last bit of a sum would depend on the number of slices in a part.
            for certainty in certainties:
                together.include(certainty)
            bar.advance(len(certainties))
    return sitk.GetImageFromArray(labels), probability, together.value
