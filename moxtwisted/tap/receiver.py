"""The program of a receiver: ``python -m moxtwisted.tap.receiver``, started by the server and by nobody else.

Descriptor 3 is the link to the server (``moxtwisted.server.receivers``). It ends when the server says so, or is gone; signals that people
and systemd send to all processes of a service are the server's to answer.
"""

from __future__ import annotations

import signal
import sys

from moxtwisted.config.startup import collector_paused
from moxtwisted.server.receivers.process import LINK_DESCRIPTOR

__all__ = ["main"]


def main() -> int:
    """Run until the server is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with collector_paused():
        from twisted.internet import reactor

        from moxtwisted.compose.reception import Reception

        reception = Reception(reactor)
    try:
        reception.start(LINK_DESCRIPTOR)
    except OSError as e:
        print(f"it is started by the server only: {e}", file=sys.stderr)  # noqa: T201
        return 78
    running: object = reactor
    running.run(installSignalHandlers=False)  # type: ignore[attr-defined]  # the module stands for the object
    return 0


if __name__ == "__main__":
    sys.exit(main())
