"""`lungseg convert`: an INI config of the original system -> our YAML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lungseg.config.loading import check_config, dump_config
from lungseg.config.original import convert_ini
from lungseg.config.schema import Config
from lungseg.errors import UsageError
from lungseg.system.files import write_text


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
        overwrite: replace an `output` that exists.

    Raises:
        UsageError: if `source` cannot be read, is no INI file or holds an invalid value, or if
            `output` exists.
        DataError: if `output` cannot be written.
    """
    if output is not None and output.exists() and source.exists() and output.samefile(source):
        raise UsageError(f"{output}: this is the file to convert; choose another output.")
    if output is not None and output.exists() and not overwrite:
        raise UsageError(
            f"{output}: the file exists. Choose another, or replace it with "
            "--overwrite (overwrite=True)."
        )
    try:
        text = source.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise UsageError(f"{source}: there is no such config file.") from None
    except OSError as problem:
        reason = problem.strerror or problem
        raise UsageError(f"{source}: the config cannot be read: {reason}.") from None
    data, lost = convert_ini(text, str(source))
    config = check_config(data, str(source))
    yaml = f"# Converted from {source.name}.\n\n{dump_config(config)}"
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, yaml)
    return ConvertResult(config, yaml, lost, output)
