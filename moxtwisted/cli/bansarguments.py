"""The arguments of ``moxmail bans``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from moxtwisted.cli.arguments import Commands

__all__ = ["add_bans"]


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
