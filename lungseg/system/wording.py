"""Words for messages."""

from __future__ import annotations

from collections.abc import Sequence


def some_of(names: Sequence[object], most: int = 3) -> str:
    """Return the first `most` names as text, and how many more there are: `a, b and 4 more`."""
    shown = ", ".join(str(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
