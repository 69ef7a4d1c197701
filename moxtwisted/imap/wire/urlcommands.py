"""The commands of RFC 4467: RESETKEY, GENURLAUTH, URLFETCH; how they are read, and written by a client.

::

    a1 GENURLAUTH "imap://joe@example.com/INBOX/;uid=20;urlauth=user+fred" INTERNAL
      -> GenURLAuth(tag=b"a1", urls=(("imap://joe@…;urlauth=user+fred", "INTERNAL"),))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from moxtwisted.imap.wire.commands import Command
from moxtwisted.imap.wire.lexer import CommandError, Cursor

__all__ = ["URL_COMMANDS", "URL_REQUESTS", "GenURLAuth", "ResetKey", "URLFetch"]

MAX_URLS: Final = 100
MAX_MECHANISMS: Final = 10


@frozen
class ResetKey(Command):
    """RESETKEY.

    :ivar mailbox: ``None`` for all.
    :ivar mechanisms: in upper case.
    """

    mailbox: str | None = None
    mechanisms: tuple[str, ...] = ()
    name = "RESETKEY"


@frozen
class GenURLAuth(Command):
    """GENURLAUTH.

    :ivar urls: (URL, mechanism in upper case), one or more.
    """

    urls: tuple[tuple[str, str], ...]
    name = "GENURLAUTH"


@frozen
class URLFetch(Command):
    """URLFETCH.

    :ivar urls: as given, one or more.
    """

    urls: tuple[str, ...]
    name = "URLFETCH"


def _resetkey(tag: bytes, cursor: Cursor) -> Command:
    if cursor.at_end():
        return ResetKey(tag)
    cursor.space()
    mailbox = cursor.mailbox()
    mechanisms: list[str] = []
    while not cursor.at_end():
        cursor.space()
        mechanisms.append(cursor.keyword("a mechanism").decode("ascii"))
        if len(mechanisms) > MAX_MECHANISMS:
            raise CommandError("too many mechanisms")
    return ResetKey(tag, mailbox, tuple(mechanisms))


def _genurlauth(tag: bytes, cursor: Cursor) -> Command:
    urls: list[tuple[str, str]] = []
    while not cursor.at_end() or not urls:
        cursor.space()
        url = cursor.text_astring("URL")
        cursor.space()
        urls.append((url, cursor.keyword("a mechanism").decode("ascii")))
        if len(urls) > MAX_URLS:
            raise CommandError("too many URLs")
    return GenURLAuth(tag, tuple(urls))


def _urlfetch(tag: bytes, cursor: Cursor) -> Command:
    urls: list[str] = []
    while not cursor.at_end() or not urls:
        cursor.space()
        urls.append(cursor.text_astring("URL"))
        if len(urls) > MAX_URLS:
            raise CommandError("too many URLs")
    return URLFetch(tag, tuple(urls))


URL_COMMANDS: Final[Mapping[bytes, Callable[[bytes, Cursor], Command]]] = {
    b"RESETKEY": _resetkey,
    b"GENURLAUTH": _genurlauth,
    b"URLFETCH": _urlfetch,
}
"""By name, for the reader."""


def _write_resetkey(writer: Any, command: ResetKey) -> None:
    if command.mailbox is not None:
        writer.write(b" ")
        writer.mailbox(command.mailbox)
        for mechanism in command.mechanisms:
            writer.write(b" " + mechanism.encode("ascii"))


def _write_genurlauth(writer: Any, command: GenURLAuth) -> None:
    for url, mechanism in command.urls:
        writer.write(b" ")
        writer.string(url)
        writer.write(b" " + mechanism.encode("ascii"))


def _write_urlfetch(writer: Any, command: URLFetch) -> None:
    for url in command.urls:
        writer.write(b" ")
        writer.string(url)


URL_REQUESTS: Final[dict[type[Command], Callable[[Any, Any], None]]] = {
    ResetKey: _write_resetkey,
    GenURLAuth: _write_genurlauth,
    URLFetch: _write_urlfetch,
}
"""By class, for the writer."""
