"""RESETKEY, GENURLAUTH, URLFETCH (RFC 4467).

::

    C: a1 GENURLAUTH "imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=user+fred" INTERNAL
    S: * GENURLAUTH "imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=user+fred:internal:0191354a…"
    S: a1 OK GENURLAUTH completed

What ``URLFETCH`` gives is what the *owner* of the URL may read now; the URL only lets somebody else ask for it. Of a URL that is
not genuine, has expired, is for somebody else or of a message that is gone, nothing is told but NIL.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from moxtwisted.errors import MailError
from moxtwisted.identifiers import IdentifierError, parse_mailbox_name
from moxtwisted.imap.backend import ISession
from moxtwisted.imap.commands.authentication import session_of, stayed
from moxtwisted.imap.commands.fetchbodies import BrokenLiteralError
from moxtwisted.imap.commands.urlreading import Part, open_part
from moxtwisted.imap.connection import Answer, Connection, RefusalError
from moxtwisted.imap.urlauth import MECHANISM, IDistantOwners, IURLAuthority, is_token, make_token
from moxtwisted.imap.wire import render
from moxtwisted.imap.wire.url import IMAPURL, URLError, parse
from moxtwisted.imap.wire.urlcommands import GenURLAuth, ResetKey, URLFetch

__all__ = ["genurlauth", "open_authorized", "resetkey", "urlfetch"]

_PIECE_OCTETS: Final = 131072
_SMALL_OCTETS: Final = 32768


def _authority(connection: Connection) -> IURLAuthority:
    return cast("IURLAuthority", connection.authenticator)


async def resetkey(connection: Connection, command: ResetKey) -> Answer:
    """RESETKEY."""
    account = connection.mail.account
    if command.mailbox is None:
        await _authority(connection).reset_mailbox_key(account, None)
        return b"OK all keys removed"
    if any(mechanism != MECHANISM for mechanism in command.mechanisms):
        raise RefusalError("INTERNAL is the one mechanism there is", kind="BAD")
    mailbox = connection.existing(command.mailbox).objectid
    await _authority(connection).reset_mailbox_key(account, mailbox)
    return b"OK [URLMECH INTERNAL] RESETKEY completed"


async def genurlauth(connection: Connection, command: GenURLAuth) -> Answer:
    """GENURLAUTH."""
    made = []
    for text, mechanism in command.urls:
        if mechanism != MECHANISM:
            raise RefusalError("INTERNAL is the one mechanism there is", kind="BAD")
        mailbox = _own_mailbox(connection, text)
        key = await _authority(connection).mailbox_key(connection.mail.account, mailbox)
        made.append(f"{text}:internal:{make_token(key, text)}")
    urls = b" ".join(render.string(url) for url in made)
    connection.out.append(b"* GENURLAUTH %b\r\n" % urls)
    return None


def _own_mailbox(connection: Connection, text: str) -> str:
    """The object identifier of the mailbox of a URL that the user may authorise (RFC 4467 section 7, GENURLAUTH).

    :raise RefusalError: BAD for all that is wrong, as the standard wants; whether another user exists is not told.
    """
    try:
        url = parse(text)
    except URLError as e:
        raise RefusalError(f"no URL of a message: {e}", kind="BAD") from e
    if url.authorization is None or url.authorization.token:
        raise RefusalError("missing access identifier in supplied URL", kind="BAD")
    if url.user is None:
        raise RefusalError("missing owner username in supplied URL", kind="BAD")
    authority = _authority(connection)
    if not _is_here(connection, url) or authority.account_of(url.user) != connection.mail.account:
        raise RefusalError("URL is not one of yours on this server", kind="BAD")
    info = _mailbox_of(connection.mail, url)
    if info is None:
        raise RefusalError("no such mailbox", kind="BAD")
    return info


def _is_here(connection: Connection, url: IMAPURL) -> bool:
    return url.host == connection.settings.hostname.lower()


def _mailbox_of(session: ISession, url: IMAPURL) -> str | None:
    try:
        info = session.mailbox(parse_mailbox_name(url.mailbox))
    except (MailError, IdentifierError):
        return None
    return None if info is None else info.objectid


async def urlfetch(connection: Connection, command: URLFetch) -> Any:
    """URLFETCH: all is opened before anything is said, then sent as the client reads."""
    found: list[tuple[str, Part | None]] = []
    try:
        for text in command.urls:
            found.append((text, await open_authorized(connection, text)))  # noqa: PERF401  what was opened has to be closed
    except BaseException:
        for _, part in found:
            if part is not None:
                part.close()
        raise
    pieces = _pieces(found)
    next(pieces)  # from here on, whoever drops it closes the parts
    return pieces


def _pieces(found: list[tuple[str, Part | None]]) -> Iterator[bytes]:
    try:
        yield b""
        for text, part in found:
            head = b"* URLFETCH " + render.astring(text)
            if part is None:
                yield head + b" NIL\r\n"
            elif part.size <= _SMALL_OCTETS:
                octets = part.read(0, part.size)
                yield b"%b {%d}\r\n%b\r\n" % (head, len(octets), octets)
            else:
                yield b"%b {%d}\r\n" % (head, part.size)
                yield from _octets(part)
                yield b"\r\n"
    finally:
        for _, part in found:
            if part is not None:
                part.close()


def _octets(part: Part) -> Iterator[bytes]:
    at = 0
    while at < part.size:
        data = part.read(at, _PIECE_OCTETS)
        if not data:
            raise BrokenLiteralError
        at += len(data)
        yield data


async def open_authorized(connection: Connection, text: str) -> Part | None:
    """What a URL stands for, if this user may have it."""
    try:
        url = parse(text)
        allowed = _is_allowed(connection, url)
    except URLError:
        return None
    authority = _authority(connection)
    authorization = url.authorization
    if authorization is None or authorization.mechanism != MECHANISM:
        return None
    owner = authority.account_of(url.user) if url.user is not None and _is_here(connection, url) else None
    # RFC 4467 section 6: time shall not tell that there is no such user or mailbox: the same is done for a user who is always there.
    account = connection.mail.account if owner is None else owner
    if allowed and owner is not None and IDistantOwners.providedBy(authority):
        token = authorization.token
        await authority.bring(owner, url.mailbox, lambda key: is_token(key, url.rump, token))
    session = await _session_of(connection, account)
    try:
        mailbox = _mailbox_of(session, url) if session is not None else None
        key = await authority.mailbox_key(account, mailbox or "none", make=False)
        genuine = is_token(key, url.rump, authorization.token)
        if not (genuine and allowed) or owner is None or mailbox is None or session is None:
            return None
        return await open_part(session, url)
    finally:
        if session is not None:
            session.logout()


async def _session_of(connection: Connection, owner: str | None) -> ISession | None:
    if owner is None:
        return None
    try:
        authority = _authority(connection)
        if IDistantOwners.providedBy(authority):
            # A log-in might send it away, and to fetch it back would disturb its user, whoever asks.
            here: ISession = authority.mail_here(owner)
            return here
        return await stayed(await session_of(connection, owner))
    except MailError:
        return None


def _is_allowed(connection: Connection, url: IMAPURL) -> bool:
    """Whether the access identifier names this user, and the URL is still good. :raise URLError:"""
    authorization = url.authorization
    if authorization is None:
        return False
    if authorization.expire is not None and connection.clock.seconds() > authorization.expire:
        return False
    account, authority = connection.mail.account, _authority(connection)
    match authorization.kind:
        case "user":
            return bool(authority.account_of(authorization.user) == account)
        case "submit":
            # RFC 4467 section 3: the user behind it is the submission entity's affair.
            return bool(authority.may_submit(account))
        case _:
            return True
