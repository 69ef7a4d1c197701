"""Proofs that something is not there: NSEC (RFC 4035 section 5.4) and NSEC3 (RFC 5155 section 8).

::

    denial = Denial("example", [("a.example", NSEC("d.example", frozenset({1})))], [])
    denial.no_name("b.example")           # Proof.PROVED: nothing between a and d, and no *.example either?
    denial.no_type("a.example", 15)       # Proof.PROVED: there is A, and no MX

The records given have been verified: signed by the zone, and not expanded from a wildcard. ``Proof.NONE`` means that they do not
prove it; the answer is bogus then. ``Proof.OPT_OUT``: a span where names may be that are not signed (RFC 5155 section 6), so the
absence is insecure.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from enum import Enum
from typing import Final

from attrs import define, field

from moxtwisted.dns.names import ancestors, from_labels, labels, to_wire, within
from moxtwisted.dns.records import NSEC, NSEC3

__all__ = ["Cut", "Denial", "Proof"]

_NS, _CNAME, _SOA, _DNAME, _DS = 2, 5, 6, 39, 43

# RFC 9276 section 3.2: above some number of iterations an answer may be taken as insecure. Zones should have 0; 100 is what
# resolvers agreed on in 2021.
_MAX_ITERATIONS: Final = 100
_BASE32HEX = bytes.maketrans(b"0123456789abcdefghijklmnopqrstuv", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


class Proof(Enum):
    """What the records come to."""

    NONE = "none"
    PROVED = "proved"
    OPT_OUT = "opt-out"


class Cut(Enum):
    """What is at a name, where no DS record is."""

    NONE = "none"
    INSIDE = "inside"
    INSECURE = "insecure"


def _order(name: str) -> tuple[bytes, ...]:
    """RFC 4034 section 6.1: names are sorted by their labels, the last one first."""
    return tuple(reversed(labels(name)))


def _child(name: str, above: str) -> str:
    """The ancestor of a name that is just below another one: the "next closer name" of RFC 5155."""
    own = labels(name)
    return from_labels(own[len(own) - len(labels(above)) - 1 :])


def _wildcard(above: str) -> str:
    return from_labels([b"*", *labels(above)])


def _is_delegation(types: frozenset[int]) -> bool:
    return _NS in types and _SOA not in types


def _hides(types: frozenset[int]) -> bool:
    """RFC 6840 section 4.1: of what is below a delegation or a DNAME, the zone above says nothing."""
    return _is_delegation(types) or _DNAME in types


def _lacks(types: frozenset[int], code: int) -> bool:
    """Whether the types at a name show that one is not there (RFC 6840 sections 4.1 and 4.3)."""
    if code in types or _CNAME in types:
        return False
    # Of a delegation there are two: the parent's knows of DS alone, the child's of all but DS.
    return _SOA not in types if code == _DS else not _is_delegation(types)


@define
class Denial:
    """The verified NSEC and NSEC3 records of an answer, with the names where they stand."""

    zone: str
    nsecs: Sequence[tuple[str, NSEC]]
    nsec3s: Sequence[tuple[str, NSEC3]]
    _hashed: dict[bytes, tuple[bytes, NSEC3]] = field(init=False, factory=dict)
    _salt: bytes = field(init=False, default=b"")
    _iterations: int = field(init=False, default=0)
    _known: dict[str, bytes] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        for owner, nsec3 in self.nsec3s:
            # RFC 5155 sections 8.1 and 8.2: unknown algorithms and flags are ignored, and all must have the same parameters.
            if nsec3.hash_algorithm != 1 or nsec3.flags > 1 or len(nsec3.next_hash) != 20:
                continue
            if not self._hashed:
                self._salt, self._iterations = nsec3.salt, nsec3.iterations
            elif (nsec3.salt, nsec3.iterations) != (self._salt, self._iterations):
                continue
            first, *rest = labels(owner)
            if from_labels(rest) != self.zone or len(first) != 32:
                continue
            try:
                digest = base64.b32decode(first.translate(_BASE32HEX))
            except ValueError:
                continue
            self._hashed[digest] = (digest, nsec3)

    @property
    def too_costly(self) -> bool:
        """Whether there are only NSEC3 records with more iterations than we compute; they prove nothing, the zone is as if unsigned."""
        return bool(self._hashed) and self._iterations > _MAX_ITERATIONS

    def no_type(self, name: str, code: int) -> Proof:
        """That a name, which exists or is made by a wildcard, has no records of a type."""
        if self._hashed:
            return self._no_type_hashed(name, code)
        for owner, nsec in self.nsecs:
            if owner == name:
                return Proof.PROVED if _lacks(nsec.types, code) else Proof.NONE
        encloser = self._encloser(name)
        if encloser is None:
            return Proof.NONE
        if encloser == name:
            # An empty non-terminal: no records at all, but names below.
            return Proof.PROVED
        for owner, nsec in self.nsecs:
            if owner == _wildcard(encloser) and _lacks(nsec.types, code):
                return Proof.PROVED
        return Proof.NONE

    def no_name(self, name: str) -> Proof:
        """That there is no such name, and no wildcard for it."""
        if self._hashed:
            found = self._closest(name)
            if found is None:
                return Proof.NONE
            encloser, covering = found
            if self._covering(_wildcard(encloser)) is None:
                return Proof.NONE
            return Proof.OPT_OUT if covering.flags & 1 else Proof.PROVED
        above = self._encloser(name)
        if above is None or above == name:
            return Proof.NONE
        # The wildcard must be missing too, and not merely be without records.
        return Proof.PROVED if self._encloser(_wildcard(above)) == above else Proof.NONE

    def no_closer(self, name: str, label_count: int) -> Proof:
        """That a wildcard below the last ``label_count`` labels of a name was rightly used for it (RFC 4035 section 5.3.4)."""
        own = labels(name)
        encloser = from_labels(own[len(own) - label_count :])
        if self._hashed:
            covering = self._covering(_child(name, encloser))
            if covering is None:
                return Proof.NONE
            return Proof.OPT_OUT if covering.flags & 1 else Proof.PROVED
        return Proof.PROVED if self._encloser(name) == encloser else Proof.NONE

    def cut(self, name: str) -> Cut:
        """Whether a name without DS is a delegation to a zone that is not signed (RFC 4035 section 5.2; RFC 5155 section 8.9)."""
        types = self._types_at(name)
        if types is not None:
            if _DS in types or _SOA in types:
                return Cut.NONE
            return Cut.INSECURE if _NS in types else Cut.INSIDE
        if self._hashed:
            found = self._closest(name)
            if found is None:
                return Cut.NONE
            return Cut.INSECURE if found[1].flags & 1 else Cut.INSIDE
        return Cut.INSIDE if self._encloser(name) is not None else Cut.NONE

    def _types_at(self, name: str) -> frozenset[int] | None:
        if self._hashed:
            match = self._hashed.get(self._hash(name))
            return match[1].types if match else None
        return next((nsec.types for owner, nsec in self.nsecs if owner == name), None)

    def _encloser(self, name: str) -> str | None:
        """The closest encloser of a name that an NSEC record shows to have no records: the name itself if others are below it."""
        where = _order(name)
        for owner, nsec in self.nsecs:
            begin, end = _order(owner), _order(nsec.next_name)
            # The last record of a zone has its apex as next name.
            inside = begin < where < end if begin < end else begin < where
            if not inside or not within(name, self.zone):
                continue
            if within(name, owner) and _hides(nsec.types):
                continue
            shared = max(_shared(where, begin), _shared(where, end))
            return from_labels(list(reversed(where[:shared])))
        return None

    def _hash(self, name: str) -> bytes:
        """RFC 5155 section 5."""
        known = self._known.get(name)
        if known is None:
            known = to_wire(name)
            for _ in range(min(self._iterations, _MAX_ITERATIONS) + 1):
                known = hashlib.sha1(known + self._salt, usedforsecurity=False).digest()
            self._known[name] = known
        return known

    def _covering(self, name: str) -> NSEC3 | None:
        """The record in whose span the hash of a name lies."""
        digest = self._hash(name)
        for begin, nsec3 in self._hashed.values():
            end = nsec3.next_hash
            if begin < digest < end or (end <= begin and (digest > begin or digest < end)):
                return nsec3
        return None

    def _closest(self, name: str) -> tuple[str, NSEC3] | None:
        """RFC 5155 section 8.3: the closest encloser, and the record that shows that the next closer name is not there."""
        following = ""
        for candidate in ancestors(name):
            match = self._hashed.get(self._hash(candidate))
            if match is not None:
                if not following or _hides(match[1].types):
                    return None
                covering = self._covering(following)
                return None if covering is None else (candidate, covering)
            if candidate == self.zone:
                return None
            following = candidate
        return None

    def _no_type_hashed(self, name: str, code: int) -> Proof:
        match = self._hashed.get(self._hash(name))
        if match is not None:
            return Proof.PROVED if _lacks(match[1].types, code) else Proof.NONE
        found = self._closest(name)
        if found is None:
            return Proof.NONE
        encloser, covering = found
        wildcard = self._hashed.get(self._hash(_wildcard(encloser)))
        if wildcard is not None and not _lacks(wildcard[1].types, code):
            return Proof.NONE
        if covering.flags & 1:
            # RFC 5155 section 8.6: a delegation that is not signed, or a name above one.
            return Proof.OPT_OUT
        return Proof.PROVED if wildcard is not None else Proof.NONE


def _shared(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
