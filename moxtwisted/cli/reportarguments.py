"""The arguments of ``moxmail reports``, ``tlsrpt`` and ``dmarc parsereportmsg``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from moxtwisted.cli.arguments import Commands

__all__ = ["add_parsing", "add_reports"]


def add_reports(commands: Commands, with_json: Callable[[Any], None]) -> None:
    """All that is below ``reports``, and ``tlsrpt``."""
    reports = commands.group("reports", "what other servers reported about the domains here")
    for kind, what in (
        ("dmarc", "how mail fared that uses the domains here in From"),
        ("tls", "whether TLS worked on the way here"),
    ):
        add = reports.command(
            kind,
            f"reports:reports_{kind}",
            f"list reports about {what}, the latest first; with --json all that they say",
            "\n--domain example.org --limit 10 --json",
        )
        add("--domain", metavar="DOMAIN", default="", help="only about this one")
        add("--limit", metavar="N", type=int, default=100, help="so many (default: 100)")
        with_json(add)
    tlsrpt = commands.group("tlsrpt", "reports about TLS between mail servers")
    add_parsing(tlsrpt, "parse_tls", "reports about TLS", with_json)


def add_parsing(commands: Commands, run: str, what: str, with_json: Callable[[Any], None]) -> None:
    """``parsereportmsg`` below another word."""
    add = commands.command(
        "parsereportmsg",
        f"reports:{run}",
        f"read messages with {what}, from files or standard input; exit status 1 when one has none that can be read",
        "report.eml\n--json < report.eml",
    )
    add("file", metavar="FILE", nargs="*", help="a message each; - is standard input")
    with_json(add)
