"""Commands on banned networks."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, Final

from moxtwisted.cli.output import print_report
from moxtwisted.cli.session import administer, call
from moxtwisted.errors import MailError

if TYPE_CHECKING:
    from collections.abc import Callable

    from moxtwisted.cli.arguments import Commands

__all__ = ["add_bans", "bans_add", "bans_lift", "bans_list"]

_UNITS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN: Final = re.compile(r"([0-9]{1,6})\s*(s|m|min|h|d|w)")
_TEN_YEARS: Final = 10 * 365 * 86400


def add_bans(commands: Commands, json: Callable[[Any], None]) -> None:
    """All that is below ``bans``."""
    bans = commands.group("bans", "networks that may not connect, for a while")
    add = bans.command("list", "bans:bans_list", "list who is kept out, until when and why, the latest first")
    json(add)
    add = bans.command(
        "add",
        "bans:bans_add",
        "keep an address or a network out of every service, and end its connections",
        "192.0.2.7\n192.0.2.0/24 --for 2w --why 'a botnet, ticket 4711'\n2001:db8::/48 --for ever",
    )
    add("network", metavar="NET", help="an address, or a network as 192.0.2.0/24 or 2001:db8::/64")
    add(
        "--for",
        dest="span",
        metavar="TIME",
        default="1d",
        help="30min, 12h, 2d, 3w, or ever: until it is lifted (default: 1d)",
    )
    add("--why", metavar="TEXT", default="", help="a note for yourself")
    add = bans.command(
        "lift",
        "bans:bans_lift",
        "let a network in again, also one that the server banned by itself",
        "192.0.2.7\n2001:db8::/64\n--all",
    )
    add("network", metavar="NET", nargs="?", default="", help="as list shows it")
    add("--all", action="store_true", help="let everybody in")


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
