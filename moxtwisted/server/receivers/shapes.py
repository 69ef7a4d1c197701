"""Messages and answers as plain values, which ``msgspec.msgpack`` makes octets of, and back.

::

    plain = write_complete(message)                         # where it came in
    message = read_complete(plain, octets, size, presence)  # where it is judged: a Complete, or ShapeError
    read_answer(write_answer(answer))                       # and the way back

Whatever is read, what comes of it is a value of the class that is named, or a ``ShapeError``: texts, numbers and words of a table are all
that is believed. Whether a sender of messages may name an account, or an address that leads there, is for the caller to ask.

Of a message all crosses but its octets, what the log is to say of it (``remarks``), and some of what verification found: see
``moxtwisted.server.receivers.findings``. Its structure crosses when it is large; of a small one it is found anew, if anybody asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache, lru_cache
from ipaddress import ip_address
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol, cast

from attrs import frozen
from msgspec import Meta, convert
from msgspec.msgpack import Decoder

from moxtwisted.address import Path, parse_path
from moxtwisted.message.headers import Header
from moxtwisted.message.mime import DEFAULT_LIMITS, ScannedMessage
from moxtwisted.message.products import Relatives, Rendered, render
from moxtwisted.server.directory import Delivery, Recipients
from moxtwisted.server.inbound.room import Asked
from moxtwisted.server.receivers.packing import MOST, Shape, ShapeError, guarded, pack
from moxtwisted.server.receivers.parts import FarScanned, Readable, read_tree, write_tree
from moxtwisted.smtp.envelope import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    MailParameters,
    RcptParameters,
    Recipient,
    Transaction,
)
from moxtwisted.smtp.replies import Reply
from moxtwisted.store.staging import Staged

if TYPE_CHECKING:
    # What few processes need at their start.
    from collections.abc import Iterable

    from moxtwisted.server.inbound.lease import Lease
    from moxtwisted.server.inbound.outcome import Answer, Complete
    from moxtwisted.server.inbound.presence import Presence
    from moxtwisted.server.judgement.author import Author
    from moxtwisted.server.judgement.interfaces import Incoming

__all__ = [
    "IOctets",
    "ShapeError",
    "read_answer",
    "read_asked",
    "read_complete",
    "read_reply",
    "write_answer",
    "write_asked",
    "write_complete",
    "write_reply",
]

#: The structure of a larger message crosses.
_SCANNED_AGAIN_OCTETS: Final = 64 * 1024
#: No local part was let in that is longer; what was let in there is let in here.
_MAX_LOCALPART_OCTETS: Final = 4096
#: Of a path that is remembered, and of a recipient's place.
_REMEMBERED_OCTETS: Final = 512
#: Of a message, whatever a client says.
_MOST_OCTETS: Final = 2**48
#: In the year 6325: databases and calendars go so far.
_LAST_SECOND: Final = 2.0**37
#: RFC 5321 section 4.5.3.1.2: of a name in EHLO, and more than any session's has.
_WORD_CHARACTERS: Final = 255
_ENHANCED: Final = r"^([245]\.[0-9]{1,3}\.[0-9]{1,3})?\Z"

_Size = Annotated[int, Meta(ge=0, le=_MOST_OCTETS)]


class IOctets(Readable, Protocol):
    """The octets of a message, which come another way."""

    def packed(self) -> Iterable[tuple[int, bytes]]:
        """(codec, data) of the chunks as the store keeps them."""
        ...

    def close(self) -> None:
        """They are not needed any more."""
        ...


# -- answers -----------------------------------------------------------------------------------------------------------


class _Reply(Shape):
    code: Annotated[int, Meta(ge=200, le=599)]
    enhanced: Annotated[str, Meta(pattern=_ENHANCED)]
    lines: Annotated[list[bytes], Meta(min_length=1)]
    close: bool
    slow: bool


class _One(Shape, tag="one"):
    reply: _Reply


class _Each(Shape, tag="each"):
    replies: list[_Reply | None]


def write_reply(reply: Reply | None) -> tuple[Any, ...] | None:
    """A reply, or that there is none. Of a ``RawReply`` its octets stay here."""
    if reply is None:
        return None
    lines = [_octets(line) for line in reply.lines]
    return reply.code, reply.enhanced, lines, reply.close, reply.slow


@guarded
def read_reply(plain: Any) -> Reply | None:
    """What ``write_reply`` wrote. :raises ShapeError:"""
    return None if plain is None else _reply(convert(plain, _Reply))


def write_answer(answer: Answer) -> tuple[Any, ...] | None:
    """An answer to a message: None, one reply, or one (or None) for each recipient."""
    if answer is None:
        return None
    if isinstance(answer, Reply):
        return "one", write_reply(answer)
    return "each", [write_reply(reply) for reply in answer]


@guarded
def read_answer(plain: Any) -> Answer:
    """What ``write_answer`` wrote. :raises ShapeError:"""
    if plain is None:
        return None
    answer = convert(plain, _One | _Each)
    if isinstance(answer, _One):
        return _reply(answer.reply)
    return [None if reply is None else _reply(reply) for reply in answer.replies]


def _reply(s: _Reply) -> Reply:
    return Reply(s.code, s.enhanced, tuple([_text(line) for line in s.lines]), close=s.close, slow=s.slow)


def _octets(text: str) -> bytes:
    """Texts of replies may have octets in them that were no UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


