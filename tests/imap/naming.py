"""What a client believes of the names of mailboxes that it watches (RFC 5465 sections 5.4 and 5.5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from attrs import define, field

from tests.imap.told import modified_utf7

_LIST = re.compile(r'\* LIST \(([^)]*)\) "/" (\S+)(?: \("OLDNAME" \((\S+)\)\))?')
_ENDS = re.compile(r"(OK|NO|BAD)\b|\+ idling")

#: Whether there is such a mailbox, and whether it is subscribed; None: the client does not know.
Belief = tuple[bool | None, bool | None]


@define(eq=False)
class Names:
    """What one client makes of the LIST responses that NOTIFY sends.

    @ivar wanted: the events that are wanted of a name, at the last push: of C{MailboxName} and C{SubscriptionChange}.
    @ivar look: by name, of all that there may be: whether there is such a mailbox, and whether it is subscribed.
    @ivar truth: at the last look.
    """

    wanted: Callable[[str], Collection[str]]
    look: Callable[[], dict[str, tuple[bool, bool]]]
    truth: dict[str, tuple[bool, bool]] = field(init=False)
    _believed: dict[str, Belief] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.truth = self.look()
        self._believed = {**self.truth}

    def did(self, words: Sequence[str]) -> None:
        """The client itself did something, with success: C{CREATE}, C{RENAME} and so on, and names; or nothing."""
        self._forget()
        self.truth = self.look()
        if not words:
            return
        names = [name for word in words[1:] if (name := self._name(word)) is not None]
        if words[0] == "RENAME" and len(names) == 2 and names[0] != "INBOX":
            self._moved(*names)
        if words[0] in {"SUBSCRIBE", "UNSUBSCRIBE"}:
            # Whether there is such a mailbox it does not learn from that.
            self._believed.update((name, (self._believed[name][0], self.truth[name][1])) for name in names)
            return
        self._believed.update((name, self.truth[name]) for name in names)
        if words[0] in {"CREATE", "RENAME"}:
            # RFC 9051 section 6.3.4: what is above is made as well.
            above = [name for name in self.truth if names and names[-1].startswith(name + "/")]
            self._believed.update((name, self.truth[name]) for name in above)

    def _moved(self, old: str, new: str) -> None:
        """With all that is below it. Whether the subscriptions go with the mailboxes is the server's to decide."""
        for name in self.truth:
            if name == old or name.startswith(old + "/"):
                there, _ = self._believed[name]
                self._believed[name] = (False, None)
                if there is not False and (now := new + name[len(old) :]) in self.truth:
                    self._believed[now] = (there, None)

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
            if name is None:
                # Such as what was below a renamed mailbox, and went before that.
                assert "\\NonExistent" in found[1], line
                continue
            assert name not in told, f"{name} twice: {said}"
            assert self.wanted(name) or (old and self.wanted(old)), f"nobody asked: {line}"
            told.add(name)
            exists, subscribed = "\\NonExistent" not in found[1], "\\Subscribed" in found[1]
            assert (exists, subscribed) == self.truth[name], f"not so: {line}"
            if exists:
                below = any(
                    there and other.startswith(name + "/") for other, (there, _) in self.truth.items()
                )
                assert ("\\HasChildren" in found[1]) == below, f"not so: {line}"
            if old is not None:
                self._moved(old, name)
            self._believed[name] = (exists, subscribed)
        return rest

    def _forget(self) -> None:
        """What changed while nobody watched it is not known."""
        for name, before in self.truth.items():
            believed = self._believed[name]
            if believed[0] not in {None, before[0]}:
                believed = (None, believed[1])
            if believed[1] not in {None, before[1]}:
                believed = (believed[0], None)
            self._believed[name] = believed

    def _name(self, written: str | None) -> str | None:
        if written is None:
            return None
        return next((n for n in self.truth if written.strip('"') in {n, modified_utf7(n)}), None)

    def wrong(self) -> list[str]:
        """The watched names of which the client does not believe what is so."""
        found = []
        for name, truth in self.truth.items():
            for n, event in enumerate(("MailboxName", "SubscriptionChange")):
                if event in self.wanted(name) and self._believed[name][n] not in {None, truth[n]}:
                    found.append(f"{event} {name}: {truth[n]}")
        return found
