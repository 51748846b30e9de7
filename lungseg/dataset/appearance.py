"""What `prepare` made of HU: how its slices look, for `evaluate` to compare with the network's."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.system.tables import read_json, write_json

FILE = "slices.json"


@dataclass(frozen=True)
class Appearance:
    """How files became slices.

    Attributes:
        window: HU that are black and white.
        unsigned_16bit: `data.unsigned_16bit`.
        square_pixels: `data.square_pixels`.
    """

    window: tuple[float, float]
    unsigned_16bit: str
    square_pixels: bool

    @classmethod
    def of(cls, data: DataConfig) -> Appearance:
        """Return the appearance of slices that are made with a config."""
        return cls(data.window, data.unsigned_16bit, data.square_pixels)

    def differences(self, network: Appearance) -> list[str]:
        """Return a sentence for each way in which a network expects other slices."""
        found = []
        if self.window != network.window:
            found.append(
                "the slices were prepared with the window {:g} to {:g} HU, the network was trained "
                "with {:g} to {:g} HU".format(*self.window, *network.window)
            )
        if self.unsigned_16bit != network.unsigned_16bit:
            found.append(
                f"the slices were prepared with data.unsigned_16bit: {self.unsigned_16bit}, the "
                f"network was trained with {network.unsigned_16bit}"
            )
        if self.square_pixels != network.square_pixels:
            words = {True: "padded", False: "stretched, as version 0.1 did"}
            found.append(
                f"slices that were not square were {words[self.square_pixels]}, those that the "
                f"network was trained on were {words[network.square_pixels]}"
            )
        return found


def write_appearance(folder: Path, data: DataConfig) -> None:
    """Write `slices.json` to a folder of prepared slices."""
    write_json(folder / FILE, {"format": 1, **asdict(Appearance.of(data))})


def copy_appearance(source: Path, target: Path) -> None:
    """Copy `slices.json` from prepared slices to a data set; slices of version 0.1 have none."""
    if (source / FILE).exists():
        shutil.copyfile(source / FILE, target / FILE)


def read_appearance(folder: Path) -> Appearance | None:
    """Read `slices.json`; None if there is none.

    Raises:
        DataError: if it is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    document = read_json(path)
    try:
        low, high = document["window"]
        return Appearance(
            (float(low), float(high)),
            str(document["unsigned_16bit"]),
            bool(document["square_pixels"]),
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise DataError(path, f"is not what lungseg prepare writes: {problem!r}.") from None
