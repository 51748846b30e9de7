"""`report.html`: the results of an evaluation in one file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lungseg.imaging.pixels import encode_png
from lungseg.reporting import figures
from lungseg.reporting.figures import ACCENT, PlottedScore, embed
from lungseg.reporting.glossary import term
from lungseg.reporting.overlays import PREDICTION, TRUTH, Picture
from lungseg.reporting.pages import PIECES, environment, pictures_script
from lungseg.reporting.pictures import CasePictures
from lungseg.reporting.plots import MOST_CLASSES
from lungseg.system.wording import counted

# Packages that have a part in the scores of masks that another tool made.
SCORING = ("lungseg", "python", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class DrawnCase:
    """The pictures of a case.

    Attributes:
        picture: RGB, with truth and prediction outlined; of a volume, one slice.
        views: its slices to look through, with the same outlines.
        number: of a volume, the number of the slice of `picture`, from 1 at the feet.
    """

    picture: Picture
    views: CasePictures
    number: int | None = None

    @property
    def caption(self) -> str:
        """Which slice of a volume the picture is; empty for a plain image."""
        return "" if self.number is None else f"slice {self.number} of {self.views.views[0].count}"


@dataclass(frozen=True)
class Example:
    """A case shown in the report.

    Attributes:
        kind: `worst`, `median` or `best`.
        case: name of the case.
        dice: Dice of the first class.
        flag: which masks are empty, or an empty text.
        drawn: truth and prediction of the case, outlined.
    """

    kind: str
    case: str
    dice: float
    flag: str
    drawn: DrawnCase


def build_report(
    summary: Mapping[str, Any],
    scores: Sequence[PlottedScore],
    examples: Sequence[Example],
    history: Sequence[Mapping[str, str]],
    config: str,
) -> str:
    """Build the report.

    Args:
        summary: the content of `evaluation.json`.
        scores: scores of each case and method.
        examples: cases to show.
        history: rows of a run's `history.csv`; empty without a run.
        config: text of the config.

    Returns:
        HTML that contains all pictures.
    """
    pages = environment()
    pages.filters["number"] = _number
    pages.filters["interval"] = _interval
    pages.globals["counted"] = counted
    first, unit = summary["classes"][0], summary["distance_unit"]
    names = [*summary["classes"], *([summary["joined"]] if summary["joined"] else [])]
    overall, software = summary["overall"], summary["software"]
    of_run = "run" in summary
    plots = {
        "distributions": [
            *figures.distributions(scores, unit),
            figures.dice_against_size(
                scores, first, "voxels" if summary["volume_unit"] == "mL" else "pixels"
            ),
        ],
        "training": figures.training(history) if history else [],
        "classes": figures.classes(history, summary["classes"]),
        "calibration": (
            figures.calibration(summary["calibration"]) if "calibration" in summary else []
        ),
        "uncertainty": [figures.uncertainty(scores)] if "uncertainty" in summary else [],
    }
    page = pages.get_template("report.html.j2").render(
        summary=summary,
        first=first,
        metrics=list(overall[first]),
        terms={
            metric: term(metric, unit, summary["volume_unit"])
            for metric in (*overall[first], *overall)
        },
        baselines=sorted(summary["baselines"], reverse=True),  # the grey threshold comes first
        names=names,
        method_classes={
            key: [method for method, values in summary["baselines"].items() if key in values]
            for key in (*names, "pixel_accuracy")
        },
        most_classes=MOST_CLASSES,
        case_metrics=[name for name in overall if name not in names],
        software={name: software[name] for name in software if of_run or name in SCORING},
        people="groups" if summary["group_is"] else "patients",
        colours={"accent": ACCENT, "truth": _hex(TRUTH), "prediction": _hex(PREDICTION)},
        plots=plots,
        examples=[(e, embed(encode_png(e.drawn.picture))) for e in examples],
        config=config,
    )
    # Put in last, because Jinja would go through these megabytes for nothing.
    scripts = [
        pictures_script(f"example-{index}", example.drawn.views.to_json())
        for index, example in enumerate(examples)
    ]
    return str(page).replace(PIECES, "".join(scripts))


def _hex(rgb: tuple[int, int, int]) -> str:
    return "#" + bytes(rgb).hex()


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _interval(ends: Sequence[float] | None, digits: int = 4) -> str:
    return " to ".join(_number(end, digits) for end in ends) if ends else "–"
