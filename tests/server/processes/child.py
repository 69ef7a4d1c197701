"""A process that tells, over its link and by its output, what it got: ``python -m tests.server.processes.child``."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from moxtwisted.server.processes.process import LINK_DESCRIPTOR

__all__ = ["main"]


def main() -> int:
    """Tell, and wait for the end of the link."""
    inodes = {}
    for path in Path("/proc/self/fd").iterdir():
        # The one by which the directory is read is gone.
        if path.exists():
            inodes[path.name] = path.stat().st_ino
    os.write(1, b"here\nagain\n")
    with socket.socket(fileno=LINK_DESCRIPTOR) as link:
        link.sendall(json.dumps([inodes, dict(os.environ), sys.path[0]]).encode() + b"\n")
        link.recv(1)
    return 7


if __name__ == "__main__":
    sys.exit(main())
