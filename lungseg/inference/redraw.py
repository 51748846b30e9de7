"""Pictures of masks that stay from an earlier call of `infer`, or were changed by hand since."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.config.schema import Config
from lungseg.errors import DataError, one_of_many
from lungseg.imaging.folders import Input
from lungseg.imaging.masks import decode_mask
from lungseg.imaging.pixels import read_pixels, to_slice
from lungseg.imaging.volume_files import read_ct, read_label_volume
from lungseg.imaging.volumes import geometry_differences
from lungseg.inference.body import coarse_body
from lungseg.inference.classes import lung_of
from lungseg.inference.gallery import (
    GALLERY,
    draw_image,
    draw_volume,
    gallery_case,
    in_full,
    keep_pictures,
)
from lungseg.inference.predictor import Predictor
from lungseg.inference.rows import CaseRow
from lungseg.inference.sides import find_sides
from lungseg.reporting.gallery import GalleryCase
from lungseg.reporting.pictures import CasePictures
from lungseg.system import console


def redraw(
    row: CaseRow, item: Input | None, predictor: Predictor, output: Path, config: Config
) -> GalleryCase:
    """Draw a mask for the page, and return its row; if that is not possible, the row says why.

    Args:
        row: the row of `cases.csv`.
        item: the input; None if it was not given this time.
        predictor: knows the classes and how images are read.
        output: folder of the masks.
        config: section `infer` is used.
    """
    if item is None:
        problem = "its input was not given this time"
    else:
        console.note(f"{row.case}: its mask is of an earlier call and is drawn for {GALLERY}")
        full = in_full(config.infer, row.flags.split())
        try:
            with one_of_many(item.path):
                pictures = _draw(row, item, predictor, output, config, full=full)
                keep_pictures(output, row.case, str(row.mask), pictures, full=full)
            return gallery_case(row, output, config.infer)
        except DataError as error:
            problem = str(error)
    case = gallery_case(row, output, config.infer)
    detail = "; ".join(filter(None, (case.detail, f"there are no pictures: {problem}")))
    return replace(case, detail=detail)


def _draw(
    row: CaseRow,
    item: Input,
    predictor: Predictor,
    output: Path,
    config: Config,
    *,
    full: bool,
) -> CasePictures:
    path, classes = output / str(row.mask), list(predictor.data.rgb_map)
    if not item.is_volume:
        image, _ = to_slice(read_pixels(item.path), predictor.data)
        labels, _ = decode_mask(read_pixels(path), predictor.data.rgb_map, path, own=True)
        if labels.shape != image.shape[:2]:
            raise DataError(path, "has not the size of its image.")
        return draw_image(image, labels, classes, config.data.pixel_spacing, full=full)
    ct = read_ct(item.path, name=item.name, series_uid=config.infer.series_uid, files=item.files)
    mask = read_label_volume(path).image
    if differences := geometry_differences(mask, ct.canonical):
        raise DataError(path, f"has not the geometry of its CT: {'; '.join(differences)}.")
    # With sides, the labels are not the indices of classes.
    lung = mask > 0 if config.infer.sides else lung_of(mask, classes)
    body = coarse_body(ct.canonical)
    sides = find_sides(sitk.Cast(lung > 0, sitk.sitkUInt8), body)
    images = (ct.canonical, lung, sides.labels, mask)
    hu, *views = (sitk.GetArrayViewFromImage(image) for image in images)
    return draw_volume(hu, views[0], views[1], views[2], ct.canonical.GetSpacing()[::-1], full=full)
