"""The program of a receiver: ``python -m moxtwisted.tap.receiver``, started by the server and by nobody else.

Descriptor 3 is the link to the server (``moxtwisted.server.receivers``). It ends when the server says so, or is gone; signals that people
and systemd send to all processes of a service are the server's to answer.
"""

from __future__ import annotations

import sys

from moxtwisted.tap.companion import run

__all__ = ["main"]


def main() -> int:
    """Run until the server is gone."""
    return run("moxtwisted.compose.reception", "Reception")


if __name__ == "__main__":
    sys.exit(main())
