"""Layouts of public data sets: which of their files are images, and which are the masks of these.

A layout gives each image and each mask a key. What has one key is a pair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lungseg.config.pairing import Pairing, PairingName, PairPatterns
from lungseg.imaging.folders import Input, joined, stem_of

Key = tuple[str, ...]

CT_CHANNEL = "0000"
# Words at the ends of a name that tell an image from its mask.
MASK_WORDS = r"masks?|segmentations?|segs?|labels?|lbl|gt|annotations?"
ANY_WORDS = rf"{MASK_WORDS}|images?|imgs?|cts?|scans?|volumes?|vol|lungs?"
SEPARATOR = r"[-_. ]"
LUNG_FOLDER = re.compile(r"seg.*lung|lung.*(seg|mask)", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where an input is.

    Attributes:
        item: the input.
        root: name of the folder that was given.
        one_tree: whether images and masks are in one folder that was given for both.
    """

    item: Input
    root: str
    one_tree: bool

    @property
    def stem(self) -> str:
        """Its name without suffix."""
        return stem_of(self.item.path)

    def below(self, folder: str) -> Key | None:
        """Return the names of the folders that lead to it without `folder`, None if not below it.

        The folder that was given may itself be `folder`.
        """
        if folder not in (self.root, *self.item.within):
            return None
        return tuple(name for name in self.item.within if name != folder)


@dataclass(frozen=True)
class Layout:
    """How a data set names its images and masks.

    Attributes:
        looks: how it looks, for messages.
        images: returns the keys that the mask of an image may have, the most likely first; none if
            this is no image.
        masks: returns the key of a mask; None if this is no mask.
        many: whether a folder of files, one for each structure, is a mask.
        contours: whether masks are RTSTRUCT files.
        labels: of the lungs in a mask volume, if it holds others as well.
        own_names: whether cases are named by their place; otherwise by their key.
    """

    looks: str
    images: Callable[[Place], Sequence[Key]]
    masks: Callable[[Place], Key | None]
    many: bool = False
    contours: bool = False
    labels: tuple[int, ...] = ()
    own_names: bool = False


def layout_of(pairing: Pairing) -> Layout | None:
    """Return the layout that `data.pairing` names or describes; None for `stem`."""
    if isinstance(pairing, PairPatterns):
        return Layout(
            "names as in data.pairing",
            partial(_by_pattern, pairing.images, pairing.masks),
            partial(_mask_by_pattern, pairing.images, pairing.masks),
        )
    return LAYOUTS.get(pairing)


# --- suffix, and patterns of a person's own


def stripped(stem: str) -> str:
    """Return a name without the words at its ends that say what it is: `p1` of `p1_lung_mask`."""
    before = ""
    while before != stem:
        before = stem
        for pattern in (rf"{SEPARATOR}({ANY_WORDS})$", rf"^({ANY_WORDS}){SEPARATOR}"):
            stem = re.sub(pattern, "", stem, flags=re.IGNORECASE) or stem
    return stem


def _has_mask_word(stem: str) -> bool:
    words = re.split(SEPARATOR, stem)
    return any(re.fullmatch(MASK_WORDS, word, re.IGNORECASE) for word in words)


def _by_suffix(place: Place) -> list[Key]:
    return [(*place.item.within, stripped(place.stem))]


def _mask_by_suffix(place: Place) -> Key | None:
    if place.one_tree and not _has_mask_word(place.stem):
        return None
    return (*place.item.within, stripped(place.stem))


def shared_part(pattern: str | None, item: Input) -> Key | None:
    """Return the part of an input's name that its partner has as well, None if it does not match.

    A pattern with a slash is compared with the path below the folder that was given, any other with
    the name alone, and then the folders must be those of the partner. Suffixes do not count.
    """
    stem = stem_of(item.path)
    if pattern is None:
        return (*item.within, stem)
    whole = "/" in pattern
    name = "/".join((*item.within, stem)) if whole else stem
    folders = () if whole else item.within
    if re.compile(pattern).groups:
        match = re.fullmatch(pattern, name)
        return (*folders, *(part or "" for part in match.groups())) if match else None
    rest, count = re.subn(pattern, "", name)
    return (*folders, *rest.split("/")) if count else None


def _by_pattern(images: str | None, masks: str | None, place: Place) -> list[Key]:
    key = shared_part(images, place.item)
    return [] if key is None else [key]


