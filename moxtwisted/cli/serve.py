"""``moxmail serve``: the server in the foreground, by way of twistd."""

from __future__ import annotations

import argparse
import sys

from moxtwisted.cli.session import static_path


def serve(arguments: argparse.Namespace) -> int:
    """Run ``twistd --nodaemon moxmail`` in this process."""
    from twisted.scripts.twistd import run

    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "moxmail", "-c", str(static_path(arguments))]
    run()
    return 0
