"""The DKIM-Signature header field (RFC 6376 section 3.5).

::

    signature = Signature.parse(b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=2026a; ...\\r\\n")
    signature.domain, signature.query_name          # "example.org", "2026a._domainkey.example.org"
    signature.signed_headers                        # (b"from", b"from", b"subject"): lower case, in the order of h=
    without_signature(raw)                          # the field with an empty b=, as it is hashed

``parse`` raises ``TagListError`` for what cannot be read; whether the signature is any good is not its matter.
"""

from __future__ import annotations

import binascii
import re
from functools import lru_cache
from typing import Final, Self

from attrs import frozen

from moxtwisted.identifiers import Domain, DomainError
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.tags import TagList, TagListError

__all__ = [
    "ALGORITHMS",
    "Signature",
    "Signer",
    "UnsupportedSignatureError",
    "is_selector",
    "parse_domain",
    "parse_place",
    "parse_signed",
    "parse_signer",
    "without_signature",
]

#: RFC 8301 section 3.1 and RFC 8463 section 3: what is verified. rsa-sha1 is read, and refused by policy.
ALGORITHMS: Final = frozenset(("rsa-sha256", "ed25519-sha256"))
OUTDATED: Final = frozenset(("rsa-sha1",))

# RFC 6376 section 3.5: as many digits as an unsigned 64-bit number has; t= and x= have 12, l= 76.
_TIME_DIGITS: Final = 12
_LENGTH_DIGITS: Final = 76
_FIELD_NAMES: Final = re.compile(rb"[!-~]*+\Z")
# RFC 6376 section 3.1 with the underscores that selectors in use have.
_NAME: Final = re.compile(
    r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\Z"
)
_MAX_NAME: Final = 253
#: The value of b=. No value has a semicolon in it.
_VALUE: Final = re.compile(rb";[ \t\r\n]*+b[ \t\r\n]*+=([^;]*+)")
#: Lists of fields up to this size are remembered once they were read.
_REMEMBERED_OCTETS: Final = 1024
#: Room is left for a domain.
_MAX_SELECTOR: Final = 200
_SIMPLE_BODY: Final = BodyForm(Canonicalization.SIMPLE)
_RELAXED_BODY: Final = BodyForm(Canonicalization.RELAXED)
_CANONICALIZATIONS: Final = {
    b"simple": (Canonicalization.SIMPLE, _SIMPLE_BODY),
    # RFC 6376 section 3.5: with one name only, it is for the header, and the body is simple.
    b"relaxed": (Canonicalization.RELAXED, _SIMPLE_BODY),
    b"simple/simple": (Canonicalization.SIMPLE, _SIMPLE_BODY),
    b"simple/relaxed": (Canonicalization.SIMPLE, _RELAXED_BODY),
    b"relaxed/simple": (Canonicalization.RELAXED, _SIMPLE_BODY),
    b"relaxed/relaxed": (Canonicalization.RELAXED, _RELAXED_BODY),
}


class UnsupportedSignatureError(TagListError):
    """The field can be read, and asks for a version, an algorithm or a way to the key that there is not."""


