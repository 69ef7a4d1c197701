"""Commands on banned networks."""

from __future__ import annotations

import argparse
import re
from typing import Final

from moxtwisted.cli.output import print_report
from moxtwisted.cli.session import administer, call
from moxtwisted.errors import MailError

__all__ = ["bans_add", "bans_lift", "bans_list"]

_UNITS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN: Final = re.compile(r"([0-9]{1,6})\s*(s|m|min|h|d|w)")
_TEN_YEARS: Final = 10 * 365 * 86400


def bans_list(arguments: argparse.Namespace) -> int:
    """``bans list``."""
    rows = call(arguments, lambda administration, _: administration.bans_list(), running=True)
    if not arguments.json:
        rows = [{**row, "ends": row["ends"] or "when lifted"} for row in rows]
    print_report(rows, as_json=arguments.json, empty="nobody is banned")
    return 0


def bans_add(arguments: argparse.Namespace) -> int:
    """``bans add``."""
    seconds = _seconds(arguments.span)
    return administer(
        arguments,
        lambda administration, _: administration.bans_add(arguments.network, arguments.why, seconds),
        running=True,
    )


def bans_lift(arguments: argparse.Namespace) -> int:
    """``bans lift``."""
    if bool(arguments.network) is arguments.all:
        raise MailError("name the network that shall come in again, or --all")
    return administer(
        arguments, lambda administration, _: administration.bans_lift(arguments.network), running=True
    )


def _seconds(text: str) -> int:
    """0 is for ever. :raises MailError:"""
    if text in {"ever", "forever"}:
        return 0
    found = _SPAN.fullmatch(text.strip().lower())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _TEN_YEARS:
        raise MailError(f"--for {text}: a time as 30min, 12h, 2d or 3w expected, or ever")
    return seconds
