"""The program of a keeper: ``python -m moxtwisted.tap.keeper``, started by the server and by nobody else.

Descriptor 3 is the link to the server (``moxtwisted.server.lending``), 4 the lock of its data. It ends when the server says so, or
is gone; signals that people and systemd send to all processes of a service are the server's to answer.
"""

from __future__ import annotations

import sys

from moxtwisted.server.lending.words import LOCK_DESCRIPTOR
from moxtwisted.tap.companion import run

__all__ = ["main"]


def main() -> int:
    """Run until the server is gone."""
    return run("moxtwisted.compose.keeping", "Keeping", LOCK_DESCRIPTOR)


if __name__ == "__main__":
    sys.exit(main())