@frozen
class Signature:
    """A signature as its field states it.

    :ivar algorithm: ``a=``, as ``"rsa-sha256"``.
    :ivar domain: ``d=``, A-labels in lower case.
    :ivar selector: ``s=``, likewise.
    :ivar signed_headers: names of ``h=`` in lower case, in order, with repetitions.
    :ivar body_hash: ``bh=``.
    :ivar value: ``b=``.
    :ivar header_form: how the header is canonicalized.
    :ivar body_form: how the body is, and ``l=``.
    :ivar identity: ``i=``, decoded, its domain in A-labels; ``"@" + domain`` when it is missing.
    :ivar signed_at: ``t=``, seconds since 1970, or None.
    :ivar expires_at: ``x=``, likewise.
    """

    algorithm: str
    domain: str
    selector: str
    signed_headers: tuple[bytes, ...]
    body_hash: bytes
    value: bytes
    header_form: Canonicalization
    body_form: BodyForm
    identity: str
    signed_at: int | None = None
    expires_at: int | None = None

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a whole field.

        :raises TagListError: with the tag that is wrong; ``UnsupportedSignatureError`` when it is beyond us.
        """
        tags = TagList.parse(raw.partition(b":")[2])
        # RFC 6376 section 3.5: v=1, nothing else.
        if tags.required(b"v") != b"1":
            raise UnsupportedSignatureError(tags.offset(b"v"), b"v", "no version that is known")
        signed_at = tags.number(b"t", digits=_TIME_DIGITS) if b"t" in tags.values else None
        expires_at = tags.number(b"x", digits=_TIME_DIGITS) if b"x" in tags.values else None
        if signed_at is not None and expires_at is not None and expires_at < signed_at:
            raise tags.wrong(b"x", "before t=")
        if b"q" in tags.values:
            _check_query(tags)
        signer = parse_signer(tags)
        body_hash, signed_headers, value = parse_signed(tags, signer)
        # RFC 6376 section 6.1.1: a signature that does not cover From is none.
        if b"from" not in signed_headers:
            raise tags.wrong(b"h", "From is not signed")
        body_form = signer.body_form
        if b"l" in tags.values:
            body_form = BodyForm(body_form.canonicalization, tags.number(b"l", digits=_LENGTH_DIGITS))
        return cls(
            signer.algorithm,
            signer.domain,
            signer.selector,
            signed_headers,
            body_hash,
            value,
            signer.header_form,
            body_form,
            identity=_identity(tags, signer.domain) if b"i" in tags.values else "@" + signer.domain,
            signed_at=signed_at,
            expires_at=expires_at,
        )

    @property
    def query_name(self) -> str:
        """Where the key is published (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def kind(self) -> str:
        """The type of key that the algorithm wants."""
        return self.algorithm.partition("-")[0]

    @property
    def identity_domain(self) -> str:
        """The domain of ``i=``."""
        return self.identity.rpartition("@")[2]


@frozen
class Signer:
    """What all signatures of a signer have in common: DKIM-Signature, and ARC-Message-Signature (RFC 8617 section 4.1.2).

    :ivar body_form: without ``l=``.
    """

    algorithm: str
    domain: str
    selector: str
    header_form: Canonicalization
    body_form: BodyForm


def parse_place(tags: TagList) -> tuple[str, str]:
    """``d=`` and ``s=``.

    :raises TagListError: when one of them is wrong, or both make a name that is too long to ask for.
    """
    domain, selector = parse_domain(tags), parse_name(tags, b"s")
    if len(domain) + len(selector) + len("._domainkey.") > _MAX_NAME:
        raise tags.wrong(b"s", "too long")
    return domain, selector


def parse_signer(tags: TagList, canonicalization: bytes = b"simple/simple") -> Signer:
    """Read ``a=``, ``c=``, ``d=`` and ``s=``, or know them again.

    :param canonicalization: what a missing ``c=`` means.
    :raises TagListError: when one of them is wrong.
    """
    values = tags.values
    forms = values.get(b"c", canonicalization)
    try:
        return _known_signer(values.get(b"a"), forms, values.get(b"d"), values.get(b"s"))
    except TagListError:
        # It does not know where the wrong one stands.
        return _signer(tags, forms)


def _signer(tags: TagList, canonicalization: bytes) -> Signer:
    algorithm = parse_algorithm(tags)
    forms = _CANONICALIZATIONS.get(canonicalization)
    if forms is None:
        raise UnsupportedSignatureError(tags.offset(b"c"), b"c", "no canonicalization that is known")
    domain, selector = parse_place(tags)
    return Signer(algorithm, domain, selector, *forms)


# What can be read is short: a domain and a selector have at most 1,024 octets each.
@lru_cache(maxsize=1024)
def _known_signer(
    algorithm: bytes | None, canonicalization: bytes, domain: bytes | None, selector: bytes | None
) -> Signer:
    values = {b"a": algorithm, b"d": domain, b"s": selector}
    return _signer(
        TagList({name: value for name, value in values.items() if value is not None}), canonicalization
    )


def parse_signed(tags: TagList, signer: Signer) -> tuple[bytes, tuple[bytes, ...], bytes]:
    """Read ``bh=``, ``h=`` and ``b=``, which are those of one message.

    :raises TagListError: when one of them is wrong.
    """
    body_hash = tags.base64(b"bh")
    if len(body_hash) != (20 if signer.algorithm in OUTDATED else 32):
        raise tags.wrong(b"bh", f"{len(body_hash)} octets")
    return body_hash, _signed_headers(tags), tags.base64(b"b")


def parse_algorithm(tags: TagList) -> str:
    """``a=``.

    :raises TagListError: when it is missing or unknown.
    """
    algorithm = tags.required(b"a").decode("latin-1")
    if algorithm not in ALGORITHMS and algorithm not in OUTDATED:
        raise UnsupportedSignatureError(tags.offset(b"a"), b"a", "no algorithm that is known")
    return algorithm


def is_selector(text: str) -> bool:
    """Whether a key can be published under this name (RFC 6376 section 3.1), in lower case."""
    return len(text) <= _MAX_SELECTOR and _NAME.match(text) is not None


def parse_name(tags: TagList, tag: bytes) -> str:
    """A selector or domain as A-labels (RFC 8616 section 5 lets both be written with U-labels).

    :raises TagListError: when it is none.
    """
    octets = tags.required(tag)
    name = _name_in(octets) if len(octets) <= _REMEMBERED_OCTETS else None
    if name is None:
        raise tags.wrong(tag, "no name")
    return name


@lru_cache(maxsize=2048)
def _name_in(octets: bytes) -> str | None:
    """A name as A-labels; None when it is none."""
    if octets.isascii():
        name = octets.decode("ascii").lower()
        return None if len(name) > _MAX_NAME or _NAME.match(name) is None else name
    try:
        return Domain.parse(octets.decode("utf-8"), lax=True).ascii
    except (DomainError, UnicodeDecodeError):
        return None


def parse_domain(tags: TagList) -> str:
    """``d=``, A-labels in lower case.

    :raises TagListError: when it is no domain.
    """
    domain = parse_name(tags, b"d")
    # RFC 6376 section 3.5: a domain-name of RFC 5321 section 4.1.2; what is directly below the root sends no mail.
    if "." not in domain:
        raise tags.wrong(b"d", "a single label")
    return domain


def _signed_headers(tags: TagList) -> tuple[bytes, ...]:
    if b"h" not in tags.values:
        raise tags.wrong(b"h", "missing")
    value = tags.values[b"h"]
    names = _names_in(value) if len(value) <= _REMEMBERED_OCTETS else _names_in.__wrapped__(value)
    # An empty name names no field; signers that join an empty list write it.
    if names is None:
        raise tags.wrong(b"h", "no names of fields")
    return names


@lru_cache(maxsize=1024)
def _names_in(value: bytes) -> tuple[bytes, ...] | None:
    """The names of ``h=``, which a signer seldom changes; None when one is none."""
    names = [name.strip(b" \t\r\n") for name in value.lower().split(b":")]
    return None if _FIELD_NAMES.match(b":".join(names)) is None else tuple(names)


def _check_query(tags: TagList) -> None:
    # RFC 6376 section 3.5: dns/txt is the one way to a key; unknown ones are ignored when it is among them.
    if b"dns/txt" not in [method.lower() for method in tags.names(b"q")]:
        raise UnsupportedSignatureError(tags.offset(b"q"), b"q", "no way to the key that is known")


def _identity(tags: TagList, domain: str) -> str:
    """What ``i=`` says."""
    value = tags.values[b"i"]
    # RFC 6376 section 2.11: dkim-quoted-printable; white space in it means nothing.
    text = binascii.a2b_qp(b"".join(value.split())).decode("utf-8", "replace")
    local, at, where = text.rpartition("@")
    where = where.lower()
    if not where.isascii():
        try:
            where = Domain.parse(where, lax=True).ascii
        except DomainError:
            raise tags.wrong(b"i", "no domain") from None
    # RFC 6376 section 3.5: the domain of d= or one below it.
    if not at or (where != domain and not where.endswith("." + domain)):
        raise tags.wrong(b"i", "not within d=")
    return f"{local}@{where}"


def without_signature(raw: bytes) -> bytes:
    """A signature's field as it was before ``b=`` was filled in: its value and all white space around it gone (RFC 6376 section 3.7)."""
    head, colon, value = raw.partition(b":")
    # As if a tag stood before the first one, so that the search goes from semicolon to semicolon.
    value = b";" + value
    found = _VALUE.search(value)
    if found is None:
        return raw
    start, end = found.span(1)
    return head + colon + value[1:start] + value[end:]
