"""Which fields of a header a signature covers, and in which form they are hashed (RFC 6376 sections 3.7 and 5.4.2).

::

    fields = SignedFields(Header.parse(octets))
    fields.octets((b"from", b"from", b"subject"), Canonicalization.RELAXED)

One object serves all signatures of a message: each field is made relaxed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from attrs import define, field

from moxtwisted.mailauth.dkim.canonical import Canonicalization, relaxed_field
from moxtwisted.message.headers import Header

__all__ = ["SignedFields"]

#: Lists of names up to this length are remembered once they were read.
_REMEMBERED_NAMES: Final = 64


def _turns(names: tuple[bytes, ...]) -> tuple[tuple[bytes, int], ...]:
    """Each name, and how often it was there so far, this time among them."""
    seen: dict[bytes, int] = {}
    turns = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        turns.append((name, seen[name]))
    return tuple(turns)


_turns_remembered = lru_cache(maxsize=256)(_turns)


@define(eq=False)
class SignedFields:
    """The fields of a header, ready to be hashed."""

    header: Header
    # By position, or by the name and the turn from below.
    _relaxed: dict[int | tuple[bytes, int], bytes] = field(factory=dict, init=False)
    # Whether each CR and LF is half of a line end, and split() takes nothing for white space that is none here.
    _usual: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        octets = self.header.octets
        ends = octets.count(b"\n")
        self._usual = (
            0x0B not in octets
            and 0x0C not in octets
            and octets.count(b"\r") == ends
            and octets.count(b"\r\n") == ends
        )

    def raw(self, position: int) -> bytes:
        """A field as it stands in the message, with a line end also if it is the last and has none."""
        raw = self.header.fields[position][0]
        return raw if raw.endswith(b"\n") else raw.removesuffix(b"\r") + b"\r\n"

    def relaxed(self, position: int) -> bytes:
        """A field in relaxed form."""
        if position in self._relaxed:
            return self._relaxed[position]
        raw, name = self.header.fields[position]
        usual = self._usual
        relaxed = (
            name + b":" + b" ".join(raw.partition(b":")[2].split()) + b"\r\n" if usual else relaxed_field(raw)
        )
        self._relaxed[position] = relaxed
        return relaxed

    def positions(self, name: bytes) -> list[int]:
        """Where the fields of a lower-case name stand, from the top."""
        if name not in self.header.values:
            return []
        return [i for i, (_, found) in enumerate(self.header.fields) if found == name]

    def count(self, name: bytes) -> int:
        """How many fields there are of a lower-case name."""
        return len(self.header.values.get(name, ()))

    def octets(self, names: Iterable[bytes], form: Canonicalization, *, without: int = -1) -> bytes:
        """What is hashed of the header for a list of names.

        RFC 6376 section 5.4.2: of several fields with a name the last is taken first; a name with no field left adds nothing, which is how
        a signer makes sure that none is added later.

        :param without: the position of the signature itself, which never covers itself.
        """
        wanted = tuple(names)
        turns = _turns_remembered(wanted) if len(wanted) <= _REMEMBERED_NAMES else _turns(wanted)
        relaxed = form is Canonicalization.RELAXED
        if not (relaxed and self._usual) or (without >= 0 and self.header.fields[without][1] in wanted):
            make = self.relaxed if relaxed else self.raw
            return b"".join([make(position) for position in self._chosen(turns, without)])
        values, made, lines = self.header.values, self._relaxed, []
        for turn in turns:
            name, nth = turn
            if name in values and nth <= len(values[name]):
                if turn not in made:
                    made[turn] = name + b":" + b" ".join(values[name][-nth].split()) + b"\r\n"
                lines.append(made[turn])
        return b"".join(lines)

    def _chosen(self, turns: Iterable[tuple[bytes, int]], without: int) -> Iterable[int]:
        """Where the fields stand that are hashed."""
        positions: dict[bytes, list[int]] = {}
        for i, (_, name) in enumerate(self.header.fields):
            if i != without:
                positions.setdefault(name, []).append(i)
        return [positions[name][-nth] for name, nth in turns if nth <= len(positions.get(name, ()))]

    def itself(self, position: int, form: Canonicalization, empty: Callable[[bytes], bytes]) -> bytes:
        """A signature's own field as it is hashed last: without its value and without its line end.

        :param empty: takes the value out of a raw field.
        """
        raw = empty(self.raw(position))
        if form is Canonicalization.RELAXED:
            if self._usual:
                return self.header.fields[position][1] + b":" + b" ".join(raw.partition(b":")[2].split())
            raw = relaxed_field(raw)
        # RFC 6376 section 3.7: the last field is hashed without its CRLF.
        return raw.removesuffix(b"\n").removesuffix(b"\r")
