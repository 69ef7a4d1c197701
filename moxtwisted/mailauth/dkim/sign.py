"""Signing (RFC 6376 section 5).

::

    hasher = MessageHasher(also=[rules.body_form])
    hasher.feed(octets)
    hashed = hasher.finish()
    field = sign(hashed, key, rules, now=clock.seconds())       # b"DKIM-Signature: v=1; ...\\r\\n", to be put in front

With RSA the arithmetic takes half a millisecond; it can be done elsewhere::

    pending = prepare(hashed, key, rules, now=clock.seconds())
    value = await deferToThread(key.sign_octets, pending.octets)
    field = pending.complete(value)

Fields are *sealed* ("oversigned"): each name stands in ``h=`` once more than there are fields, so that none can be added on the way.
"""

from __future__ import annotations

import base64
from typing import Final

from attrs import define, field, frozen

from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization, relaxed_field
from moxtwisted.mailauth.dkim.fields import SignedFields
from moxtwisted.mailauth.dkim.keys import KeyDataError, SigningKey
from moxtwisted.mailauth.inflow import HashedMessage

__all__ = [
    "SIGNED_HEADERS",
    "FieldWriter",
    "PendingSignature",
    "SigningRules",
    "Unsigned",
    "prepare",
    "sign",
]

#: RFC 6376 section 5.4.1 names what should be signed; these say who wrote to whom, about what, and how it is to be read.
SIGNED_HEADERS: Final = (
    b"from", b"to", b"cc", b"bcc", b"reply-to", b"references", b"in-reply-to", b"subject", b"date", b"message-id",
    b"content-type",
)  # fmt: skip

#: A line of a folded field; RFC 5322 section 2.1.1 wants at most 78.
_LINE: Final = 76
#: How often one name is signed at most; nobody needs more fields of one name sealed.
_MAX_REPEATED: Final = 50


@frozen
class SigningRules:
    """How to sign.

    :ivar headers: lower-case names; From is signed in any case.
    :ivar seal: sign each name once more than there are fields of it.
    :ivar header_form: RFC 6376 section 3.4.1: simple breaks when a relay refolds a field.
    :ivar body_form: without ``length``, which is for nobody (RFC 6376 section 8.2).
    :ivar lifetime_seconds: ``x=`` is so much past ``t=``; 0 is no ``x=``.
    """

    headers: tuple[bytes, ...] = SIGNED_HEADERS
    seal: bool = True
    header_form: Canonicalization = Canonicalization.RELAXED
    body_form: BodyForm = BodyForm(Canonicalization.RELAXED)  # noqa: RUF009 -- it is frozen
    lifetime_seconds: int = 0


_DEFAULT_RULES: Final = SigningRules()


@define
class FieldWriter:
    """Puts tags behind a field's name and folds, and leaves a gap for the value of the signature."""

    name: bytes
    _lines: list[bytes] = field(factory=list, init=False)
    _line: bytes = field(default=b"", init=False)
    _gap: int = field(default=-1, init=False)

    def __attrs_post_init__(self) -> None:
        self._line = self.name + b":"

    def tag(self, name: bytes, value: bytes) -> None:
        """``name=value;`` on this line or the next."""
        self._word(b" " + name + b"=" + value + b";")

    def names(self, name: bytes, values: tuple[bytes, ...]) -> None:
        """Names with colons between, folded behind these."""
        self._word(b" " + name + b"=" + (values[0] if values else b"") + (b":" if len(values) > 1 else b";"))
        for i, value in enumerate(values[1:], 2):
            self._word(value + (b";" if i == len(values) else b":"))

    def value(self) -> None:
        """``b=``, empty; what follows begins a line."""
        self._word(b" b=;")
        self._lines.append(self._line + b"\r\n")
        self._gap = sum(map(len, self._lines)) - len(b";\r\n")
        self._line = b"\t"

    def finish(self) -> Unsigned:
        """The field, without the last semicolon and without a line end."""
        octets = b"".join([*self._lines, self._line]).rstrip(b"\r\n\t;")
        return Unsigned(octets[: self._gap], octets[self._gap :])

    def _word(self, word: bytes) -> None:
        if self._line == b"\t":
            self._line += word.lstrip(b" ")
        elif len(self._line) + len(word) > _LINE:
            self._lines.append(self._line + b"\r\n")
            self._line = b"\t" + word.lstrip(b" ")
        else:
            self._line += word


