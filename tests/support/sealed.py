"""Run a command without a network, and record every packet that it tries to send.

Run by `watch_privacy` in a network namespace of its own: SEALED REPORT COMMAND ... In there, the
loopback interface is the way to every address. So a look-up of a name goes out and is seen, with
the name, whatever library asks and whatever name server this machine has.

Not seen: an IPv6 address that is used without a look-up, and requests to a helper on this machine
that goes out itself (nscd, by a Unix socket).
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

import pytest

OFFLINE = ("unshare", "--map-root-user", "--net")

# From <linux/sockios.h> and <linux/if_ether.h>.
SIOCADDRT, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR = 0x890B, 0x8913, 0x8914, 0x8916
ETH_P_ALL = 3
IFF_UP = RTF_UP = 1
DNS = 53


@dataclass(frozen=True)
class Traces:
    """What a command left.

    Attributes:
        code: its exit code.
        said: standard output and standard error together.
        files: what it wrote below the home folder.
        temporary: what it left in the folder for temporary files.
        sent: addresses and names that it asked for.
    """

    code: int
    said: str
    files: list[str]
    temporary: list[str]
    sent: list[str]


def require_namespace() -> None:
    """Skip the test, or fail it in CI, if no network namespace may be made here."""
    try:
        subprocess.run([*OFFLINE, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as problem:
        reason = f"no network namespace can be made here (unshare --net): {problem}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def watch_privacy(command: Sequence[str], cwd: Path) -> Traces:
    """Run a command with an empty home folder and without a network.

    Args:
        command: program and arguments.
        cwd: folder to run it in.
    """
    # The folders that the XDG variables name would hide what is written below the home folder, and
    # the tests' own settings would hide what a package does without them.
    hidden = ("XDG_", "ORT_", "NO_ALBUMENTATIONS", "KERAS_", "MPL", "DASK_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    with tempfile.TemporaryDirectory() as name:
        home, temporary, report = (Path(name) / each for each in ("home", "tmp", "report.json"))
        home.mkdir()
        temporary.mkdir()
        done = subprocess.run(
            [*OFFLINE, sys.executable, __file__, str(report), *command],
            cwd=cwd,
            env={**kept, "HOME": str(home), "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        return Traces(
            done.returncode,
            done.stdout,
            [str(path.relative_to(home)) for path in sorted(home.rglob("*"))],
            [str(path.relative_to(temporary)) for path in sorted(temporary.rglob("*"))],
            json.loads(report.read_text()) if report.exists() else ["no report"],
        )


def _open_loopback() -> None:
    """Start the loopback interface and send packets for every address through it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.unpack("16sh22x", ioctl(control, SIOCGIFFLAGS, b"lo".ljust(40, b"\0")))[1]
        ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))
        # A packet to the outside needs a sender's address that is not the loopback's.
        ioctl(control, SIOCSIFADDR, struct.pack("16s16s8x", b"lo:1", _address("192.0.2.1")))
        device = ctypes.create_string_buffer(b"lo")
        everywhere = [_address("0.0.0.0")] * 3  # destination, gateway, mask
        where = ctypes.addressof(device)
        # struct rtentry of <linux/route.h>
        fields = (0, *everywhere, RTF_UP, 0, 0, 0, 0, where, 0, 0, 0)
        ioctl(control, SIOCADDRT, struct.pack("@L16s16s16sHhLPhPLLH", *fields))


def _address(ip: str) -> bytes:
    return struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(ip))


def _describe(frame: bytes) -> str | None:
    """Return where an Ethernet frame goes and the name it asks for; None if it stays here."""
    packet = frame[14:]
    if packet[0] >> 4 != 4:
        return f"not IPv4: {packet[:40].hex()}"
    body = packet[(packet[0] & 15) * 4 :]
    target, port = socket.inet_ntoa(packet[16:20]), int.from_bytes(body[2:4], "big")
    if port == DNS:
        question = body[8 + 12 :].split(b"\0")[0]  # behind the headers of UDP and DNS
        name = "".join(chr(each) if each > 32 else "." for each in question)
        return f"name server {target} for {name.strip('.')}"
    return None if target.startswith("127.") else f"{target} port {port}"


def main() -> None:
    report, command = Path(sys.argv[1]), sys.argv[2:]
    _open_loopback()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as wire:
        code = subprocess.call(command)
        sent = set()
        while True:
            try:
                sent.add(_describe(wire.recv(65536, socket.MSG_DONTWAIT)))
            except BlockingIOError:
                break
    report.write_text(json.dumps(sorted(sent - {None})))
    sys.exit(code)


if __name__ == "__main__":
    main()
