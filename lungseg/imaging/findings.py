"""Findings: what a person should know about an input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["failed", "left_out", "repaired", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something a person should know about an input.

    Attributes:
        code: a short fixed name, e.g. `mask_grey`.
        severity: `failed` (damaged or contradictory, not used), `left_out` (not used, because it
            has no partner or nothing to learn from), `repaired`, or `warning`.
        detail: one sentence with the figures.
        path: the file or folder it is about; None for an array that was read from no file.
    """

    code: str
    severity: Severity
    detail: str
    path: Path | None