# -- the envelope ------------------------------------------------------------------------------------------------------


class _Mail(Shape):
    size: Annotated[int, Meta(ge=0)] | None
    body: Literal["7BIT", "8BITMIME", "BINARYMIME"]
    auth: str | None
    smtputf8: bool
    ret: Literal["FULL", "HDRS"] | None
    envid: str | None
    require_tls: bool
    prdr: bool
    hold_for_seconds: Annotated[int, Meta(ge=0)] | None
    hold_until: str | None
    extra: dict[str, str | None]


class _Rcpt(Shape):
    notify: list[Literal["NEVER", "SUCCESS", "FAILURE", "DELAY"]] | None
    orcpt: tuple[str, str] | None
    extra: dict[str, str | None]


class _Place(Shape):
    deliveries: Annotated[list[tuple[str, str, str]], Meta(min_length=1)]
    public: bool
    alias: bool


_NOTHING: Final[Mapping[str, str | None]] = NO_MAIL_PARAMETERS.extra
_read_place: Final = Decoder(_Place).decode


@frozen
class _Kinds:
    """What is built of it all."""

    complete: type[Complete]
    incoming: type[Incoming]
    author: type[Author]
    lease: type[Lease]


@lru_cache(1024)
def _wire(path: Path) -> bytes:
    return path.wire()


def _path(octets: bytes) -> Path:
    return parse_path(octets, smtputf8=True, max_localpart_octets=_MAX_LOCALPART_OCTETS)


def _write_mail(p: MailParameters) -> tuple[Any, ...] | None:
    if p is NO_MAIL_PARAMETERS:
        return None
    size, until = p.size, p.hold_until
    return (
        size if size is None or size <= MOST else MOST, p.body, p.auth, p.smtputf8, p.ret, p.envid, p.require_tls, p.prdr,
        p.hold_for_seconds, None if until is None else until.isoformat(), dict(p.extra),
    )  # fmt: skip


def _read_mail(s: _Mail | None) -> MailParameters:
    if s is None:
        return NO_MAIL_PARAMETERS
    until = None
    if s.hold_until is not None:
        until = datetime.fromisoformat(s.hold_until)
        if until.tzinfo is None:
            raise ShapeError("a time without its zone")
    return MailParameters(
        size=s.size, body=s.body, auth=s.auth, smtputf8=s.smtputf8, ret=s.ret, envid=s.envid, require_tls=s.require_tls,
        prdr=s.prdr, hold_for_seconds=s.hold_for_seconds, hold_until=until, extra=s.extra or _NOTHING,
    )  # fmt: skip


def _write_rcpt(p: RcptParameters) -> tuple[Any, ...] | None:
    if p is NO_RCPT_PARAMETERS:
        return None
    return None if p.notify is None else tuple(p.notify), p.orcpt, dict(p.extra)


def _read_rcpt(s: _Rcpt | None) -> RcptParameters:
    if s is None:
        return NO_RCPT_PARAMETERS
    notify = None if s.notify is None else frozenset[str](s.notify)
    return RcptParameters(notify=notify, orcpt=s.orcpt, extra=s.extra or _NOTHING)


