"""What a client believes of the names of mailboxes that it watches (RFC 5465 sections 5.4 and 5.5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from attrs import define, field

from tests.imap.told import modified_utf7

_LIST = re.compile(r'\* LIST \(([^)]*)\) "/" (\S+)(?: \("OLDNAME" \((\S+)\)\))?')
_ENDS = re.compile(r"(OK|NO|BAD)\b|\+ idling")


@define(eq=False)
class Names:
    """What one client makes of the LIST responses that NOTIFY sends.

    @ivar universe: all names that there may be.
    @ivar watched: those that the client watches.
    @ivar events: of them, C{MailboxName} or C{SubscriptionChange} or both.
    @ivar truth: of a name: whether there is such a mailbox, and whether it is subscribed.
    """

    universe: Sequence[str]
    watched: frozenset[str]
    events: frozenset[str]
    truth: Callable[[str], tuple[bool, bool]]
    _believed: dict[str, tuple[bool, bool | None]] = field(factory=dict)

    def learn(self, words: Iterable[str]) -> None:
        """The client looks, or did something itself to those names that are among these words."""
        self._believed.update(
            (name, self.truth(name)) for word in words if (name := self._name(word)) is not None
        )

    def take(self, said: Sequence[str]) -> list[str]:
        """Believe what is said behind the end of the command; the other responses."""
        start = next((n for n in reversed(range(len(said))) if _ENDS.match(said[n])), -1) + 1
        rest, told = list(said[:start]), set()
        for line in said[start:]:
            found = _LIST.fullmatch(line)
            if found is None:
                rest.append(line)
                continue
            name, old = self._name(found[2]), self._name(found[3])
            assert name is not None, line
            assert name not in told, f"{name} twice: {said}"
            assert not self.watched.isdisjoint({name, old}), f"nobody asked: {line}"
            told.add(name)
            there, subscribed = "\\NonExistent" not in found[1], "\\Subscribed" in found[1]
            assert (there, subscribed) == self.truth(name), f"not so: {line}"
            if old is not None:
                # Whether the subscription goes with the mailbox is the server's to decide.
                self._believed[old] = (False, None)
            self._believed[name] = (there, subscribed)
        return rest

    def _name(self, written: str | None) -> str | None:
        if written is None:
            return None
        return next((n for n in self.universe if written.strip('"') in {n, modified_utf7(n)}), None)

    def wrong(self) -> list[str]:
        """The watched names of which the client does not believe what is so."""
        found = []
        for name in self.watched:
            for n, event in enumerate(("MailboxName", "SubscriptionChange")):
                if event in self.events and self._believed[name][n] not in {None, self.truth(name)[n]}:
                    found.append(f"{event} {name}: {self.truth(name)[n]}")
        return found
