"""Signed messages, whole and changed, with their key records, made up from a number.

::

    case = message(4711)
    case.octets         # b"DKIM-Signature: v=1; ...\\r\\nFrom: ..."
    case.records        # {"rsa._domainkey.example.org": b"v=DKIM1; ..."}
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from random import Random
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.sign import SigningRules, sign
from moxtwisted.mailauth.inflow import MessageHasher
from tests.mailauth.dkim.beside import KEYS, NOW, PEM, RECORDS, dkim, handmade

__all__ = ["MessageCase", "message", "plain_message"]

_SPACES: Final = (b" ", b" ", b"  ", b"\t", b" \t ", b"\r\n ", b" \r\n\t", b"\r\n  ")
_WORDS: Final = (
    b"a", b"hello", b"<a@b.example>", b"=?utf-8?q?x?=", "Grüße".encode(), b"1;2", b"x=y", b"(comment)", b'"quoted"', b"b=abc", b":",
)  # fmt: skip
_NAMES: Final = (
    b"To",
    b"Subject",
    b"subject",
    b"Cc",
    b"Date",
    b"Message-ID",
    b"X-A",
    b"X-B",
    b"Received",
    b"Reply-To",
    b"MIME-Version",
)
_BODIES: Final = (
    b"a", b"line", b" ", b"  ", b"\t", b"\r\n", b"\r\n\r\n", b".", b" \r\n", b"\xc3\xa9", b"two words\r\n", b"--\r\n", b"\t\r\n",
    b"x" * 100, b"\r\n\r\n\r\n\r\n",
)  # fmt: skip
_SIGNED: Final = (b"from", b"to", b"subject", b"cc", b"date", b"x-a", b"reply-to")
_TAGS: Final[dict[bytes, tuple[bytes, ...]]] = {
    b"v": (b"1", b"2", b"01", b""),
    b"a": (b"rsa-sha256", b"ed25519-sha256", b"rsa-sha1", b"RSA-SHA256", b"x"),
    b"c": (b"relaxed/relaxed", b"simple/simple", b"relaxed", b"simple", b"x/relaxed", b"Relaxed/relaxed", b"relaxed/simple"),
    b"d": (b"example.org", b"EXAMPLE.org", b"other.example", b"org"),
    b"i": (b"@example.org", b"a@example.org", b"a@sub.example.org", b"a@other.example", b"a@xexample.org", b"x", b"=41@example.org"),
    b"q": (b"dns/txt", b"dns/txt:other", b"other", b"DNS/TXT"),
    b"t": (b"1699999999", b"1700000001", b"1700099999", b"x", b""),
    b"x": (b"1700000001", b"1699900000", b"1699999990", b"99999999999", b""),
    b"l": (b"0", b"3", b"5", b"7", b"700", b"-1", b"x"),
    b"h": (
        b"from", b"From : subject", b"from:from:subject:subject:none", b"subject", b"from:dkim-signature", b"FROM:To:to",
        b"from:subject:date:x-a:x-b",
    ),
    b"z": (b"Subject:b=3Dx|From:x", b"x"),
    b"other": (b"", b"1"),
}  # fmt: skip
_RECORD_TAGS: Final[dict[bytes, tuple[bytes, ...]]] = {
    b"v": (b"DKIM1", b"DKIM2", b""),
    b"k": (b"rsa", b"ed25519", b"x"),
    b"h": (b"sha256", b"sha1", b"sha1:sha256", b"x"),
    b"s": (b"*", b"email", b"other", b"other:email"),
    b"t": (b"y", b"s", b"y:s", b"x"),
    b"n": (b"a note", b"=3D"),
    b"x": (b"1",),
}
_OCTETS: Final = (b"", b" ", b"x", b"\r\n", b";", b"=", b"\r\n ", b"A", b"\t", b":")


class MessageCase(NamedTuple):
    """What is verified.

    :ivar octets: of the message, which has a DKIM-Signature.
    :ivar records: by name.
    """

    octets: bytes
    records: dict[str, bytes]


class _Maker:
    def __init__(self, random: Random) -> None:
        self.random = random

    # -- a message ---------------------------------------------------------------------------------------------------

    def value(self) -> bytes:
        random = self.random
        words = [random.choice(_WORDS) + random.choice(_SPACES) for _ in range(random.randrange(5))]
        start = random.choice((b" ", b" ", b"", b"\t", b"  "))
        return (start + b"".join(words)).rstrip(b" \t\r\n") + random.choice((b"", b"", b" ", b"\t"))

    def plain(self) -> bytes:
        random = self.random
        names = random.choices(_NAMES, k=random.randrange(7))
        names.insert(random.randrange(len(names) + 1), b"From")
        header = b"".join(name + b":" + self.value() + b"\r\n" for name in names)
        body = b"".join(random.choices(_BODIES, k=random.randrange(12)))
        return header + b"\r\n" + body + random.choice((b"\r\n", b"\r\n", b"\r\n", b""))

    # -- its signature -----------------------------------------------------------------------------------------------

    def by_us(self, message: bytes) -> bytes:
        random = self.random
        rules = SigningRules(
            headers=tuple(random.sample(_SIGNED, random.randrange(1, 6))),
            seal=random.random() < 0.5,
            header_form=random.choice(tuple(Canonicalization)),
            body_form=BodyForm(random.choice(tuple(Canonicalization))),
            lifetime_seconds=random.choice((0, 0, 1000)),
        )
        hasher = MessageHasher(also=[rules.body_form])
        hasher.feed(message)
        key = KEYS[random.choice(("rsa", "ed25519", "ed25519"))]
        identity = random.choice(("", "", "a@example.org", "ü+x@sub.example.org"))
        return sign(hasher.finish(), key, rules, now=NOW, identity=identity) + message

    def by_hand(self, message: bytes) -> bytes:
        """With a few odd tags, and right arithmetic whatever they say."""
        random = self.random
        odd = random.sample(sorted(_TAGS), random.choice((0, 1, 1, 2, 3)))
        tags = {
            b"v": b"1", b"a": random.choice((b"rsa-sha256", b"ed25519-sha256")), b"c": b"relaxed/relaxed", b"d": b"example.org",
            b"h": b"from:subject", **{name: random.choice(_TAGS[name]) for name in odd},
        }  # fmt: skip
        if random.random() < 0.3:
            tags[b"l"] = str(random.randrange(40)).encode()
        tags[b"s"] = b"ed25519" if tags[b"a"].startswith(b"ed") else b"rsa"
        return handmade(tags, message)

    def by_dkimpy(self, message: bytes) -> bytes:
        random = self.random
        # Its RSA takes 12 ms.
        kind = "rsa" if random.random() < 0.1 else "ed25519"
        with patch("time.time", lambda: NOW):
            signature: bytes = dkim.sign(
                message,
                kind.encode(),
                b"example.org",
                _dkimpy_key(kind),
                canonicalize=(random.choice((b"simple", b"relaxed")), random.choice((b"simple", b"relaxed"))),
                length=random.random() < 0.2,
                signature_algorithm=kind.encode() + b"-sha256",
                include_headers=[b"from", *random.choices(_SIGNED, k=random.randrange(4))],
            )
        return signature + message

    def signed(self) -> bytes:
        dice = self.random.random()
        message = self.plain()
        if dice < 0.55:
            return self.by_us(message)
        return self.by_hand(message) if dice < 0.9 else self.by_dkimpy(message)

    # -- what happens to it on the way ---------------------------------------------------------------------------------

    def changed(self, message: bytes) -> bytes:
        for _ in range(self.random.choice((0, 0, 0, 0, 1, 1, 1, 2, 2, 3))):
            header, blank, body = message.partition(b"\r\n\r\n")
            fields = re.split(rb"\r\n(?![ \t])", header)
            kind = self.random.random()
            if kind < 0.3:
                message = header + blank + self.random.choice(_BODY_CHANGES)(self.random, body)
            elif kind < 0.75:
                message = (
                    b"\r\n".join(self.random.choice(_HEADER_CHANGES)(self.random, fields)) + blank + body
                )
            elif kind < 0.9:
                fields[0] = self.random.choice(_SIGNATURE_CHANGES)(self.random, fields[0])
                message = b"\r\n".join(fields) + blank + body
            else:
                at = self.random.randrange(len(message) + 1)
                gone = self.random.randrange(3)
                message = message[:at] + self.random.choice(_OCTETS) + message[at + gone :]
        return message

    def records(self) -> dict[str, bytes]:
        random = self.random
        if random.random() < 0.8:
            return RECORDS
        found = dict(RECORDS)
        name = random.choice(sorted(found))
        dice = random.random()
        public = base64.b64encode(KEYS[name.partition(".")[0]].public_octets())
        if dice < 0.1:
            del found[name]
        elif dice < 0.2:
            found[name] = found[random.choice(sorted(found))]
        elif dice < 0.3:
            found[name] = random.choice(
                (b"", b"v=DKIM1", b"v=DKIM1; p=", b"p=!", b"v=DKIM1; p=" + public[:-9], b"spf")
            )
        else:
            odd = random.sample(sorted(_RECORD_TAGS), random.choice((1, 1, 2, 3)))
            pairs = [(tag, random.choice(_RECORD_TAGS[tag])) for tag in odd]
            if b"k" not in odd and not name.startswith("rsa"):
                pairs.append((b"k", b"ed25519"))
            pairs.insert(random.choice((0, len(pairs))), (b"p", public))
            found[name] = random.choice((b"; ", b";", b" ;\t")).join(
                tag + b"=" + value for tag, value in pairs
            )
        return found


_Change = Callable[[Random, Any], Any]


def _insert(random: Random, octets: bytes, what: bytes, where: bytes) -> bytes:
    """Put something behind one of the places where something stands."""
    places = [match.end() for match in re.finditer(re.escape(where), octets)]
    at = random.choice(places) if places else len(octets)
    return octets[:at] + what + octets[at:]


def _swap_case(random: Random, fields: list[bytes]) -> list[bytes]:
    at = random.randrange(len(fields))
    name, colon, value = fields[at].partition(b":")
    return [*fields[:at], name.swapcase() + colon + value, *fields[at + 1 :]]


def _refold(random: Random, fields: list[bytes]) -> list[bytes]:
    at = random.randrange(len(fields))
    changed = random.choice(
        (
            re.sub(rb"\r\n", b"", fields[at]),
            re.sub(rb"[ \t]+", b" ", fields[at]),
            fields[at] + b"  ",
            _insert(random, fields[at], b"\r\n\t", b" "),
            _insert(random, fields[at], b" ", b" "),
            _insert(random, fields[at], b" ", b":"),
        )
    )
    return [*fields[:at], changed, *fields[at + 1 :]]


def _add(random: Random, fields: list[bytes]) -> list[bytes]:
    """A field more, anywhere: on top too, above the signature."""
    at = random.randrange(len(fields) + 1)
    added = random.choice((b"From", b"Subject", b"X-A", b"Cc", b"Received", b"X-New")) + b": x@far.example"
    return [*fields[:at], added, *fields[at:]]


def _remove(random: Random, fields: list[bytes]) -> list[bytes]:
    at = random.randrange(1, len(fields)) if len(fields) > 1 else 0
    return [field for n, field in enumerate(fields) if n != at or len(fields) == 1]


def _swap(random: Random, fields: list[bytes]) -> list[bytes]:
    return random.sample(fields, len(fields))


def _double(random: Random, fields: list[bytes]) -> list[bytes]:
    """The same signature twice, or another field twice."""
    return [random.choice(fields), *fields]


def _lift(random: Random, fields: list[bytes]) -> list[bytes]:
    """Fields that servers on the way put on top."""
    return [b"Return-Path: <a@b.example>", b"Received: from a by b;\r\n\tdate", *fields]


_BODY_CHANGES: Final[tuple[_Change, ...]] = (
    lambda random, body: body + random.choice((b"\r\n", b"\r\n\r\n", b" ", b"x", b"\r\nfooter\r\n")),
    lambda random, body: body.rstrip(b"\r\n"),
    lambda random, body: _insert(random, body, b" ", b" "),
    lambda random, body: _insert(random, body, b"\t", b"\r\n"),
    lambda random, body: body.replace(b"\t", b" "),
    lambda random, body: body.replace(b" \r\n", b"\r\n"),
    lambda random, body: body.replace(b"a", b"b", 1),
    lambda random, body: body[: random.randrange(len(body) + 1)],
)
_HEADER_CHANGES: Final[tuple[_Change, ...]] = (
    _swap_case, _refold, _refold, _add, _remove, _swap, _double, _lift, _lift,
)  # fmt: skip


def _edit_tag(random: Random, field: bytes) -> bytes:
    """Another value for a tag, which the signature does not know of; or one tag more."""
    name = random.choice(sorted(_TAGS))
    value = random.choice(_TAGS[name])
    changed, number = re.subn(rb"(;[ \t\r\n]*" + name + rb"=)[^;]*", rb"\g<1>" + value, field, count=1)
    return changed if number else field + b"; " + name + b"=" + value


_SIGNATURE_CHANGES: Final[tuple[_Change, ...]] = (
    _edit_tag,
    _edit_tag,
    lambda random, field: _insert(random, field, random.choice((b" ", b"\r\n ", b"\t")), b"="),
    lambda random, field: _insert(random, field, random.choice((b" ", b"\r\n ", b"\t")), b";"),
    lambda random, field: field + random.choice((b";", b"; x=1", b"; x=1;", b";;", b" ")),
    lambda random, field: _insert(random, field, b"\r\n ", random.choice((b"A", b"B", b"C", b"/", b"1"))),
    lambda random, field: field.replace(b"b=", b"b=A", 1),
    lambda random, field: field[: random.randrange(15, len(field) + 1)] if len(field) > 15 else field,
)


def _dkimpy_key(kind: str) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    if kind == "rsa":
        return PEM[kind]
    return base64.b64encode(KEYS[kind].private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))


def message(number: int) -> MessageCase:
    """A case."""
    maker = _Maker(Random(number))
    octets = maker.changed(maker.signed())
    return MessageCase(octets, maker.records())


def plain_message(random: Random) -> bytes:
    """A message without a signature."""
    return _Maker(random).plain()
