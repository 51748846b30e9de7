"""The list of files that the program wrote into an output, by which it knows them again.

The list is the hidden file `.lungseg.jsonl` in the output. Its lines are JSON objects:

    {"lungseg": "0.4.0", "kind": "infer"}
    {"folder": "overlays"}
    {"file": "a.png", "size": 512, "mtime_ns": 1764060000000000000, "sha256": "..."}
    {"claims": ["b.png", "overlays/b.png"]}

A file is ours if it has the size and time of its line, or its hash. Anyone else's change makes it
theirs. `claims` names what is being written: until it is done, or if it was interrupted, those
files count as ours, too.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lungseg import __version__
from lungseg.system.files import sha256_of_file, write_text

LIST = ".lungseg.jsonl"
# Everything with these prefixes is temporary, and ours.
TEMPORARY = (".lungseg.", ".partial.")


@dataclass(frozen=True)
class Entry:
    """A file as it was written."""

    size: int
    mtime_ns: int
    sha256: str


@dataclass
class Written:
    """What the program wrote into an output.

    Attributes:
        folder: the output.
        kind: the command that wrote it; empty if no list is there.
        files: the files by their path in the output, with `/`.
        folders: the folders, which may be empty.
        claims: what an unfinished command may have written.
    """

    folder: Path
    kind: str = ""
    files: dict[str, Entry] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    claims: set[str] = field(default_factory=set)

    def owns(self, name: str) -> bool:
        """Whether the program wrote the file of this name, and nobody has changed it since."""
        path = self.folder / name
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return False
        if is_temporary(name) or is_claimed(name, self.claims):
            return True
        entry = self.files.get(name)
        if entry is None or entry.size != status.st_size:
            return False
        return entry.mtime_ns == status.st_mtime_ns or entry.sha256 == sha256_of_file(path)

    def note(self, names: Iterable[str]) -> None:
        """Add finished files to the list, also on disk. From now on they are no longer claimed."""
        new = {name: entry_of(self.folder / name) for name in names}
        self.files |= new
        self.claims -= {name.casefold() for name in new}
        with (self.folder / LIST).open("a", encoding="ascii") as stream:
            for name, entry in new.items():
                stream.write(json.dumps({"file": name, **vars(entry)}) + "\n")

    def save(self, folder: Path | None = None) -> None:
        """Write the whole list, into the output or into the folder from which it is moved there."""
        lines: list[object] = [{"lungseg": __version__, "kind": self.kind}]
        lines += [{"folder": name} for name in sorted(self.folders)]
        lines += [{"file": name, **vars(entry)} for name, entry in sorted(self.files.items())]
        lines += [{"claims": sorted(self.claims)}] if self.claims else []
        text = "".join(json.dumps(line) + "\n" for line in lines)
        write_text((folder or self.folder) / LIST, text)


def read_written(folder: Path) -> Written:
    """Read the list of an output. It ends at a damaged line, as a killed program leaves one."""
    written = Written(folder)
    try:
        with (folder / LIST).open(encoding="ascii") as stream:
            for text in stream:
                line = json.loads(text)
                if "kind" in line:
                    written.kind = str(line["kind"])
                elif "folder" in line:
                    written.folders.add(str(line["folder"]))
                elif "claims" in line:
                    written.claims |= set(line["claims"])
                else:
                    name = line.pop("file")
                    written.files[name] = Entry(**line)
                    written.claims.discard(name.casefold())
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return written


def is_output(folder: Path) -> bool:
    """Whether a folder is an output of the program, which is not read as part of its parent."""
    return os.path.isfile(folder / LIST)  # also False if the folder may not be entered


def is_temporary(name: str) -> bool:
    """Whether a path in an output is a temporary file of the program, or the list itself."""
    return any(part.startswith(TEMPORARY) for part in name.split("/"))


def is_claimed(name: str, claims: set[str]) -> bool:
    """Whether a path in an output is claimed, by itself or with a folder: `a/` claims `a/b.png`.

    Claims are in lower case, because some file systems store `A.png` and `a.png` as one file.
    """
    path = PurePosixPath(name.casefold())
    return str(path) in claims or any(f"{parent}/" in claims for parent in path.parents)


def folders_of(claim: str) -> Iterator[str]:
    """Yield the folders in which a claimed file lies; of a folder `a/`, itself as well."""
    parts = claim.rstrip("/").split("/")
    last = len(parts) + claim.endswith("/")
    return ("/".join(parts[:end]) for end in range(1, last))


def entry_of(path: Path) -> Entry:
    """Return the entry of a file as it is now."""
    status = path.stat()
    return Entry(status.st_size, status.st_mtime_ns, sha256_of_file(path))


def list_files(folder: Path) -> Iterator[str]:
    """Yield the path of everything in a folder that is no folder; a link is not followed.

    Temporary files of the program are left out.
    """
    for root, folders, files in os.walk(folder):
        within = Path(root).relative_to(folder)
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY)]
        for name in (*links, *files):
            path = (within / name).as_posix()
            if not is_temporary(path):
                yield path


def list_folders(folder: Path) -> list[str]:
    """Return the path of each folder in a folder, a parent before what is in it."""
    return [
        (Path(root) / name).relative_to(folder).as_posix()
        for root, folders, _ in os.walk(folder)
        for name in folders
    ]
