"""How a process begins that the server started: its link is descriptor 3, and the server says the rest."""

from __future__ import annotations

import signal
import sys
from importlib import import_module

from moxtwisted.config.startup import collector_paused
from moxtwisted.server.processes.process import LINK_DESCRIPTOR

__all__ = ["run"]


def run(module: str, name: str, *descriptors: int) -> int:
    """Run until the server is gone.

    :param module: whose class of this name is made with the reactor; its ``start`` gets the descriptors: of the link, and these.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with collector_paused():
        from twisted.internet import reactor

        whole = getattr(import_module(module), name)(reactor)
    try:
        whole.start(LINK_DESCRIPTOR, *descriptors)
    except OSError as e:
        print(f"it is started by the server only: {e}", file=sys.stderr)  # noqa: T201
        return 78
    running: object = reactor
    running.run(installSignalHandlers=False)  # type: ignore[attr-defined]  # the module stands for the object
    return 0
