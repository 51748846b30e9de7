"""`lungseg convert`: an INI config of the original system -> our YAML."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from lungseg.config.loading import check_config, dump_config
from lungseg.config.original import convert_ini
from lungseg.config.schema import Config
from lungseg.errors import UsageError
from lungseg.system.files import write_text
from lungseg.system.locks import hold
from lungseg.system.outputs import refuse_inputs

# Before the hash of the lines below, by which a file that was edited is recognised.
MARK = "Hash of the lines below: "


@dataclass(frozen=True)
class ConvertResult:
    """A converted config.

    Attributes:
        config: what the original's values mean here.
        yaml: the same as text, which loads to the same config.
        lost: one line per key that could not be carried over.
        output: the file written; None if none was asked for.
    """

    config: Config
    yaml: str
    lost: list[str]
    output: Path | None


def convert(source: Path, output: Path | None = None, *, overwrite: bool = False) -> ConvertResult:
    """Convert the INI config `train_eval_infer.config` of the original system.

    Values are read as Python literals; none is run as code.

    Args:
        source: the INI file.
        output: YAML file to write; None to write none.
        overwrite: replace an `output` that `convert` wrote and nobody has changed.

    Raises:
        UsageError: if `source` cannot be read, is no INI file or holds an invalid value, or if
            `output` may not be written.
        DataError: if `output` cannot be written.
    """
    if output is not None:
        _check(source, output, overwrite)
    try:
        text = source.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise UsageError(f"{source}: there is no such config file.") from None
    except OSError as problem:
        reason = problem.strerror or problem
        raise UsageError(f"{source}: the config cannot be read: {reason}.") from None
    data, lost = convert_ini(text, str(source))
    config = check_config(data, str(source))
    text = dump_config(config)
    yaml = f"# Converted from {source.name}. {MARK}{_hash(text)}\n\n{text}"
    if output is not None:
        target = Path(os.path.realpath(output))
        with hold(target.with_name(f".lungseg.{target.name}.lock"), output):
            _check(source, output, overwrite)
            write_text(output, yaml)
    return ConvertResult(config, yaml, lost, output)


def _check(source: Path, output: Path, overwrite: bool) -> None:
    """Raise `UsageError` if a file may not be written: it is the source, or not ours."""
    refuse_inputs(output, (source,))
    if not output.exists():
        return
    if not _is_ours(output):
        raise UsageError(
            f"{output}: the file exists, and lungseg convert did not write it, or it was changed "
            "since. Choose another."
        )
    if not overwrite:
        raise UsageError(
            f"{output}: the file exists. Choose another, or replace it with "
            "--overwrite (overwrite=True)."
        )


def _is_ours(path: Path) -> bool:
    """Whether a file begins with our mark, and the rest is as it was written."""
    try:
        head, _, text = path.read_text(encoding="utf-8").partition("\n\n")
    except (OSError, ValueError):
        return False
    return head.startswith("# Converted from ") and head.endswith(MARK + _hash(text))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
