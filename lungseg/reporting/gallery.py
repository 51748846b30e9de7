"""`gallery.html`: a table of the cases of `infer`, and their slices with outlines to look through.

The pictures of each case lie in a file of their own until the page is written, so that those of
one case are in memory at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from lungseg import __version__
from lungseg.errors import DataError
from lungseg.reporting.pages import PIECES, SCRIPT, environment, pictures_script
from lungseg.reporting.pictures import CasePictures
from lungseg.system.files import partial_path, put_in_place

TEMPLATE = "gallery.html.j2"
MAX_BYTES = 60_000_000
# Left for the table and the program of the page: this much, and this much per case.
PAGE_BYTES, ROW_BYTES = 60_000, 2_500
# Cases without flags may take this share of the page, whatever the flagged ones need.
OTHERS_SHARE = 0.4
# By this in its head a page is known to be one.
GENERATOR = "lungseg infer"
HEAD_BYTES = 1000
_LINE = re.compile(re.escape(SCRIPT) + r'"([a-z0-9-]+)">(.*)</script>\n')


@dataclass(frozen=True)
class GalleryCase:
    """A row of the table.

    Attributes:
        name: name of the case.
        input: path of its file from the folder that was given.
        failed: whether there is no mask.
        is_volume: whether it is a CT volume, not a plain image.
        flags: codes of why a person should look at it.
        detail: what is said about it, or why it failed.
        volume_ml: volume of both lungs; None if it is not known.
        left_ml: volume of the left lung.
        right_ml: volume of the right lung.
        share: of an image, lung as a share of the pixels, 0 to 1.
        certainty: how certain the network is, 0 to 1.
        pictures: file with its pictures as `CasePictures.to_json`, named as they are called on the
            page: small letters, digits and `-`. None if there are none.
    """

    name: str
    input: str
    failed: bool
    is_volume: bool = False
    flags: Sequence[str] = ()
    detail: str = ""
    volume_ml: float | None = None
    left_ml: float | None = None
    right_ml: float | None = None
    share: float | None = None
    certainty: float | None = None
    pictures: Path | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """What its pictures are called on the page."""
        return self.pictures.stem if self.pictures else ""

    @property
    def rank(self) -> tuple[bool, int]:
        """Sorts cases: failed ones, then those with most flags."""
        return not self.failed, -len(self.flags)


def write_gallery(path: Path, cases: Sequence[GalleryCase], most_bytes: int = MAX_BYTES) -> None:
    """Write the page.

    If the pictures would make it larger than `most_bytes`, slices are left out: flagged cases keep
    theirs before others.

    Raises:
        DataError: if it cannot be written.
    """
    ordered = sorted(cases, key=lambda case: case.rank)
    limits = share_out(ordered, most_bytes - PAGE_BYTES - ROW_BYTES * len(ordered))
    page = environment().get_template(TEMPLATE).render(
        cases=ordered,
        generator=GENERATOR,
        version=__version__,
        flagged=sum(bool(case.flags) for case in ordered),
        failed=sum(case.failed for case in ordered),
        has_volumes=any(case.is_volume for case in ordered),
        has_images=any(not case.is_volume and not case.failed for case in ordered),
        megabytes=most_bytes // 1_000_000,
    )  # fmt: skip
    head, tail = page.split(PIECES)
    partial = partial_path(path)
    try:
        with partial.open("w", encoding="utf-8", errors="replace", newline="\n") as stream:
            stream.write(head)
            _write_pictures(stream, ordered, limits)
            stream.write(tail)
        put_in_place(partial, path)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        raise DataError(path, f"cannot be written: {problem.strerror or problem}.") from None


def _write_pictures(
    stream: IO[str], cases: Sequence[GalleryCase], limits: Mapping[Path, int]
) -> None:
    """Write the pictures of the cases, one case after the other."""
    spare = 0
    for case in cases:
        if case.pictures is None:
            continue
        limit = limits[case.pictures] + spare
        text = case.pictures.read_text(encoding="ascii")
        if len(text) > limit:
            thinner = CasePictures.from_json(text).thinned(limit)
            text = thinner.to_json() if thinner else ""
        spare = limit - len(text)
        if text:
            stream.write(pictures_script(case.key, text))


def share_out(cases: Sequence[GalleryCase], most_bytes: int) -> dict[Path, int]:
    """Return how many bytes the pictures of each case may take, together at most `most_bytes`.

    A part is kept for the cases without flags. Of the rest the flagged cases take what they need,
    and what they leave goes to the others.
    """
    sizes = {case.pictures: case.pictures.stat().st_size for case in cases if case.pictures}
    flagged = [case.pictures for case in cases if case.pictures and case.flags]
    others = [case.pictures for case in cases if case.pictures and not case.flags]
    limits = dict.fromkeys(sizes, 0)
    total = max(0, most_bytes)
    for group, part in ((others, round(OTHERS_SHARE * total)), (flagged, total), (others, total)):
        _fill(limits, group, sizes, part - sum(limits.values()))
    return limits


def _fill(
    limits: dict[Path, int], group: Sequence[Path], sizes: Mapping[Path, int], spare: int
) -> None:
    """Raise the limits of a group up to the sizes, by as much for each as `spare` allows."""
    missing = sorted(group, key=lambda path: sizes[path] - limits[path])
    for position, path in enumerate(missing):
        more = min(sizes[path] - limits[path], max(0, spare) // (len(missing) - position))
        limits[path] += more
        spare -= more


def is_gallery(path: Path) -> bool:
    """Whether a file is such a page."""
    try:
        with path.open("rb") as stream:
            return f'content="{GENERATOR}"'.encode() in stream.read(HEAD_BYTES)
    except OSError:
        return False


def read_pictures(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the pictures, as JSON, of each case of a page; none if there is no page.

    A damaged page ends there.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as stream:
            for line in stream:
                if found := _LINE.fullmatch(line):
                    yield found.group(1), found.group(2)
    except (OSError, ValueError):
        return
