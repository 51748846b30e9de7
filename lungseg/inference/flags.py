"""Quality flags: why a person should look at a mask before its numbers are used.

A flag changes neither the mask nor the exit code. docs/measures.md lists the flags, and how often
each is raised for a fault and for a good mask (`python -m scripts.bench.flags`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from lungseg.imaging.findings import Finding
from lungseg.inference.certainty import BELOW_USUAL, MIN_CERTAINTY, Usual
from lungseg.inference.rows import CaseRow, Measures, Quality

# Lungs of adults in CT: 4,468 mL +- 1,271 (Cheng et al., 2019, https://doi.org/10.2147/COPD.S187596),
# 4,066 +- 1,190 (Cressoni et al., 2013, https://doi.org/10.1186/cc12738).
MIN_VOLUME_ML, MAX_VOLUME_ML = 1000, 9000
# The right lung of healthy adults has 51% to 57% of the volume (Yamada et al., 2020,
# https://pmc.ncbi.nlm.nih.gov/articles/PMC7490509, table 3).
MIN_RIGHT_SHARE, MAX_RIGHT_SHARE = 0.40, 0.65
# One side of the body holds less than this share of the lung: a lung is missing.
MISSING_SHARE = 0.1
MAX_PARTS = 8
MAX_DROPPED_SHARE = 0.1
MIN_THRESHOLD_DICE = 0.85
# The median of a lung, from severe emphysema to severe disease or deep expiration.
MIN_MEDIAN_HU, MAX_MEDIAN_HU = -960, -500

FLAGS = {
    "no_lung": "no lung was found in the volume",
    "cut_off": "lung reaches the edge of the volume",
    "volume": f"both lungs have less than {MIN_VOLUME_ML} mL and are not cut off, or have more "
    f"than {MAX_VOLUME_ML} mL",
    "uneven_sides": f"the right lung has less than {MIN_RIGHT_SHARE:.0%} or more than "
    f"{MAX_RIGHT_SHARE:.0%} of the volume of both",
    "missing_side": "one lung has 0 mL, or less than "
    f"{MISSING_SHARE:.0%} of the lung lies on one side of the body's middle",
    "many_parts": f"the network's mask has more than {MAX_PARTS} parts of at least "
    "1 mL before tidying",
    "much_dropped": f"tidying dropped more than {MAX_DROPPED_SHARE:.0%} of the network's mask",
    "low_certainty": f"`certainty` is more than {BELOW_USUAL} below what is usual for the network "
    "(that of its validation slices together, for an image their 5th percentile), or below "
    f"{MIN_CERTAINTY} if the model does not say what is usual",
    "threshold_differs": f"`threshold_dice` is below {MIN_THRESHOLD_DICE}",
    "doubtful_hu": "values were converted to HU, or air, fat and soft tissue do not lie where they "
    f"should, or the lung's median is not between {MIN_MEDIAN_HU} and {MAX_MEDIAN_HU} HU",
    "all_empty": "no case of the whole call has lung",
}


def find_flags(
    measured: Measures, quality: Quality, findings: Sequence[Finding], usual: Usual | None = None
) -> list[Finding]:
    """Return the flags of a volume, each with a sentence.

    Args:
        measured: measurements of the volume.
        quality: how far its mask can be trusted.
        findings: what was found in reading it.
        usual: what certainty is usual for the network, if that is known.
    """
    found = [*_size_flags(measured, quality), *_trust_flags(quality, usual)]
    found += _hu_flags(measured, quality, findings)
    return [Finding(code, "warning", detail, None) for code, detail in found]


def _size_flags(measured: Measures, quality: Quality) -> Iterator[tuple[str, str]]:
    volume = measured.lung.volume_ml or 0.0
    if not measured.slices_with_lung:
        yield "no_lung", "no lung was found"
        return
    if measured.touches_border:
        thirds = "" if measured.lung.upper else ", and its thirds are not known"
        yield "cut_off", f"lung reaches the edge of the volume, so part may be missing{thirds}"
    if volume > MAX_VOLUME_ML or (volume < MIN_VOLUME_ML and not measured.touches_border):
        expected = f"{MIN_VOLUME_ML} to {MAX_VOLUME_ML} mL"
        yield "volume", f"the lungs have {volume:.0f} mL; those of adults have {expected}"
    known = (side.volume_ml for side in (measured.left, measured.right))
    sides = [volume for volume in known if volume is not None]
    left = quality.left_of_middle_share
    # Sides are those of the mask. The body says whether one of them is missing.
    if 0 in sides or (left is not None and not MISSING_SHARE <= left <= 1 - MISSING_SHARE):
        yield "missing_side", "lung was found on one side of the body only"
    elif len(sides) == 2:
        right = sides[1] / sum(sides)
        if not MIN_RIGHT_SHARE <= right <= MAX_RIGHT_SHARE:
            expected = f"{MIN_RIGHT_SHARE:.0%} to {MAX_RIGHT_SHARE:.0%}"
            yield "uneven_sides", f"the right lung has {right:.0%} of the volume; usual: {expected}"


def _trust_flags(quality: Quality, usual: Usual | None) -> Iterator[tuple[str, str]]:
    parts, dropped, dice = quality.parts_found, quality.dropped_share, quality.threshold_dice
    if parts is not None and parts > MAX_PARTS:
        yield "many_parts", f"the network found {parts} parts; expected at most {MAX_PARTS}"
    if dropped is not None and dropped > MAX_DROPPED_SHARE:
        yield "much_dropped", f"{dropped:.0%} of the network's mask was dropped in tidying"
    yield from uncertain(quality.certainty, usual)
    if dice is not None and dice < MIN_THRESHOLD_DICE:
        yield (
            "threshold_differs",
            f"the lungs found by a threshold agree with a Dice of {dice:.2f} only",
        )


def uncertain(
    certainty: float | None, usual: Usual | None = None, *, image: bool = False
) -> list[tuple[str, str]]:
    """Return the flag of a mask that the network is not certain of, if it is raised."""
    least = (usual or Usual()).least(image=image)
    if certainty is None or certainty >= least:
        return []
    detail = f"the network's certainty is {certainty:.2f}; expected at least {least:.2f}"
    return [("low_certainty", detail)]


def _hu_flags(
    measured: Measures, quality: Quality, findings: Sequence[Finding]
) -> Iterator[tuple[str, str]]:
    median = measured.lung.p50_hu
    if any(finding.code == "hu_converted" for finding in findings):
        yield "doubtful_hu", "HU are doubtful, because the values had to be converted"
    elif quality.tissues_in_place is False:
        yield "doubtful_hu", "HU are doubtful: air, fat or soft tissue do not lie where they should"
    elif median is not None and not MIN_MEDIAN_HU <= median <= MAX_MEDIAN_HU:
        yield "doubtful_hu", f"HU are doubtful, or disease is severe: the median is {median:.0f} HU"


def flag_all_empty(rows: Iterable[CaseRow]) -> list[CaseRow]:
    """Flag every case as `all_empty` if none has lung; take the flag away otherwise."""
    rows = list(rows)
    done = [row for row in rows if not row.failed]
    empty = bool(done) and not any(row.lung_pixels for row in done)

    def flagged(row: CaseRow) -> CaseRow:
        codes = [code for code in row.flags.split() if code != "all_empty"]
        codes += ["all_empty"] if empty and not row.failed else []
        return replace(row, flags=" ".join(codes))

    return [flagged(row) for row in rows]


def summary(rows: Sequence[CaseRow], names: int = 20) -> str:
    """Return a sentence that counts and names the flagged cases, at most `names` of them."""
    flagged = [row for row in rows if row.flags]
    if not flagged:
        return ""
    counts = Counter(code for row in flagged for code in row.flags.split())
    listed = [f"{row.case} ({', '.join(row.flags.split())})" for row in flagged[:names]]
    if len(flagged) > names:
        listed.append(f"and {len(flagged) - names} more")
    each = ", ".join(f"{code} {count}" for code, count in counts.items())
    return (
        f"{len(flagged)} of {len(rows)} cases are flagged, so look at their masks: "
        f"{'; '.join(listed)}. Flags: {each}"
    )
