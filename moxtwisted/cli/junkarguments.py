"""The arguments of ``moxmail junk``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from moxtwisted.cli.arguments import Commands

__all__ = ["HAM_MAILBOX", "JUNK_MAILBOX", "add_junk"]

JUNK_MAILBOX = "Junk/Training"
HAM_MAILBOX = "Training"


def add_junk(commands: Commands, json: Callable[[Any], None]) -> None:
    """All that is below ``junk``."""
    junk = commands.group("junk", "filters that learn what is junk, one for each account")
    add = junk.command(
        "status",
        "junk:junk_status",
        "say how much the filters have learned, and whether that is enough",
        "\nalice",
    )
    add("account", metavar="ACCOUNT", nargs="?", default="", help="only this one")
    json(add)
    add = junk.command(
        "check",
        "junk:junk_check",
        "say what a filter thinks of a message, and which words made it think so; nothing is kept",
        "alice suspicious.eml\nalice - < suspicious.eml",
    )
    add("account", metavar="ACCOUNT")
    add("file", metavar="FILE", help="the message; - is standard input")
    json(add)
    _train(junk, json)
    _play(junk, json)
    add = junk.command(
        "retrain",
        "junk:junk_retrain",
        "forget everything and learn it again from the flags of the messages; all accounts, if none is named",
        "\nalice",
    )
    add("account", metavar="ACCOUNT", nargs="?", default="", help="only this one")
    json(add)


def _train(junk: Commands, json: Callable[[Any], None]) -> None:
    add = junk.command(
        "train",
        "junk:junk_train",
        "put labelled mail into mailboxes of an account, which learns it; what you remove from them later is unlearned",
        "alice --junk /srv/corpus/spam --ham /srv/corpus/ham\nalice --junk spam.mbox --junk-mailbox Junk\nalice --ham ~/Maildir",
    )
    add("account", metavar="ACCOUNT")
    add(
        "--junk",
        metavar="PATH",
        action="append",
        default=[],
        help="a directory with a message in each file, a Maildir, an mbox file or a message; may be given again",
    )
    add("--ham", metavar="PATH", action="append", default=[], help="the same of mail that is not junk")
    add(
        "--junk-mailbox",
        metavar="NAME",
        default=JUNK_MAILBOX,
        help=f"where junk goes (default: {JUNK_MAILBOX})",
    )
    add(
        "--ham-mailbox",
        metavar="NAME",
        default=HAM_MAILBOX,
        help=f"where the other goes (default: {HAM_MAILBOX})",
    )
    json(add)


def _play(junk: Commands, json: Callable[[Any], None]) -> None:
    add = junk.command(
        "play",
        "junk:junk_play",
        "say how good the filter would be on labelled mail; needs no account, and keeps nothing",
        "--junk /srv/corpus/spam --ham /srv/corpus/ham\n--junk spam.mbox --ham ~/Maildir --parts 10",
    )
    add("--junk", metavar="PATH", action="append", required=True, help="as with train; may be given again")
    add("--ham", metavar="PATH", action="append", required=True, help="mail that is not junk")
    add(
        "--parts",
        metavar="N",
        type=int,
        default=2,
        help="so many parts, each judged by what all others teach (default: 2; with 10 nine tenths of the mail teach)",
    )
    json(add)
