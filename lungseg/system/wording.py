"""Words for messages."""

from __future__ import annotations

from collections.abc import Sequence


def some_of(names: Sequence[object], most: int = 3) -> str:
    """Return the first `most` names as text, and how many more there are: `a, b and 4 more`."""
    shown = ", ".join(str(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(number: int, group_is: str | None) -> str:
    """Return a number of patients as text, such as `3 patients`.

    Args:
        number: how many there are.
        group_is: None if all patients are known by name. Otherwise they are called groups, and this
            is the sentence that says what a group is.
    """
    return f"{number} {'group' if group_is else 'patient'}{'' if number == 1 else 's'}"
