"""Entry point of ``moxmail``: parse, import what the command needs, run it.

A command is a function that takes the parsed arguments and returns the exit status: 0 done, 1 refused (the
reason is on standard error), 2 wrong usage, 78 the configuration is not usable. What is refused raises; here alone it is said.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence

from moxtwisted.config.startup import collector_paused

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :param arguments: without the program's name; None takes those of the process.
    """
    with collector_paused():
        from moxtwisted.cli.arguments import build_parser

        parser = build_parser()
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        parsed.parser.unknown(unknown)
    if not getattr(parsed, "run", None):
        # `moxmail` or `moxmail account` alone: say what there is.
        (getattr(parsed, "group", None) or parser).print_help()
        return 2
    module, _, name = parsed.run.partition(":")
    from moxtwisted.cli.output import complain
    from moxtwisted.errors import ConfigurationError, MailError

    try:
        with collector_paused():
            command = getattr(importlib.import_module(module), name)
        return int(command(parsed))
    except ConfigurationError as e:
        complain(*e.problems)
        return 78
    except MailError as e:
        complain(e.explanation)
        return 1
    except KeyboardInterrupt as e:
        return 128 + int(getattr(e, "signal", signal.SIGINT))
    except BrokenPipeError:
        # `moxmail … | head`: the reader has enough. Python would complain once more at exit.
        sys.stderr.close()
        return 0
