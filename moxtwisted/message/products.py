"""All that is kept beside a message, made once when it is stored.

::

    scanner = Scanner()
    scanner.feed(octets)
    rendered = render(scanner.finish(), lambda offset, length: octets[offset : offset + length])
    rendered.envelope, rendered.bodystructure        # ready for FETCH
    PartIndex.decode(rendered.parts).section("1")    # where BODY[1] lies
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from moxtwisted.message.headers import Header, decode_words, message_ids
from moxtwisted.message.mime import ScannedMessage
from moxtwisted.message.partindex import PartIndex
from moxtwisted.message.structure import list_fields, render_bodystructure, render_envelope
from moxtwisted.message.subject import base_subject
from moxtwisted.message.text import preview

__all__ = ["Relatives", "Rendered", "references", "relatives", "render"]


@frozen
class Relatives:
    """What a header says about the messages that belong to it.

    :ivar message_id: without angle brackets; empty when there is none.
    :ivar in_reply_to: the first identifier there, likewise.
    :ivar references: the identifiers of References, or of In-Reply-To when there are none; oldest first.
    :ivar base_subject: RFC 5256 base subject, case folded, for comparing.
    :ivar is_reply: whether the subject says that it is a reply or forward.
    """

    message_id: str
    in_reply_to: str
    references: tuple[str, ...]
    base_subject: str
    is_reply: bool


@frozen
class Rendered:
    """The products of a message.

    :ivar size: octets.
    :ivar envelope: IMAP ENVELOPE, with parentheses; may hold literals.
    :ivar bodystructure: IMAP BODYSTRUCTURE, likewise.
    :ivar fields: raw header fields of ``moxtwisted.message.structure.LIST_FIELDS``, no blank line.
    :ivar preview: at most 200 characters on one line.
    :ivar parts: an encoded ``PartIndex``.
    :ivar header_size: octets of the header with its blank line.
    :ivar relatives: what says which messages belong together.
    """

    size: int
    envelope: bytes
    bodystructure: bytes
    fields: bytes
    preview: str
    parts: bytes
    header_size: int
    relatives: Relatives


def _ids(header: Header, name: bytes) -> list[str]:
    found = header.values.get(name)
    return message_ids(found[0]) if found else []


def references(scanned: ScannedMessage) -> list[str]:
    """The messages that this one follows, without angle brackets, oldest first.

    RFC 5256 section 3 (REFERENCES): those of References, and when there is none the first of In-Reply-To.
    """
    return _ids(scanned.header, b"references") or _ids(scanned.header, b"in-reply-to")[:1]


def relatives(header: Header) -> Relatives:
    """Of a header block, or of those of its fields that are kept for lists."""
    subject = header.values.get(b"subject")
    base, is_reply = base_subject(decode_words(subject[0])) if subject else ("", False)
    own = _ids(header, b"message-id")
    answered = _ids(header, b"in-reply-to")
    return Relatives(
        message_id=own[0] if own else "",
        in_reply_to=answered[0] if answered else "",
        references=tuple(_ids(header, b"references") or answered[:1]),
        base_subject=base.casefold().replace("\0", ""),
        is_reply=is_reply,
    )


def render(scanned: ScannedMessage, read: Callable[[int, int], bytes]) -> Rendered:
    """Make the products.

    :param read: ``read(offset, length)`` gives octets of the raw message; asked for the beginnings of text parts.
    """
    return Rendered(
        size=scanned.size,
        envelope=render_envelope(scanned),
        bodystructure=render_bodystructure(scanned),
        fields=list_fields(scanned),
        preview=preview(scanned, read),
        parts=PartIndex.of(scanned).encode(),
        header_size=scanned.header_size,
        relatives=relatives(scanned.header),
    )
