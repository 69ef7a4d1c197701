r"""CATENATE (RFC 4469): a message of APPEND or REPLACE that the server puts together of texts and of parts of other messages.

::

    C: a1 APPEND Drafts CATENATE (URL "/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER" TEXT {42}
    S: + go ahead
    C: (42 octets) URL "/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1")
    S: a1 OK [APPENDUID 385759045 45] APPEND completed

What URLs stand for is copied into the sink of the message where it is named, before the client is asked for the next text; in
pieces, with turns for others between them. URLs name messages of the user, relative to the server or to the selected mailbox, or
those of others that carry an authorisation (RFC 4467).
"""

from __future__ import annotations

from typing import Final

from attrs import define

from moxtwisted.errors import MailError
from moxtwisted.imap.backend import IAppendSink
from moxtwisted.imap.commands.urlauth import open_authorized
from moxtwisted.imap.commands.urlreading import Part, open_part
from moxtwisted.imap.connection import Connection, RefusalError, refused
from moxtwisted.imap.urlauth import IURLAuthority
from moxtwisted.imap.wire.url import IMAPURL, URLError, parse

__all__ = ["Catenation", "bad_url"]

_PIECE_OCTETS: Final = 131072
# What is copied in one turn of the reactor; a millisecond or two, with what the store does to it.
_TURN_OCTETS: Final = 1048576


def bad_url(text: str) -> RefusalError:
    """The refusal that names a URL (RFC 4469 section 4.1)."""
    # A response code ends with a bracket, and is one line of ASCII.
    shown = "".join(
        c if " " <= c <= "~" and c not in '"\\]' else f"%{ord(c) & 0xFF:02X}" for c in text[:1024]
    )
    return RefusalError("this part cannot be had", f'BADURL "{shown}"')


@define(eq=False)
class Catenation:
    """The octets that one command puts together.

    :ivar octets: of the message that is open.
    :ivar copied: of all URLs of the command: a line of URLs must not become a hundred gigabytes.
    :ivar given_up: whether nobody wants it any more.
    """

    octets: int = 0
    copied: int = 0
    given_up: bool = False

    async def copy(self, connection: Connection, text: str, sink: IAppendSink) -> None:
        """Append what a URL stands for.

        :raise RefusalError: with BADURL or TOOBIG.
        """
        part = await _opened(connection, text)
        if part is None:
            raise bad_url(text)
        try:
            self.grow(connection, part.size)
            self.copied += part.size
            if self.copied > _limit(connection):
                raise RefusalError("the parts of this command are too large together", "TOOBIG")
            at = turn = 0
            while at < part.size and not self.given_up:
                data = part.read(at, _PIECE_OCTETS)
                if not data:
                    raise bad_url(text)
                sink.write(data)
                at += len(data)
                turn += len(data)
                if turn >= _TURN_OCTETS and connection.pause is not None:
                    turn = 0
                    await connection.pause(0.0)
        except MailError as e:
            raise refused(e) from e
        finally:
            part.close()

    def grow(self, connection: Connection, octets: int) -> None:
        """So many more are announced. :raise RefusalError: with TOOBIG."""
        self.octets += octets
        if self.octets > _limit(connection):
            # RFC 4469 section 4.2
            raise RefusalError("message is too large", "TOOBIG")


def _limit(connection: Connection) -> int:
    limit: int = min(connection.mail.append_limit, connection.settings.limits.append_octets)
    return limit


async def _opened(connection: Connection, text: str) -> Part | None:
    box = connection.selected
    try:
        # RFC 4469 section 3: the selected mailbox is the base.
        url = parse(text, box.name if box is not None else None)
    except URLError:
        return None
    if url.partial is not None and "URL-PARTIAL" not in connection.offered:
        # RFC 5550 section 5.7.1
        return None
    if url.authorization is not None:
        return await open_authorized(connection, text) if "URLAUTH" in connection.offered else None
    if url.host is not None and not _is_own(connection, url):
        return None
    return await open_part(connection.mail, url)


def _is_own(connection: Connection, url: IMAPURL) -> bool:
    """Whether a URL with a server in it is of this user on this server."""
    authority = connection.authenticator
    return (
        url.host == connection.settings.hostname.lower()
        and url.user is not None
        and IURLAuthority.providedBy(authority)
        and authority.account_of(url.user) == connection.mail.account
    )
