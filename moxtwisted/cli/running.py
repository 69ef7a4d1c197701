"""Commands to the running server: stop, status, metrics, levels of the log; and the version."""

from __future__ import annotations

import argparse
import json

from moxtwisted.cli.output import print_report
from moxtwisted.cli.session import NotRunningError, administer, call


def stop(arguments: argparse.Namespace) -> int:
    """``stop``."""
    return administer(arguments, lambda administration, _: administration.stop(), running=True)


def status(arguments: argparse.Namespace) -> int:
    """``status``."""
    try:
        facts = call(arguments, lambda administration, _: administration.status(), running=True)
    except NotRunningError:
        if not arguments.json:
            raise
        facts = {"running": False}
    if arguments.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        print_report([{"fact": name, "value": value} for name, value in facts.items()], as_json=False)
    return 0 if facts["running"] else 1


def metrics(arguments: argparse.Namespace) -> int:
    """``metrics``."""
    print(call(arguments, lambda administration, _: administration.metrics(), running=True), end="")
    return 0


def loglevel(arguments: argparse.Namespace) -> int:
    """``loglevel``."""
    if arguments.level:
        return administer(
            arguments,
            lambda administration, _: administration.set_log_level(arguments.level, arguments.package),
            running=True,
        )
    levels = call(arguments, lambda administration, _: administration.log_levels(), running=True)
    rows = [{"package": name or "(default)", "level": level} for name, level in sorted(levels.items())]
    print_report(rows, as_json=arguments.json)
    return 0


def version(arguments: argparse.Namespace) -> int:
    """``version``."""
    from moxtwisted import __version__

    print(f"moxmail {__version__}")
    return 0
