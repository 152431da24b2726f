"""Proof that something works without a network: run it where there is none.

``python -m workshop_utils.authoring.offline COMMAND...`` is started by ``unshare`` inside a new, empty network
namespace. There even the loopback interface is down, and without loopback no Jupyter kernel can start: so it brings
loopback up, then becomes COMMAND.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
UNSHARE = ("unshare", "--map-root-user", "--net")


def prefix() -> list[str]:
    """What to put before a command to cut its network; empty where the system cannot or may not do it."""
    if not sys.platform.startswith("linux") or shutil.which("unshare") is None:
        return []
    enter = [*UNSHARE, sys.executable, "-m", "workshop_utils.authoring.offline"]
    allowed = subprocess.run([*enter, "true"], capture_output=True).returncode == 0
    return enter if allowed else []


def raise_loopback() -> None:
    """Bring the loopback interface up (what ``ip link set lo up`` does)."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(handle, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


if __name__ == "__main__":
    raise_loopback()
    os.execvp(sys.argv[1], sys.argv[1:])