def _write_place(found: Recipients) -> bytes:
    return pack(([d.place for d in found.deliveries], found.public, found.alias))


@lru_cache(1024)
def _remembered_place(octets: bytes) -> Recipients:
    s = _read_place(octets)
    return Recipients(tuple([Delivery(*d) for d in s.deliveries]), s.public, s.alias)


def _build_place(octets: bytes) -> Recipients:
    if len(octets) > _REMEMBERED_OCTETS:
        return _remembered_place.__wrapped__(octets)
    return _remembered_place(octets)


class _Asked(Shape):
    accounts: list[str]
    octets: _Size
    reverse_path: bytes
    forward_path: bytes
    others: list[bytes]
    judged: bool
    together: bool
    seconds: float


def write_asked(asked: Asked) -> tuple[Any, ...]:
    """A question whether a recipient may be taken."""
    return (
        asked.accounts, min(asked.octets, _MOST_OCTETS), _wire(asked.reverse_path), _wire(asked.forward_path),
        [_wire(path) for path in asked.others], asked.judged, asked.together, asked.seconds,
    )  # fmt: skip


@guarded
def read_asked(plain: Any) -> Asked:
    """What ``write_asked`` wrote. :raises ShapeError:"""
    s = convert(plain, _Asked)
    return Asked(
        accounts=tuple(s.accounts),
        octets=s.octets,
        reverse_path=_path(s.reverse_path),
        forward_path=_path(s.forward_path),
        others=tuple([_path(path) for path in s.others]),
        judged=s.judged,
        together=s.together,
        seconds=_time(s.seconds),
    )


def _time(seconds: float) -> float:
    if not 0 <= seconds < _LAST_SECOND:  # which a NaN is not, either
        raise ShapeError("no time")
    return seconds


@lru_cache(1024)
def _ip(text: str) -> str:
    """The text of an address, or none."""
    return text and str(ip_address(text))


def _printable(text: str) -> str:
    """What goes to scanners and into the log."""
    if len(text) > _WORD_CHARACTERS or not text.isprintable():
        raise ShapeError("no word")
    return text


# -- the message -------------------------------------------------------------------------------------------------------


class _Relatives(Shape):
    message_id: str
    in_reply_to: str
    references: list[str]
    base_subject: str
    is_reply: bool


class _Rendered(Shape):
    envelope: bytes
    bodystructure: bytes
    fields: bytes
    preview: str
    parts: bytes
    relatives: _Relatives


class _Staged(Shape):
    header: Annotated[bytes, Meta(max_length=DEFAULT_LIMITS.headers_octets)]
    header_size: _Size
    rendered: _Rendered
    tree: bytes | None


class _Message(Shape):
    reverse_path: bytes
    mail: _Mail | None
    recipients: list[tuple[bytes, _Rcpt | None]]
    rejected: int
    octets: int
    chunked: bool
    found: list[tuple[bytes, bytes]]
    judged: tuple[bytes, list[bytes]] | None
    hello: str
    tls: bool
    seconds: float
    session: str
    author: tuple[str, str]
    ip: str
    received: bytes
    lmtp: bool
    trapped: list[bytes]
    staged: _Staged


class _Complete(Shape):
    message: bytes
    verified: bytes


_read_message: Final = Decoder(_Message).decode


def _write_staged(staged: Any, header: Header) -> tuple[Any, ...]:
    scanned, r = staged.scanned, staged.rendered
    if scanned.header is not header and scanned.header.octets != header.octets:
        raise ShapeError("the header that is judged is not the message's")
    m = r.relatives
    tree = write_tree(scanned) if staged.size > _SCANNED_AGAIN_OCTETS else None
    relatives = (m.message_id, m.in_reply_to, m.references, m.base_subject, m.is_reply)
    rendered = (r.envelope, r.bodystructure, r.fields, r.preview, r.parts, relatives)
    return header.octets, scanned.header_size, rendered, tree


