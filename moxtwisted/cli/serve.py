"""``moxmail serve``: the server in the foreground, by way of twistd."""

from __future__ import annotations

import argparse
import sys

from moxtwisted.cli.session import static_path
from moxtwisted.config.startup import collector_paused


def serve(arguments: argparse.Namespace) -> int:
    """Run ``twistd --nodaemon moxmail`` in this process."""
    with collector_paused():
        from twisted.internet import reactor  # noqa: F401  twistd would import it with the collector running
        from twisted.scripts.twistd import run

    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "moxmail", "-c", str(static_path(arguments))]
    run()
    return 0
