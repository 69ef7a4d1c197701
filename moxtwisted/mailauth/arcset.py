"""The three fields that each ARC participant adds, read (RFC 8617 section 4).

::

    sets = parse_sets(fields)               # from instance 1 up; empty when there are none
    sets[-1].seal.domain, sets[-1].seal.chain_status        # "example.org", "pass"
    sets[0].results                         # what stands behind "i=1;" in ARC-Authentication-Results

``ArcSyntaxError`` says which set is broken; that alone makes the chain fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from attrs import frozen

from moxtwisted.errors import MailError
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.fields import SignedFields
from moxtwisted.mailauth.dkim.signature import (
    ALGORITHMS,
    parse_algorithm,
    parse_place,
    parse_signed,
    parse_signer,
)
from moxtwisted.mailauth.dkim.tags import TagList, TagListError

__all__ = [
    "MAX_SETS",
    "ArcMessageSignature",
    "ArcSeal",
    "ArcSet",
    "ArcSyntaxError",
    "arc_body_forms",
    "parse_sets",
]

#: RFC 8617 section 4.2.1: instances go from 1 to 50.
MAX_SETS: Final = 50
RESULTS: Final = b"arc-authentication-results"
SIGNATURE: Final = b"arc-message-signature"
SEAL: Final = b"arc-seal"

# RFC 8617 section 4.1.1: the instance comes first, then a semicolon and what an Authentication-Results would say.
_INSTANCE: Final = re.compile(rb"[ \t\r\n]*+i[ \t\r\n]*+=[ \t\r\n]*+([0-9]{1,2})[ \t\r\n]*+;")
# Four years before ARC was thought of to the year 33658.
_TIME_DIGITS: Final = 12


class ArcSyntaxError(MailError):
    """A set is not whole, or one of its fields cannot be read.

    :ivar instance: of the set; 0 when that is not known.
    :ivar problem: what is wrong with it.
    """

    reply_code = 550
    enhanced_code = "5.7.29"
    public_text = "ARC chain cannot be read"

    def __init__(self, instance: int, problem: str) -> None:
        self.instance, self.problem = instance, problem
        super().__init__(f"i={instance}: {problem}" if instance else problem)


@frozen
class ArcMessageSignature:
    """An ARC-Message-Signature; the attributes are those of ``dkim.signature.Signature``."""

    position: int
    algorithm: str
    domain: str
    selector: str
    signed_headers: tuple[bytes, ...]
    body_hash: bytes
    value: bytes
    header_form: Canonicalization
    body_form: BodyForm
    signed_at: int | None


@frozen
class ArcSeal:
    """An ARC-Seal.

    :ivar chain_status: ``cv=``, ``"none"``, ``"pass"`` or ``"fail"``: what the sealer made of the chain below.
    """

    position: int
    algorithm: str
    domain: str
    selector: str
    value: bytes
    chain_status: str
    signed_at: int | None


@frozen
class ArcSet:
    """What one participant added.

    :ivar instance: from 1.
    :ivar results_position: where ARC-Authentication-Results stands.
    :ivar results: its value behind the instance, as it stands.
    """

    instance: int
    results_position: int
    results: bytes
    signature: ArcMessageSignature
    seal: ArcSeal


def _value(fields: SignedFields, position: int) -> bytes:
    return fields.raw(position).partition(b":")[2]


def _instance(tags: TagList) -> int:
    number = tags.number(b"i", digits=2)
    if number is None or not 1 <= number <= MAX_SETS:
        raise tags.wrong(b"i", f"no instance from 1 to {MAX_SETS}")
    return number


def _signature(tags: TagList, position: int) -> ArcMessageSignature:
    # RFC 8617 section 4.1.2 takes the tags from DKIM, where a missing c= is simple. We take it for relaxed, as the published suite and
    # the validators in use do.
    signer = parse_signer(tags, canonicalization=b"relaxed/relaxed")
    body_hash, signed_headers, value = parse_signed(tags, signer)
    if signer.algorithm not in ALGORITHMS:
        raise tags.wrong(b"a", "outdated")
    # RFC 8617 section 4.1.2: seals are not covered, since each seal comes after the signature.
    if SEAL in signed_headers:
        raise tags.wrong(b"h", "covers ARC-Seal")
    length = tags.number(b"l", digits=76)
    return ArcMessageSignature(
        position=position,
        algorithm=signer.algorithm,
        domain=signer.domain,
        selector=signer.selector,
        signed_headers=signed_headers,
        body_hash=body_hash,
        value=value,
        header_form=signer.header_form,
        body_form=BodyForm(signer.body_form.canonicalization, length),
        signed_at=tags.number(b"t", digits=_TIME_DIGITS),
    )


def _seal(tags: TagList, position: int) -> ArcSeal:
    # RFC 8617 section 4.1.3: what a seal covers is fixed; with h= the chain fails.
    for name in (b"h", b"bh", b"c", b"l"):
        if name in tags.values:
            raise tags.wrong(name, "not for seals")
    algorithm = parse_algorithm(tags)
    if algorithm not in ALGORITHMS:
        raise tags.wrong(b"a", "outdated")
    status = tags.required(b"cv").decode("latin-1")
    if status not in {"none", "pass", "fail"}:
        raise tags.wrong(b"cv", "not none, pass or fail")
    domain, selector = parse_place(tags)
    return ArcSeal(
        position=position,
        algorithm=algorithm,
        domain=domain,
        selector=selector,
        value=tags.base64(b"b"),
        chain_status=status,
        signed_at=tags.number(b"t", digits=_TIME_DIGITS),
    )


def _results(fields: SignedFields) -> dict[int, tuple[int, bytes]]:
    found: dict[int, tuple[int, bytes]] = {}
    for position in fields.positions(RESULTS):
        value = _value(fields, position)
        start = _INSTANCE.match(value)
        instance = int(start[1]) if start is not None else 0
        if start is None or not 1 <= instance <= MAX_SETS or instance in found:
            raise ArcSyntaxError(instance, "ARC-Authentication-Results: no instance, or twice")
        found[instance] = position, value[start.end() :]
    return found


def _parsed(fields: SignedFields, name: bytes, read: Any) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for position in fields.positions(name):
        instance = 0
        try:
            tags = TagList.parse(_value(fields, position))
            instance = _instance(tags)
            if instance in found:
                raise tags.wrong(b"i", "twice")
            found[instance] = read(tags, position)
        except TagListError as e:
            raise ArcSyntaxError(instance, f"{name.decode()}: {e.detail}") from e
    return found


def parse_sets(fields: SignedFields) -> tuple[ArcSet, ...]:
    """The sets of a header, from instance 1 up.

    :raises ArcSyntaxError: when they are not complete (RFC 8617 section 5.2, step 3), or over ``MAX_SETS``.
    """
    counts = [fields.count(name) for name in (RESULTS, SIGNATURE, SEAL)]
    if not any(counts):
        return ()
    if max(counts) > MAX_SETS:
        raise ArcSyntaxError(0, f"more than {MAX_SETS} sets")
    results = _results(fields)
    signatures = _parsed(fields, SIGNATURE, _signature)
    seals = _parsed(fields, SEAL, _seal)
    sets = []
    for instance in range(1, max(counts) + 1):
        if instance not in results or instance not in signatures or instance not in seals:
            raise ArcSyntaxError(instance, "not all three fields are there")
        position, value = results[instance]
        sets.append(ArcSet(instance, position, value, signatures[instance], seals[instance]))
    return tuple(sets)


def arc_body_forms(fields: SignedFields) -> Iterable[BodyForm]:
    """The forms of the body that a chain's signatures hash; none when the chain cannot be read."""
    names = fields.header.values
    if SIGNATURE not in names and SEAL not in names and RESULTS not in names:
        return ()
    try:
        return tuple(found.signature.body_form for found in parse_sets(fields))
    except ArcSyntaxError:
        return ()