def _read_staged(s: _Staged, octets: IOctets, size: int) -> Staged:
    if s.header_size > size:
        raise ShapeError("the header is longer than the message")
    r = s.rendered
    m = r.relatives
    if "\0" in m.base_subject:
        raise ShapeError("a subject with NUL")
    relatives = Relatives(m.message_id, m.in_reply_to, tuple(m.references), m.base_subject, m.is_reply)
    rendered = Rendered(
        size, r.envelope, r.bodystructure, r.fields, r.preview, r.parts, s.header_size, relatives
    )
    header = Header.parse_once(s.header)
    scanned: ScannedMessage
    if s.tree is None:
        scanned = FarScanned(size, header, s.header_size, octets)
    else:
        scanned = read_tree(s.tree, size, header)
        if scanned.header_size != s.header_size:
            raise ShapeError("the header ends in two places")
    if b"\n" in r.envelope or b"\n" in r.bodystructure:
        # IMAP clients get them as they are. Those with literals (of few messages) are made anew: what is behind a line end that belongs
        # to none would be an answer of ours.
        rendered = render(scanned, octets.read)
    return Staged(size=size, octets=cast("Any", octets), scanned=scanned, rendered=rendered)


def write_complete(message: Complete) -> tuple[bytes, bytes]:
    """A message, without its octets.

    :raises ShapeError: when ``incoming.header`` is not that of the octets.
    """
    t, incoming = message.transaction, message.incoming
    paths = [recipient.path for recipient in t.recipients]
    reverse_path, author, judged = _wire(t.reverse_path), incoming.author, None
    if incoming.reverse_path != t.reverse_path or list(incoming.recipients) != paths:
        judged = (_wire(incoming.reverse_path), [_wire(path) for path in incoming.recipients])
    plain = (
        reverse_path, _write_mail(t.parameters), [(_wire(r.path), _write_rcpt(r.parameters)) for r in t.recipients],
        t.rejected, t.octets, t.chunked,
        [(_wire(path), _write_place(found)) for path, found in message.found.items()],
        judged, incoming.hello, incoming.tls, incoming.seconds, incoming.session, (author.localpart, author.domain),
        incoming.ip, message.received, message.lmtp, [_wire(path) for path in message.trapped],
        _write_staged(message.lease.staged, incoming.header),
    )  # fmt: skip
    return pack(plain), _findings().write_verified(incoming.verified)


@guarded
def read_complete(plain: Any, octets: IOctets, size: int, presence: Presence) -> Complete:
    """What ``write_complete`` wrote.

    :param octets: of the message; they stay the caller's when this fails.
    :param size: how many they are.
    :raises ShapeError: for anything else.
    """
    both = convert(plain, _Complete)
    s = _read_message(both.message)
    kinds = _kinds()
    reverse_path = _path(s.reverse_path)
    recipients = [Recipient(_path(path), _read_rcpt(given)) for path, given in s.recipients]
    found = {_path(path): _build_place(place) for path, place in s.found}
    trapped = tuple([_path(path) for path in s.trapped])
    if not {r.path for r in recipients}.issubset((*found, *trapped)):
        raise ShapeError("a recipient leads nowhere")
    staged = _read_staged(s.staged, octets, convert(size, _Size))
    judged = tuple([r.path for r in recipients])
    incoming = kinds.incoming(
        reverse_path=reverse_path if s.judged is None else _path(s.judged[0]),
        recipients=judged if s.judged is None else tuple([_path(path) for path in s.judged[1]]),
        verified=_findings().read_verified(both.verified),
        header=staged.scanned.header,
        staged=staged,
        hello=_printable(s.hello),
        tls=s.tls,
        seconds=_time(s.seconds),
        session=_printable(s.session),
        author=kinds.author(*s.author),
        ip=_ip(s.ip),
    )
    return kinds.complete(
        transaction=Transaction(
            reverse_path, _read_mail(s.mail), recipients, s.rejected, s.octets, s.chunked
        ),
        found=found,
        incoming=incoming,
        lease=kinds.lease(staged),
        received=s.received,
        presence=presence,
        lmtp=s.lmtp,
        trapped=trapped,
    )


# Not imported before there is a message.


@cache
def _findings() -> ModuleType:
    from moxtwisted.server.receivers import findings

    return findings


@cache
def _kinds() -> _Kinds:
    from moxtwisted.server.inbound.lease import Lease
    from moxtwisted.server.inbound.outcome import Complete
    from moxtwisted.server.judgement.author import Author
    from moxtwisted.server.judgement.interfaces import Incoming

    return _Kinds(Complete, Incoming, Author, Lease)