@frozen
class Unsigned:
    """A field whose ``b=`` is empty: what stands up to it, and what follows."""

    start: bytes
    end: bytes

    def octets(self, form: Canonicalization) -> bytes:
        """How it is hashed itself."""
        raw = self.start + self.end
        return relaxed_field(raw).removesuffix(b"\r\n") if form is Canonicalization.RELAXED else raw

    def signed(self, value: bytes) -> bytes:
        """The field with the signature in it, in base64, folded, and its line end.

        RFC 6376 section 3.7: the value and the white space around it are not hashed, so folds within it change nothing.
        """
        text = base64.b64encode(value)
        room = max(_LINE - len(self.start.rpartition(b"\n")[2]), 0)
        pieces = [self.start, text[:room]]
        pieces += [b"\r\n\t" + text[i : i + _LINE - 1] for i in range(room, len(text), _LINE - 1)]
        return b"".join([*pieces, self.end, b"\r\n"])


@frozen
class PendingSignature:
    """A signature without its value.

    :ivar octets: what ``SigningKey.sign_octets`` is to sign.
    """

    octets: bytes
    _field: Unsigned

    def complete(self, value: bytes) -> bytes:
        """The whole field, with CRLF."""
        return self._field.signed(value)


def headers_to_sign(fields: SignedFields, rules: SigningRules) -> tuple[bytes, ...]:
    """``h=`` for a header."""
    names: list[bytes] = []
    # RFC 6376 section 5.4: From must be signed.
    for name in dict.fromkeys((b"from", *rules.headers)):
        names += [name] * min(fields.count(name) + rules.seal, _MAX_REPEATED)
    return tuple(names)


def prepare(
    hashed: HashedMessage,
    key: SigningKey,
    rules: SigningRules = _DEFAULT_RULES,
    *,
    now: float,
    identity: str = "",
) -> PendingSignature:
    """Everything but the arithmetic.

    :param hashed: by a hasher that was made with ``also=[rules.body_form]``.
    :param now: seconds since 1970.
    :param identity: ``i=``, in the domain of the key; empty is none.
    :raises KeyDataError: when there is no From to sign, or the body was not hashed in that form.
    """
    fields = hashed.fields
    body_hash = hashed.bodies.digest(rules.body_form)
    if body_hash is None or rules.body_form.length is not None:
        raise KeyDataError("the body was not hashed in the form that is to be signed")
    if not fields.count(b"from"):
        raise KeyDataError("a message without From cannot be signed")
    names = headers_to_sign(fields, rules)
    writer = FieldWriter(b"DKIM-Signature")
    writer.tag(b"v", b"1")
    writer.tag(b"d", key.domain.encode("ascii"))
    writer.tag(b"s", key.selector.encode("ascii"))
    if identity:
        writer.tag(b"i", quoted(identity))
    writer.tag(b"a", key.algorithm.encode("ascii"))
    writer.tag(b"c", f"{rules.header_form.value}/{rules.body_form.canonicalization.value}".encode("ascii"))
    writer.tag(b"t", b"%d" % int(now))
    if rules.lifetime_seconds:
        writer.tag(b"x", b"%d" % int(now + rules.lifetime_seconds))
    writer.names(b"h", names)
    writer.tag(b"bh", base64.b64encode(body_hash))
    writer.value()
    unsigned = writer.finish()
    octets = fields.octets(names, rules.header_form) + unsigned.octets(rules.header_form)
    return PendingSignature(octets, unsigned)


def sign(
    hashed: HashedMessage,
    key: SigningKey,
    rules: SigningRules = _DEFAULT_RULES,
    *,
    now: float,
    identity: str = "",
) -> bytes:
    """A DKIM-Signature field with CRLF, to stand above the header that was signed.

    :raises KeyDataError: as ``prepare``.
    """
    pending = prepare(hashed, key, rules, now=now, identity=identity)
    return pending.complete(key.sign_octets(pending.octets))


def quoted(text: str) -> bytes:
    """Text as dkim-quoted-printable (RFC 6376 section 2.11)."""
    return b"".join(
        octet.to_bytes(1, "big") if 0x21 <= octet <= 0x7E and octet not in b";=:|" else b"=%02X" % octet
        for octet in text.encode("utf-8")
    )
