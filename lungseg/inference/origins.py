"""What a mask was made from. `--resume` keeps no mask of other pixels or of another network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from lungseg.config.schema import InferConfig
from lungseg.errors import DataError
from lungseg.imaging.folders import Input
from lungseg.system.files import require_regular, sha256_of_file

# Settings of `infer` that change how fast a mask is made or shown, not the mask.
NOT_ABOUT_MASKS = {"batch_size", "device", "threads", "gallery"}


@dataclass(frozen=True)
class Origin:
    """What a mask was made from, with SHA-256 in hexadecimal; the last columns of `cases.csv`.

    Attributes:
        input_sha256: of the input. For a file it is that of `sha256sum`; for a folder it covers the
            names and contents of its files.
        model_sha256: of the ONNX files and the `model.json` beside each.
        settings_sha256: of the settings that a mask depends on.
        network: name of the network, which is not compared; empty in tables of older versions.
    """

    input_sha256: str
    model_sha256: str
    settings_sha256: str
    network: str = ""

    def changed(self, before: Origin) -> list[str]:
        """Return which of `input`, `model` and `settings` differ."""
        hashes = [each.name for each in fields(self) if each.name.endswith("_sha256")]
        differing = [name for name in hashes if getattr(before, name) != getattr(self, name)]
        return [name.removesuffix("_sha256") for name in differing]


def origin_of(item: Input, model_sha256: str, settings: InferConfig, network: str) -> Origin:
    """Return the origin of the mask of an input.

    Args:
        item: the input.
        model_sha256: from `sha256_of_models`.
        settings: the settings, of which those that change no mask do not count.
        network: name of the network.
    """
    text = settings.model_dump_json(exclude=NOT_ABOUT_MASKS)
    return Origin(sha256_of(item.path, item.files), model_sha256, _digest(text.encode()), network)


def sha256_of_models(paths: Iterable[Path]) -> str:
    """Hash ONNX files and the `model.json` beside each."""
    files = [file for path in paths for file in (path, path.with_name("model.json"))]
    return _digest("\n".join(map(sha256_of, files)).encode())


def sha256_of(path: Path, files: Sequence[Path] = ()) -> str:
    """Hash a file, or the names and contents of the files in a folder.

    Args:
        path: a file or a folder.
        files: the files that count, in any folders of `path`; by default those directly in it.

    Raises:
        DataError: if a file cannot be read, or is a pipe or a device.
    """
    try:
        if path.is_dir():
            counted = sorted(files or (each for each in path.iterdir() if each.is_file()))
            lines = [f"{sha256_of(each)} {each.relative_to(path).as_posix()}" for each in counted]
            return _digest("\n".join(lines).encode("utf-8", "surrogateescape"))
        require_regular(path)  # reading a pipe may never end
        return sha256_of_file(path)
    except OSError as problem:
        raise DataError(path, f"cannot be read: {problem.strerror or problem}.") from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
