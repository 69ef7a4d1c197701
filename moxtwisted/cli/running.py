"""Commands to the running server: stop, status, levels of the log; and the version."""

from __future__ import annotations

import argparse
from datetime import datetime

from moxtwisted.cli.output import print_report
from moxtwisted.cli.session import administer, call


def stop(arguments: argparse.Namespace) -> int:
    """``stop``."""
    return administer(arguments, lambda administration, _: administration.stop(), running=True)


def status(arguments: argparse.Namespace) -> int:
    """``status``."""
    facts = call(arguments, lambda administration, _: administration.status(), running=True)
    if not arguments.json and isinstance(facts.get("started"), (int, float)):
        facts["started"] = datetime.fromtimestamp(facts["started"]).astimezone().isoformat(" ", "seconds")
    rows = [facts] if arguments.json else [{"fact": name, "value": value} for name, value in facts.items()]
    print_report(rows, as_json=arguments.json)
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
