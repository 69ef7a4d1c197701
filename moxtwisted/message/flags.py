"""Flags of a message: the system flags as bits, the keywords as names.

Messages of a mailbox share few combinations, so every combination is one object:
``MessageFlags.of(SEEN, ("$forwarded",)) is MessageFlags.of(SEEN, ("$Forwarded",))`` may be
compared by identity and used as a key for what was rendered from it::

    flags = MessageFlags.parse(["\\\\Seen", "$Forwarded"])
    flags.system == SEEN
    flags.names == ("\\\\Seen", "$Forwarded")
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from weakref import WeakValueDictionary

from attrs import field, frozen

__all__ = ["ANSWERED", "DELETED", "DRAFT", "FLAGGED", "NO_FLAGS", "SEEN", "SYSTEM_FLAGS", "MessageFlags"]

# The numbers are kept in the store: never renumber.
SEEN: Final = 1
ANSWERED: Final = 2
FLAGGED: Final = 4
DELETED: Final = 8
DRAFT: Final = 16

#: RFC 9051 section 2.3.2: the system flags that a client can set; ``\Recent`` is obsolete and never kept.
SYSTEM_FLAGS: Final = {
    SEEN: "\\Seen",
    ANSWERED: "\\Answered",
    FLAGGED: "\\Flagged",
    DELETED: "\\Deleted",
    DRAFT: "\\Draft",
}
_BITS: Final = {name.lower(): bit for bit, name in SYSTEM_FLAGS.items()}

# RFC 9051 section 2.3.2 and the IANA registry: keywords are compared without case; these are written so.
_SPELLING: Final = {
    name.lower(): name
    for name in (
        "$Forwarded",
        "$MDNSent",
        "$Junk",
        "$NotJunk",
        "$Phishing",
        "$Important",
        "$SubmitPending",
        "$Submitted",
    )
}


@frozen(slots=True, weakref_slot=True, eq=False)
class MessageFlags:
    """One combination of flags; make it with ``of`` or ``parse``, which return the one object for it.

    :ivar system: the sum of SEEN, ANSWERED, FLAGGED, DELETED, DRAFT.
    :ivar keywords: names, sorted without case and unique without case.
    """

    system: int
    keywords: tuple[str, ...] = field(default=())

    @staticmethod
    def of(system: int, keywords: Iterable[str] = ()) -> MessageFlags:
        """The object for these system bits and keywords (any order and case)."""
        spelled = {k.lower(): _SPELLING.get(k.lower(), k) for k in keywords}
        key = (system, tuple(spelled[k] for k in sorted(spelled)))
        known = _KNOWN.get(key)
        if known is None:
            known = _KNOWN[key] = MessageFlags(*key)
        return known

    @staticmethod
    def parse(names: Iterable[str]) -> MessageFlags:
        """From names as IMAP writes them, system flags with their backslash.

        :raises ValueError: for a name with a backslash that is no system flag.
        """
        system, keywords = 0, []
        for name in names:
            if name.startswith("\\"):
                bit = _BITS.get(name.lower())
                if bit is None:
                    raise ValueError(f"no such system flag: {name}")
                system |= bit
            else:
                keywords.append(name)
        return MessageFlags.of(system, keywords)

    @property
    def names(self) -> tuple[str, ...]:
        """All flags by name, system flags first."""
        return tuple(n for bit, n in SYSTEM_FLAGS.items() if self.system & bit) + self.keywords

    def adding(self, other: MessageFlags) -> MessageFlags:
        """These and the other's."""
        return MessageFlags.of(self.system | other.system, self.keywords + other.keywords)

    def removing(self, other: MessageFlags) -> MessageFlags:
        """These without the other's."""
        gone = {k.lower() for k in other.keywords}
        return MessageFlags.of(
            self.system & ~other.system, tuple(k for k in self.keywords if k.lower() not in gone)
        )


_KNOWN: WeakValueDictionary[tuple[int, tuple[str, ...]], MessageFlags] = WeakValueDictionary()
NO_FLAGS: Final = MessageFlags.of(0)
