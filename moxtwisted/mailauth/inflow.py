"""A message on its way in: its header is kept, its body hashed for all signatures on it, in one pass.

::

    hasher = MessageHasher()
    hasher.feed(octets)                 # any pieces, line ends CRLF
    hashed = hasher.finish()
    hashed.header                       # the fields
    hashed.found                        # DKIM signatures, parsed or with what is wrong with them
    hashed.bodies                       # hashes of the body for these, and for ARC

What is to sign a message as well asks for its form: ``MessageHasher(also=[BodyForm(Canonicalization.RELAXED)])``.
Bounded: the header to ``MAX_HEADER_OCTETS``, signatures to ``MAX_SIGNATURES``, so a thousand of them cost what ten do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import define, field, frozen

from moxtwisted.mailauth.arcset import arc_body_forms
from moxtwisted.mailauth.dkim.canonical import BodyForm, BodyHasher, BodyHashes
from moxtwisted.mailauth.dkim.fields import SignedFields
from moxtwisted.mailauth.dkim.signature import ALGORITHMS, Signature, parse_domain
from moxtwisted.mailauth.dkim.tags import TagList, TagListError
from moxtwisted.mailauth.dmarc.author import find_author
from moxtwisted.mailauth.publicsuffix import organizational_domain
from moxtwisted.message.headers import Header

__all__ = ["MAX_HEADER_OCTETS", "MAX_SIGNATURES", "FoundSignature", "HashedMessage", "MessageHasher"]

#: A header that is longer is taken for none: nothing in it is verified.
MAX_HEADER_OCTETS: Final = 1024 * 1024
#: RFC 6376 section 6.1 lets verifiers limit their work. Lists and forwarders add one or two each.
MAX_SIGNATURES: Final = 10
#: Where there are more, so many are asked whose they are; it takes 20 µs each.
_MAX_CONSIDERED: Final = 100

_NO_FIELDS: Final = SignedFields(Header.parse(b""))


@frozen
class FoundSignature:
    """A DKIM-Signature field.

    :ivar position: among the fields of the header, from 0.
    :ivar ordinal: among its signatures, from 0.
    :ivar signature: what it says, or why it cannot be read.
    """

    position: int
    ordinal: int
    signature: Signature | TagListError


@frozen
class HashedMessage:
    """What is needed of a message to verify it, or to sign it.

    :ivar fields: those of the header.
    :ivar found: ``MAX_SIGNATURES`` DKIM signatures, in the order of the header: those of the organization in From before the others, the
        uppermost of each.
    :ivar skipped: how many more there are.
    :ivar bodies: the hashes of the body.
    :ivar header_too_long: whether the header was passed over, being over ``MAX_HEADER_OCTETS``.
    """

    fields: SignedFields
    found: tuple[FoundSignature, ...]
    skipped: int
    bodies: BodyHashes
    header_too_long: bool = False

    @property
    def header(self) -> Header:
        """The header."""
        return self.fields.header


def _choose(fields: SignedFields, positions: list[int]) -> list[int]:
    """Which of too many signatures are worth their cost, in the order of the header.

    RFC 6376 section 6.1: a verifier may take them in any order. Only one of the domain in From proves anything for DMARC, so what lists and
    forwarders, or a stranger, put above it must not hide it.
    """
    author = find_author(fields.header).domain
    if not author:
        return positions[:MAX_SIGNATURES]
    organization = organizational_domain(author)

    def foreign(position: int) -> bool:
        try:
            domain = parse_domain(TagList.parse(fields.raw(position).partition(b":")[2]))
        except TagListError:
            return True
        return organizational_domain(domain) != organization

    # The sort is stable.
    return sorted(sorted(positions[:_MAX_CONSIDERED], key=foreign)[:MAX_SIGNATURES])


def find_signatures(fields: SignedFields) -> tuple[FoundSignature, ...]:
    """The DKIM signatures of a header that are looked at."""
    found = []
    positions = fields.positions(b"dkim-signature")
    chosen = positions if len(positions) <= MAX_SIGNATURES else _choose(fields, positions)
    for position in chosen:
        try:
            signature: Signature | TagListError = Signature.parse(fields.raw(position))
        except TagListError as e:
            signature = e
        found.append(FoundSignature(position, positions.index(position), signature))
    return tuple(found)


@define(eq=False)
class MessageHasher:
    """Takes a message in pieces.

    :ivar also: forms of the body that are wanted besides.
    """

    also: Iterable[BodyForm] = field(default=(), kw_only=True)
    _held: list[bytes] = field(factory=list, init=False)
    _held_octets: int = field(default=0, init=False)
    _tail: bytes = field(default=b"", init=False)
    _body: BodyHasher | None = field(default=None, init=False)
    _fields: SignedFields = field(default=_NO_FIELDS, init=False)
    _found: tuple[FoundSignature, ...] = field(default=(), init=False)
    _too_long: bool = field(default=False, init=False)

    def feed(self, octets: bytes) -> None:
        """Take more."""
        if self._body is not None:
            self._body.feed(octets)
            return
        seen = self._tail + octets
        no_header = self._held_octets < 2 and seen.startswith(b"\r\n")
        self._held.append(octets)
        self._held_octets += len(octets)
        self._tail = seen[-3:]
        at = 0 if no_header else seen.find(b"\r\n\r\n")
        if at >= 0:
            self.begin(b"".join(self._held), 0 if no_header else self._held_octets - len(seen) + at + 2)
        elif self._held_octets > MAX_HEADER_OCTETS + 4:
            self.begin(b"".join(self._held), self._held_octets)

    @property
    def fields(self) -> SignedFields | None:
        """The fields, once the header is whole; keys can be looked up while the body still comes."""
        return self._fields if self._body is not None else None

    @property
    def found(self) -> tuple[FoundSignature, ...]:
        """The signatures that are looked at, once the header is whole; none before."""
        return self._found

    def finish(self) -> HashedMessage:
        """The message is whole; one without an empty line is a header alone."""
        if self._body is None:
            self.begin(b"".join(self._held), self._held_octets)
        bodies = self._body.finish() if self._body is not None else BodyHashes({}, {})
        skipped = max(0, self._fields.count(b"dkim-signature") - len(self._found))
        return HashedMessage(self._fields, self._found, skipped, bodies, self._too_long)

    def begin(self, octets: bytes, end: int) -> None:
        """The header, and what came of the body, in place of the first ``feed``: for who found out where the header ends.

        :param octets: all so far.
        :param end: of the last field, with its line end, before the empty line; 0: there is none.
        """
        self._held.clear()
        self._too_long = end > MAX_HEADER_OCTETS
        if not self._too_long:
            self._fields = SignedFields(Header.parse_once(octets[: end or 2]))
            self._found = find_signatures(self._fields)
        forms = [*self.also, *arc_body_forms(self._fields)]
        forms += [
            found.signature.body_form
            for found in self._found
            if isinstance(found.signature, Signature) and found.signature.algorithm in ALGORITHMS
        ]
        self._body = BodyHasher(forms)
        if len(octets) > end + 2:
            self._body.feed(octets[end + 2 :])