def _mask_by_pattern(images: str | None, masks: str | None, place: Place) -> Key | None:
    if masks is None and shared_part(images, place.item) is not None:
        return None  # the pattern of the images found an image
    return shared_part(masks, place.item)


# --- data sets


def _nnunet_image(place: Place) -> list[Key]:
    folders = place.below("imagesTr")
    if folders is None:
        return []
    # Decathlon's names have no channel, and may end in a number.
    names = [place.stem, place.stem.removesuffix(f"_{CT_CHANNEL}")]
    return [(*folders, name) for name in dict.fromkeys(names)]


def _nnunet_mask(place: Place) -> Key | None:
    folders = place.below("labelsTr")
    return None if folders is None else (*folders, place.stem)


def _organs_image(place: Place) -> list[Key]:
    if not place.item.is_volume or "segmentations" in place.item.within:
        return []
    if place.item.path.is_dir() or place.stem.casefold() != "ct":
        return [(*place.item.within, place.stem)] if not place.one_tree else []
    return [place.item.within]


def _organs_mask(place: Place) -> Key | None:
    if not place.item.is_volume:
        return None
    within = place.item.within
    if within[-1:] == ("segmentations",):
        return within[:-1]
    return None if place.one_tree else within


def _is_lung_folder(place: Place) -> bool:
    return any(LUNG_FOLDER.search(name) for name in place.item.within)


def _luna16_image(place: Place) -> list[Key]:
    is_image = place.item.is_volume and not _is_lung_folder(place)
    return [(place.stem,)] if is_image else []


def _luna16_mask(place: Place) -> Key | None:
    is_mask = place.item.is_volume and (_is_lung_folder(place) or not place.one_tree)
    return (place.stem,) if is_mask else None


def _covid_image(place: Place) -> list[Key]:
    is_mask = any(name.casefold().endswith("_mask") for name in place.item.within)
    return [(place.stem,)] if place.item.is_volume and not is_mask else []


def _covid_mask(place: Place) -> Key | None:
    of_lung = place.below("Lung_Mask") is not None
    whole = not place.one_tree and not place.item.within
    return (place.stem,) if place.item.is_volume and (of_lung or whole) else None


def _series_image(place: Place) -> list[Key]:
    # Imported here, as in `_contours`, because other layouts do not need SimpleITK.
    from lungseg.imaging.dicom.series import series_uid

    item = place.item
    if not item.path.is_dir():
        return []
    # A series whose header cannot be read has no mask that refers to it.
    return [(series_uid(item.path, item.files) or item.place,)]


def _contours(place: Place) -> Key | None:
    from lungseg.imaging.dicom.contours import referenced_series

    uid = referenced_series(place.item.path)
    # One that names no series is nobody's, and is said to have no image.
    return (uid or f"no series in {place.item.place}",)


def _original_image(place: Place) -> list[Key]:
    folders = place.below("images")
    return [] if folders is None else [(*folders, place.stem)]


def _original_mask(place: Place) -> Key | None:
    folders = place.below("masks")
    return None if folders is None else (*folders, place.stem)


LAYOUTS: Mapping[PairingName, Layout] = {
    "suffix": Layout("p1_ct and p1_lung_mask, or image_1 and mask_1", _by_suffix, _mask_by_suffix),
    "nnunet": Layout("imagesTr/ and labelsTr/", _nnunet_image, _nnunet_mask),
    "totalsegmentator": Layout(
        "a folder per subject with ct.nii.gz and segmentations/",
        _organs_image,
        _organs_mask,
        many=True,
    ),
    "luna16": Layout(
        "volumes, and lung labels of the same names in seg-lungs-LUNA16/",
        _luna16_image,
        _luna16_mask,
        labels=(3, 4),
    ),
    "covid19-ct-seg": Layout(
        "volumes, and lungs of the same names in Lung_Mask/", _covid_image, _covid_mask
    ),
    "lctsc": Layout(
        "DICOM series, and RTSTRUCT files that refer to them",
        _series_image,
        _contours,
        contours=True,
        own_names=True,
    ),
    "original": Layout("images/ and masks/ in each folder", _original_image, _original_mask),
}


def case_name(layout: Layout, item: Input, key: Key, root: str) -> str:
    """Return the name of a case: what tells it from others in its layout."""
    if layout.own_names:
        return item.name
    return joined(*(part for part in key if part)) or root
