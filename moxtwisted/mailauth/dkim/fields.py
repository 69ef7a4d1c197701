"""Which fields of a header a signature covers, and in which form they are hashed (RFC 6376 sections 3.7 and 5.4.2).

::

    fields = SignedFields(Header.parse(octets))
    fields.octets((b"from", b"from", b"subject"), Canonicalization.RELAXED)

One object serves all signatures of a message: each field is made relaxed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field

from moxtwisted.mailauth.dkim.canonical import Canonicalization, relaxed_field
from moxtwisted.message.headers import Header

__all__ = ["SignedFields"]


@define(eq=False)
class SignedFields:
    """The fields of a header, ready to be hashed."""

    header: Header
    _positions: dict[bytes, list[int]] = field(factory=dict, init=False)
    _relaxed: dict[int, bytes] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        positions = self._positions
        for i, (_, name) in enumerate(self.header.fields):
            known = positions.get(name)
            if known is None:
                positions[name] = [i]
            else:
                known.append(i)

    def raw(self, position: int) -> bytes:
        """A field as it stands in the message, with a line end also if it is the last and has none."""
        raw = self.header.fields[position][0]
        return raw if raw.endswith(b"\n") else raw.removesuffix(b"\r") + b"\r\n"

    def relaxed(self, position: int) -> bytes:
        """A field in relaxed form."""
        known = self._relaxed.get(position)
        if known is None:
            known = self._relaxed[position] = relaxed_field(self.header.fields[position][0])
        return known

    def positions(self, name: bytes) -> list[int]:
        """Where the fields of a lower-case name stand, from the top."""
        return self._positions.get(name, [])

    def octets(self, names: Iterable[bytes], form: Canonicalization, *, without: int = -1) -> bytes:
        """What is hashed of the header for a list of names.

        RFC 6376 section 5.4.2: of several fields with a name the last is taken first; a name with no field left adds nothing, which is how
        a signer makes sure that none is added later.

        :param without: the position of the signature itself, which never covers itself.
        """
        left: dict[bytes, int] = {}
        chosen: list[bytes] = []
        make = self.relaxed if form is Canonicalization.RELAXED else self.raw
        for name in names:
            known = self._positions.get(name)
            if known is None:
                continue
            i = left.get(name, len(known)) - 1
            if i >= 0 and known[i] == without:
                i -= 1
            left[name] = max(i, 0)
            if i >= 0:
                chosen.append(make(known[i]))
        return b"".join(chosen)

    def itself(self, position: int, form: Canonicalization, empty: Callable[[bytes], bytes]) -> bytes:
        """A signature's own field as it is hashed last: without its value and without its line end.

        :param empty: takes the value out of a raw field.
        """
        raw = empty(self.raw(position))
        if form is Canonicalization.RELAXED:
            raw = relaxed_field(raw)
        # RFC 6376 section 3.7: the last field is hashed without its CRLF.
        return raw.removesuffix(b"\n").removesuffix(b"\r")
