r"""What an IMAP server has to say, worked out a second time: mail and sessions as simple as they can be.

L{Mail} is the mailboxes of one user; L{Session} is what one client was told. Each method of a session named as a command changes the
mail and gives all the responses that the client has to get, in order::

    session.store(False, [3], "+", {"\\Seen"})   # ["* 3 FETCH FLAGS (\Seen)", "OK"]

The numbers that a server is free to choose (mod-sequences, UIDVALIDITY, ids) are looked up in the real mail after each command, by
C{Mail.learn}, which checks that they are as free as they may be and no freer. Responses are compared as L{told.plain} has them: flags in
order, tagged ones without their tag and text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from tests.imap.kept import Items, Keeping, Kept
from tests.imap.noted import Change, Notes, chosen, written
from tests.imap.returning import answered, saved, window
from tests.imap.told import MaybeLine, compact, modified_utf7
from tests.imap.watching import Watch


@define(eq=False)
class Message:
    """One message in one mailbox."""

    octets: bytes
    flags: frozenset[str]
    modseq: int = 0


@define(eq=False)
class Box:
    """A mailbox.

    @ivar real: what the server has.
    @ivar removed: how many messages were ever removed.
    @ivar flagged: how often flags were ever changed.
    @ivar changed: UIDs whose mod-sequence is still to be learnt.
    @ivar expunged: (mod-sequence, UID); 0: still to be learnt.
    """

    real: Any
    uidvalidity: int
    uidnext: int = 1
    highest: int = 0
    messages: dict[int, Message] = field(factory=dict)
    expunged: list[tuple[int, int]] = field(factory=list)
    changed: set[int] = field(factory=set)
    exists: bool = True
    removed: int = 0
    flagged: int = 0

    def add(self, octets: bytes, flags: frozenset[str]) -> int:
        """Give a message the next UID."""
        uid = self.uidnext
        self.uidnext += 1
        self.messages[uid] = Message(octets, flags)
        self.changed.add(uid)
        return uid

    def remove(self, uids: Iterable[int]) -> None:
        """Take messages out."""
        for uid in uids:
            self.removed += 1
            del self.messages[uid]
            self.changed.discard(uid)
            self.expunged.append((0, uid))


@frozen
class Seen:
    """A mailbox when a session was told of it last."""

    uidnext: int
    removed: int
    flagged: int
    modseqs: dict[int, int]

    @classmethod
    def of(cls, box: Box) -> Seen:
        return cls(box.uidnext, box.removed, box.flagged, {u: m.modseq for u, m in box.messages.items()})


@define(eq=False)
class Mail:
    """The mailboxes of one user.

    @ivar real: the state of a mailbox as the server has it, by name; None if it has none.
    @ivar subscribed: whether a name is.
    @ivar subscriptions: all of them.
    @ivar floods: how often more happened at once than NOTIFY tells of.
    """

    real: Callable[[str], Any]
    subscribed: Callable[[str], bool]
    subscriptions: Callable[[], Iterable[str]]
    boxes: dict[str, Box] = field(factory=dict)
    modseq: int = 0
    uidvalidities: set[int] = field(factory=set)
    notes: Notes = field(factory=Notes)
    floods: int = 0

    def below(self, name: str) -> list[str]:
        """The mailboxes below a name."""
        return [other for other in self.boxes if other.startswith(name + "/")]

    def above(self, name: str) -> None:
        """Those above a new one are made as well (RFC 9051 section 6.3.4)."""
        parent = name.rpartition("/")[0]
        if parent and parent not in self.boxes:
            self.above(parent)
            self.known(parent)

    def known(self, name: str) -> Box:
        """Take in a mailbox that was there or has just been made."""
        real = self.real(name)
        assert real.uidvalidity > max(self.uidvalidities, default=0), name
        self.uidvalidities.add(real.uidvalidity)
        box = self.boxes[name] = Box(real, real.uidvalidity, real.uidnext, real.highestmodseq)
        return box

    def learn(self) -> None:
        """Everything is as the model says; take over the numbers that could not be foretold."""
        before = self.modseq
        for name, box in self.boxes.items():
            real = self.real(name)
            assert real is not None, name
            assert list(real.uids) == sorted(box.messages), (name, list(real.uids), sorted(box.messages))
            assert (real.uidnext, real.uidvalidity) == (box.uidnext, box.uidvalidity), name
            for uid, flags, modseq in zip(real.uids, real.flags, real.modseqs, strict=True):
                message = box.messages[uid]
                assert message.flags == frozenset(flags.names), (name, uid, flags.names, message.flags)
                if uid in box.changed:
                    assert before < modseq <= real.highestmodseq, (name, uid, before, modseq)
                    message.modseq = modseq
                else:
                    assert modseq == message.modseq, (name, uid, modseq, message.modseq)
            assert real.highestmodseq >= box.highest, name
            if box.changed or (box.expunged and not box.expunged[-1][0]):
                assert real.highestmodseq > before, name
            box.expunged = [(at or real.highestmodseq, uid) for at, uid in box.expunged]
            box.changed.clear()
            box.highest = real.highestmodseq
            self.modseq = max(self.modseq, box.highest)


@define(eq=False)
class Session:
    """One client and what it was told.

    @ivar known: UIDs by sequence number - 1, as the client believes.
    @ivar told: by UID the mod-sequence up to which it knows the flags.
    @ivar saved: UIDs of C{$}.
    @ivar notify: C{""}, or C{"SELECTED"} or C{"SELECTED-DELAYED"}, or C{"NONE"}, when nothing of the selected mailbox is told.
    @ivar new: messages that NOTIFY has still to tell of.
    @ivar own: what it added itself, and need not be told of by NOTIFY.
    @ivar complete: the mod-sequence up to which it was told everything.
    @ivar synced: that up to which it was told some of it.
    @ivar first: what the command's answer begins with.
    @ivar flags: whether NOTIFY tells of flags in the selected mailbox.
    @ivar spared: flags were not told, and will not be.
    @ivar watch: what NOTIFY tells of other mailboxes.
    @ivar seen: the mailboxes when NOTIFY told of them last.
    @ivar called: what they were called then, or what this session has called them since.
    @ivar subscribed: what was subscribed then.
    @ivar matched: that, and what was subscribed when NOTIFY told something last.
    @ivar keeping: searches of the selected mailbox that are kept up to date.
    @ivar most_kept: so many of them there may be.
    @ivar foresees: whether results are told to be shorter before messages are told to be gone, where these are not told at once.
    @ivar heard: how many changes of annotations it was told of after ENABLE METADATA.
    @ivar noticed: how many by NOTIFY.
    @ivar told_anyway: whether METADATA was enabled when NOTIFY told of them last.
    @ivar logged_in: whether somebody is.
    @ivar floods: how often more happened at once than NOTIFY tells of, when it told of other mailboxes last.
    @ivar most_new: of so many new messages NOTIFY tells data items at once.
    """

    mail: Mail
    enabled: set[str] = field(factory=set)
    box: Box | None = None
    name: str = ""
    read_only: bool = False
    idling: bool = False
    notify: str = ""
    known: list[int] = field(factory=list)
    told: dict[int, int] = field(factory=dict)
    saved: list[int] = field(factory=list)
    new: list[int] = field(factory=list)
    own: set[tuple[Box, int]] = field(factory=set)
    complete: int = 0
    synced: int = 0
    first: list[str] = field(factory=list)
    flags: bool = True
    spared: bool = False
    watch: Watch | None = None
    seen: dict[Box, Seen] = field(factory=dict)
    called: dict[Box, str] = field(factory=dict)
    subscribed: frozenset[str] = frozenset()
    matched: frozenset[str] = frozenset()
    keeping: Keeping = field(factory=Keeping)
    most_kept: int = 16
    foresees: bool = False
    heard: int = 0
    noticed: int = 0
    told_anyway: bool = False
    logged_in: bool = True
    floods: int = 0
    most_new: int = 10_000
    # With this watch, and what matched: what is wanted of a mailbox.
    _wanted_of: tuple[Watch | None, frozenset[str], dict[str, frozenset[str]]] = (None, frozenset(), {})

    # -- what is told unasked ----------------------------------------------------------------------------------
    @property
    def there(self) -> dict[int, Message]:
        """The messages of the selected mailbox."""
        return self.box.messages if self.box is not None and self.box.exists else {}

    def fetch_line(self, uid: int, *items: str) -> str:
        """An untagged FETCH; in the items C{UID}, C{FLAGS} and C{MODSEQ} get their values."""
        message = self.there[uid]
        values = {
            "UID": f"UID {uid}",
            "FLAGS": f"FLAGS ({' '.join(sorted(message.flags))})",
            "MODSEQ": f"MODSEQ ({message.modseq})",
            "RFC822.SIZE": f"RFC822.SIZE {len(message.octets)}",
            "BODY[]": f"BODY[] {{{len(message.octets)}}}\r\n{message.octets.decode('latin-1')}",
        }
        shown = " ".join(sorted(values[item] for item in items))
        if "UIDONLY" in self.enabled:
            return f"* {uid} UIDFETCH {shown}"
        return f"* {self.known.index(uid) + 1} FETCH {shown}"

    def changed_line(self, uid: int) -> str:
        """As other people's changes are told."""
        items = ["FLAGS"] if "UIDONLY" in self.enabled else ["UID", "FLAGS"]
        return self.fetch_line(uid, *items, *(["MODSEQ"] if "CONDSTORE" in self.enabled else []))

    def sync(self, *, expunge: bool) -> list[str]:
        """What happened in the selected mailbox."""
        if self.box is None or self.notify == "NONE":
            # RFC 5465 section 3.1: as if nothing happened, also where the client did it itself (section 5).
            return []
        there, lines, fresh = self.there, [], []
        last = self.known[-1] if self.known else 0
        gone = [n for n, uid in enumerate(self.known, 1) if uid not in there]
        if gone and expunge:
            lines += self.keeping.going([self.known[n - 1] for n in gone], self.known)
            if self.enabled & {"QRESYNC", "UIDONLY"}:
                lines.append("* VANISHED " + compact(self.known[n - 1] for n in gone))
            else:
                lines += [f"* {n} EXPUNGE" for n in reversed(gone)]
            self.known = [uid for uid in self.known if uid in there]
        flagged = [uid for uid in self.known if uid in there and there[uid].modseq != self.told[uid]]
        new = sorted(uid for uid in there if uid > last)
        if new:
            self.known += new
            lines.append(f"* {len(self.known)} EXISTS")
            fresh = [uid for uid in new if (self.box, uid) not in self.own]
            self.new += fresh if self.notify else []
        if self.flags:
            lines += [self.changed_line(uid) for uid in flagged]
        elif flagged:
            self.spared = True
        self.told = {uid: there[uid].modseq if uid in there else 0 for uid in self.known}
        self.synced = self.box.highest
        if not self.spared and all(uid in there for uid in self.known):
            self.complete = self.synced
        return lines + self.keeping.changed(there, self.known, new, fresh)

    def enable_condstore(self) -> None:
        """A command enables it: the first one is answered with the mod-sequence."""
        if "CONDSTORE" not in self.enabled and self.box is not None and self.box.exists:
            self.first.append(f"* OK [HIGHESTMODSEQ {self.complete}]")
        self.enabled.add("CONDSTORE")

    def enable(self, names: Sequence[str]) -> list[str]:
        """ENABLE, also when a mailbox is selected (RFC 5161 section 3.1 leaves it to the server); all names are known to it."""
        lines: list[str] = []
        told = [
            name for n, name in enumerate(names) if name.upper() not in self.enabled and name not in names[:n]
        ]
        for name in told:
            if name in {"CONDSTORE", "QRESYNC"}:
                self.enable_condstore()
            elif name == "METADATA":
                self.heard = len(self.mail.notes.changes)
            elif name == "UIDONLY":
                self.first += self.keeping.give_up_numbers()
            self.enabled.add(name.upper())
        lines.append(f"* ENABLED{''.join(' ' + name for name in told)}")
        return self.done(lines, "OK")

    def behind(self) -> list[str]:
        """What a client with QRESYNC must not forget when it reads higher mod-sequences."""
        box = self.box
        if box is None or not box.exists or "QRESYNC" not in self.enabled or self.complete >= box.highest:
            return []
        return [f"* OK [HIGHESTMODSEQ {self.complete}]"]

    def push(self, *, flushed: bool = False) -> list[str]:
        """What is told while no command is under way.

        @param flushed: whether that is because something happened, and not behind a command.
        """
        lines = []
        if (
            flushed
            and self.foresees
            and (self.notify not in {"", "NONE"} or (self.idling and not self.notify))
        ):
            gone = [u for u in self.known if u not in self.there]
            lines += self.keeping.going(gone, self.known)
        if self.notify and self.box is not None:
            lines += self.sync(expunge=self.idling or self.notify == "SELECTED")
        elif self.idling and not self.notify:
            lines += self.sync(expunge=True)
        if (
            self.idling
            or (self.notify and self.box is not None and self.notify != "NONE")
            or (self.watch and self.watch.any_notes)
        ):
            lines += self.news()
        overflow = len(self.new) > self.most_new or (
            self.watch is not None and self.floods < self.mail.floods
        )
        if self.notify:
            others = self.others()
            lines += ["* OK [NOTIFICATIONOVERFLOW]"] if overflow else others
        if overflow:
            # RFC 5465 section 5.8: as after NOTIFY NONE.
            self._end_notify()
        lines += self.evaluated()
        # What is kept back now is still the session's own when it is told.
        held = self.notify == "NONE" and bool(self.keeping.all)
        self.own = {(box, uid) for box, uid in self.own if held and box is self.box}
        return lines

    def evaluated(self) -> list[str]:
        """What the server finds out about kept results, and what it tells of new messages."""
        if not (self.new or self.keeping.pending):
            return []
        lines, later, wanted = self.keeping.evaluated(self.there, self.known)
        new: list[int] = []
        if len(self.new) <= self.most_new:
            new, self.new = self.new, new
        # RFC 5465 section 5.2 has results before data items, section 7 behind them: as long as NOTIFY has items to tell, the first.
        items: Items = {uid: {"UID", "FLAGS"} for uid in new}
        for uid, more in wanted.items():
            items[uid] = items.get(uid, set()) | more
        always = set() if "UIDONLY" in self.enabled else {"UID"}
        if "CONDSTORE" in self.enabled:
            always.add("MODSEQ")
        told = [
            self.fetch_line(uid, *(items[uid] | always))
            for uid in sorted(items)
            if uid in self.known and uid in self.there
        ]
        return [*lines, *later, *told] if new else [*lines, *told, *later]

    def news(self) -> list[str]:
        """RFC 5464 section 4.4.2: annotations that others changed, to who enabled METADATA."""
        if "METADATA" not in self.enabled:
            return []
        changed: dict[str, set[str]] = {}
        for change in self.mail.notes.by_others(self, self.heard):
            changed.setdefault(change.name, set()).update(change.entries)
        self.heard = len(self.mail.notes.changes)
        return [self._noted(name, entries) for name, entries in changed.items()]

    def _noted(self, name: str, entries: Iterable[str]) -> str:
        return f"* METADATA {self.shown(name)} {' '.join(sorted(entries))}"

    def shown(self, name: str) -> str:
        """The name of a mailbox, as it is written for this client; the empty one is the server."""
        if not name:
            return '""'
        if name.isascii():
            return name
        return f'"{name}"' if self.enabled & {"UTF8=ACCEPT", "IMAP4REV2"} else modified_utf7(name)

    def others(self) -> list[str]:
        """What NOTIFY tells of mailboxes that are not selected; where the backend is free to tell or not, a C{MaybeLine}."""
        watch, before = self.watch, self.seen
        if watch is None:
            return []
        called = self.called
        self.floods = self.mail.floods
        self._look()
        lines: list[str] = []
        for name, box in self.mail.boxes.items():
            events = self.wanted(name)
            if box is self.box or "MessageNew" not in events:
                continue
            was = before.get(box)
            least, most = self._kinds(box, was or Seen(1, 0, 0, {}))
            new = {"messages", "new mailbox"}
            if was is None:
                least = new
                most |= least
            elif called[box] != name:
                # RFC 5465 section 5.1: there is another UIDVALIDITY under this name; who is told of the rename knows that.
                most |= new
                if not self._told_of_rename(name, called):
                    least |= new
            if "FlagChange" not in events:
                least, most = least - {"flags"}, most - {"flags"}
            if most:
                free = sorted(most - least)
                choices: list[set[str]] = [
                    least | {k for n, k in enumerate(free) if bits >> n & 1} for bits in range(1 << len(free))
                ]
                lines.append(MaybeLine.of([self._news(name, box, kinds) for kinds in choices]))
        return lines + self._other_notes(watch)

    def _look(self) -> None:
        """What NOTIFY tells from now on happens after this."""
        self.seen = {box: Seen.of(box) for box in self.mail.boxes.values()}
        self.called = {box: name for name, box in self.mail.boxes.items()}
        if self.watch is not None and any(group.kind == "SUBSCRIBED" for group in self.watch.groups):
            # Which are so by themselves the server is free to choose.
            now = frozenset(
                "INBOX" if name.upper() == "INBOX" else name for name in self.mail.subscriptions()
            )
            # RFC 5465 section 6.4: what was unsubscribed, or went, was subscribed when that happened.
            self.matched, self.subscribed = self.subscribed | now, now

    def _told_of_rename(self, name: str, called: Mapping[Box, str]) -> bool:
        """Whether it is told of the rename that gave a mailbox this name, or of one above it (RFC 5465 section 5.4)."""
        old = called[self.mail.boxes[name]]
        while "MailboxName" not in self.wanted(name) | self.wanted(old):
            above, _, last = name.rpartition("/")
            old, _, old_last = old.rpartition("/")
            if last != old_last or not above or called.get(self.mail.boxes[above]) != old:
                return False
            name = above
        return True

    def wanted(self, name: str) -> frozenset[str]:
        """What is to be told of a mailbox that is not selected."""
        if self.watch is None:
            return frozenset()
        if self._wanted_of[0] is not self.watch or self._wanted_of[1] is not self.matched:
            self._wanted_of = self.watch, self.matched, {}
        found = self._wanted_of[2].get(name)
        if found is None:
            found = self._wanted_of[2][name] = self.watch.events(name, self.matched)
        return found

    def _other_notes(self, watch: Watch) -> list[str]:
        """RFC 5465 sections 5.6 and 5.7: changed annotations, of mailboxes as they are called now, in any order."""
        changes, self.noticed = self.mail.notes.by_others(self, self.noticed), len(self.mail.notes.changes)
        told_anyway, self.told_anyway = self.told_anyway, "METADATA" in self.enabled
        if told_anyway:
            return []
        names: dict[Any, str] = {box: name for name, box in self.mail.boxes.items()}
        changed: dict[str, set[str]] = {}
        for change in changes:
            event = "ServerMetadataChange" if change.box is None else "MailboxMetadataChange"
            name = "" if change.box is None else names.get(change.box)
            if name is None or event not in (self.wanted(name) if name else watch.all_events):
                continue
            changed.setdefault(name, set()).update(change.entries)
        return [MaybeLine.of([self._noted(name, entries)]) for name, entries in changed.items()]

    def _kinds(self, box: Box, was: Seen) -> tuple[set[str], set[str]]:
        """What happened in a mailbox: at least, and at most, for what came and went meanwhile may be told or not."""
        least, most = set(), set()
        new = [uid for uid in range(was.uidnext, box.uidnext) if (box, uid) not in self.own]
        if any(uid in box.messages for uid in new) or any(uid not in box.messages for uid in was.modseqs):
            least.add("messages")
        if new or box.removed > was.removed:
            most.add("messages")
        if any(uid in box.messages and box.messages[uid].modseq != at for uid, at in was.modseqs.items()):
            least.add("flags")
        if box.flagged > was.flagged:
            most.add("flags")
        return least, most

    def _news(self, name: str, box: Box, kinds: set[str]) -> str:
        if not kinds:
            return ""
        items = []
        if "messages" in kinds:
            items += [f"MESSAGES {len(box.messages)}", f"UIDNEXT {box.uidnext}"]
        if kinds & {"flags", "new mailbox"}:
            items += [f"UIDVALIDITY {box.uidvalidity}"]
        if "CONDSTORE" in self.enabled:
            items += [f"HIGHESTMODSEQ {box.highest}"]
        if "flags" in kinds:
            unseen = sum("\\Seen" not in m.flags for m in box.messages.values())
            items.append(f"UNSEEN {unseen}")
        return f"* STATUS {self.shown(name)} ({' '.join(items)})"

    def done(self, lines: list[str], tagged: str, *, expunge: bool = True) -> list[str]:
        """The end of a command."""
        lines = [*self.first, *lines, *self.sync(expunge=expunge)]
        self.first.clear()
        if self.keeping.pending:
            lines += self.evaluated()
        lines += self.news()
        if "[HIGHESTMODSEQ" not in tagged:
            lines += self.behind()
        return [*lines, tagged, *(self.push() if self.notify else [])]

    def refused(self, tagged: str = "BAD", *, expunge: bool = True) -> list[str]:
        """A command that does nothing."""
        return self.done([], tagged, expunge=expunge)

    def at_once(self, tagged: str) -> list[str]:
        """A command that is refused before all of it has come."""
        return [*self.behind(), tagged, *(self.push() if self.notify else [])]

    # -- the commands ------------------------------------------------------------------------------------------
    def chosen(self, uid: bool, numbers: Sequence[int]) -> list[int]:
        """UIDs that a command names, in the order of the mailbox; 0 is the star, and whoever is behind it; -1 the saved result."""
        wanted = set(numbers)
        if -1 in wanted:
            return [u for u in self.known if u in self.saved]
        if uid:
            return [u for u in self.known if u in wanted or (0 in wanted and u == self.known[-1])]
        return [
            u for n, u in enumerate(self.known, 1) if n in wanted or (0 in wanted and n == len(self.known))
        ]

    def _without_numbers(self, uid: bool) -> bool:
        return not uid and "UIDONLY" in self.enabled

    def _missing(self, uid: bool, numbers: Sequence[int]) -> bool:
        return not uid and (max(numbers, default=0) > len(self.known) or (0 in numbers and not self.known))

    def _highest(self) -> str:
        assert self.box is not None
        highest = self.box.highest if self.box.exists else self.box.real.highestmodseq
        if (self.spared or self.notify == "NONE") and self.box.exists:
            # RFC 7162 section 3.2.7: nothing was told of the expunge.
            highest = self.complete
        return f"OK [HIGHESTMODSEQ {highest}]" if "QRESYNC" in self.enabled else "OK"

    def fetch(
        self,
        uid: bool,
        numbers: Sequence[int],
        items: Sequence[str],
        since: int = -1,
        vanished: bool = False,
        partial: str = "",
    ) -> list[str]:
        """FETCH; C{since} is CHANGEDSINCE."""
        if self._without_numbers(uid):
            return self.refused("BAD [UIDREQUIRED]", expunge=uid)
        modseq = since >= 0 or "MODSEQ" in items
        if modseq:
            self.enable_condstore()
        if self._missing(uid, numbers):
            return self.refused(expunge=uid)
        wanted = self.chosen(uid, numbers)
        if partial:
            wanted = window(partial, wanted)
        gone = any(u not in self.there for u in wanted)
        wanted = [u for u in wanted if u in self.there]
        if since >= 0:
            wanted = [u for u in wanted if self.there[u].modseq > since]
            gone = False
        assert self.box is not None
        seen = []
        if "BODY[]" in items and not self.read_only:
            seen = [u for u in wanted if "\\Seen" not in self.there[u].flags]
            for u in seen:
                self.there[u].flags |= {"\\Seen"}
                self.box.changed.add(u)
                self.box.flagged += 1
            self.mail.learn()
            self.told.update((u, self.there[u].modseq) for u in seen)
        shown = set(items)
        if seen:
            shown.add("FLAGS")
        modseq = modseq or bool(seen and "CONDSTORE" in self.enabled)
        if modseq:
            shown.add("MODSEQ")
        if (uid or modseq) and "UIDONLY" not in self.enabled:
            shown.add("UID")
        lines = [self.fetch_line(u, *shown) for u in wanted]
        earlier = {u for at, u in self.box.expunged if at > since and u in numbers and vanished}
        earlier -= set(self.known)
        lines[:0] = [f"* VANISHED (EARLIER) {compact(earlier)}"] if earlier else []
        return self.done(lines, "NO [EXPUNGEISSUED]" if gone and not uid else "OK", expunge=uid)

    def store(
        self,
        uid: bool,
        numbers: Sequence[int],
        mode: str,
        flags: frozenset[str],
        silent: bool = False,
        since: int = -1,
    ) -> list[str]:
        """STORE; C{since} is UNCHANGEDSINCE."""
        if self._without_numbers(uid):
            return self.refused("BAD [UIDREQUIRED]", expunge=uid)
        if self.read_only:
            return self.refused("NO", expunge=uid)
        if since >= 0:
            self.enable_condstore()
        if self._missing(uid, numbers):
            return self.refused(expunge=uid)
        wanted = self.chosen(uid, numbers)
        assert self.box is not None
        if wanted and not self.box.exists:
            return self.refused("NO [NONEXISTENT]", expunge=uid)
        gone = any(u not in self.there for u in wanted) and not uid
        wanted = [u for u in wanted if u in self.there]
        refused = [u for u in wanted if 0 <= since < self.there[u].modseq]
        done = [u for u in wanted if u not in refused]
        believed = {u for u in done if self.told[u] == self.there[u].modseq}
        abreast = (
            self.synced == self.box.highest
            and not self.keeping.all
            and all(u in self.there for u in self.known)
        )
        changed = []
        for u in done:
            message = self.there[u]
            new = {"+": message.flags | flags, "-": message.flags - flags, "": flags}[mode]
            if new != message.flags:
                message.flags = new
                self.box.changed.add(u)
                self.box.flagged += 1
                changed.append(u)
        self.mail.learn()
        shown = [] if "UIDONLY" in self.enabled else ["UID"]
        if silent:
            shown.append("MODSEQ")
            told = (done if since >= 0 else changed) if "CONDSTORE" in self.enabled else []
            knows = [] if gone else [u for u in changed if u in believed]
        else:
            if "CONDSTORE" in self.enabled:
                shown.append("MODSEQ")
            elif not uid:
                shown = []
            shown.append("FLAGS")
            told = knows = done
        lines = [self.fetch_line(u, *shown) for u in told]
        self.told.update((u, self.there[u].modseq) for u in knows)
        if changed and abreast and self.notify == "NONE":
            # There is nothing else that it could be told.
            self.synced = self.box.highest
            self.complete = self.complete if self.spared else self.synced
        tagged = "NO [EXPUNGEISSUED]" if gone else "OK"
        if refused:
            numbers_left = refused if uid else [self.known.index(u) + 1 for u in refused]
            tagged = f"{'NO' if gone else 'OK'} [MODIFIED {compact(numbers_left)}]"
        return self.done(lines, tagged, expunge=uid)

    def copy(self, uid: bool, numbers: Sequence[int], name: str, *, move: bool = False) -> list[str]:
        """COPY and MOVE."""
        if self._without_numbers(uid):
            return self.refused("BAD [UIDREQUIRED]")
        if move and self.read_only:
            return self.refused("NO")
        if self._missing(uid, numbers):
            return self.refused()
        wanted = self.chosen(uid, numbers)
        if not wanted:
            return self.refused("OK")
        assert self.box is not None
        target = self.mail.boxes.get(name)
        if not self.box.exists:
            return self.refused("NO [NONEXISTENT]")
        if target is None:
            return self.refused("NO [TRYCREATE]")
        source = [u for u in wanted if u in self.there]
        if not source:
            return self.refused("NO [EXPUNGEISSUED]")
        made = [target.add(self.there[u].octets, self.there[u].flags) for u in source]
        self.own |= {(target, u) for u in made}
        code = f"[COPYUID {target.uidvalidity} {compact(source)} {compact(made)}]"
        if not move:
            self.mail.learn()
            return self.done([], "OK " + code)
        self.box.remove(source)
        self.mail.learn()
        lines = ["* OK " + code, *self.sync(expunge=True)]
        return self.done(lines, self._highest())

    def expunge(self, uids: Sequence[int] | None = None) -> list[str]:
        """EXPUNGE and UID EXPUNGE."""
        if self.read_only:
            return self.refused("NO")
        wanted = self.known if uids is None else self.chosen(True, uids)
        gone = [u for u in wanted if u in self.there and "\\Deleted" in self.there[u].flags]
        assert self.box is not None
        self.box.remove(gone)
        self.mail.learn()
        return self.done(self.sync(expunge=True), self._highest())

    def append(self, name: str, messages: Sequence[tuple[bytes, frozenset[str]]]) -> list[str]:
        """APPEND."""
        target = self.mail.boxes.get(name)
        if target is None:
            # The message is never asked for, so nothing was done and nothing is told.
            return self.at_once("NO [TRYCREATE]")
        made = [target.add(octets, flags) for octets, flags in messages]
        self.own |= {(target, u) for u in made}
        self.mail.learn()
        return self.done([], f"OK [APPENDUID {target.uidvalidity} {compact(made)}]")

    def replace(self, uid: bool, number: int, name: str, octets: bytes) -> list[str]:
        """REPLACE."""
        target = self.mail.boxes.get(name)
        early = None
        if self.read_only:
            early = "NO"
        elif self._without_numbers(uid):
            early = "BAD [UIDREQUIRED]"
        elif self._missing(uid, [number]) or (uid and number not in self.known):
            early = "NO" if uid else "BAD"
        elif target is None:
            early = "NO [TRYCREATE]"
        if early is not None or target is None:
            return self.at_once(early or "NO")
        (old,) = self.chosen(uid, [number])
        if old not in self.there:
            return self.refused("NO [EXPUNGEISSUED]")
        assert self.box is not None
        made = target.add(octets, frozenset())
        self.box.remove([old])
        self.own.add((target, made))
        self.mail.learn()
        lines = [f"* OK [APPENDUID {target.uidvalidity} {made}]", *self.sync(expunge=True)]
        return self.done(lines, self._highest())

    def search(
        self,
        uid: bool,
        match: Callable[[Sequence[int], int, Message], bool],
        *,
        numbers: bool,
        returns: Sequence[str] | None = None,
        charset: bool = False,
    ) -> list[str]:
        """SEARCH; C{match} is that of L{Kept}; C{numbers}: whether the key has sequence numbers in it; C{returns}: with RETURN."""
        if self._without_numbers(uid) or (numbers and "UIDONLY" in self.enabled):
            return self.refused("BAD [UIDREQUIRED]", expunge=uid and not numbers)
        if charset and "UTF8=ACCEPT" in self.enabled:
            # RFC 9755 section 3.
            return self.refused("BAD", expunge=uid and not numbers)
        found = [
            (n, u)
            for n, u in enumerate(self.known, 1)
            if u in self.there and match(self.known, u, self.there[u])
        ]
        # RFC 7162 section 3.2.10.2: nothing vanishes during a UID SEARCH with message numbers.
        if returns is None:
            lines = [self.found("SEARCH", uid, [u if uid else n for n, u in found])]
        else:
            line = self._answer(uid, [u for _, u in found], returns or ["ALL"])
            lines = [] if list(returns) == ["SAVE"] else [line]
        return self.done(lines, "OK", expunge=uid and not numbers)

    def found(self, word: str, uid: bool, numbers: Sequence[int]) -> str:
        """The response to SEARCH or SORT."""
        if "IMAP4REV2" in self.enabled and word == "SEARCH":
            what = " UID" if uid else ""
            return f"* ESEARCH{what}" + (f" ALL {compact(numbers)}" if numbers else "")
        return f"* {word}" + "".join(f" {n}" for n in numbers)

    def keep(self, kept: Kept, returns: Sequence[str], *, numbers: bool, charset: bool = False) -> list[str]:
        """SEARCH or SORT with RETURN (UPDATE); C{numbers}: as with C{search}."""
        expunge = kept.uid and not numbers
        if self._without_numbers(kept.uid) or (numbers and "UIDONLY" in self.enabled):
            return self.refused("BAD [UIDREQUIRED]", expunge=expunge)
        if charset and "UTF8=ACCEPT" in self.enabled:
            return self.refused("BAD", expunge=expunge)
        if any(kept.tag == other.tag for other in self.keeping.all):
            # RFC 5267 section 4.3.
            return self.refused("BAD", expunge=expunge)
        kept.uids = [u for u in kept.find(self.there, self.known) if u in self.there]
        lines = [self._answer(kept.uid, kept.uids, returns)]
        if len(self.keeping.all) < self.most_kept:
            self.keeping.all.append(kept)
        else:
            # RFC 5267 section 4.3.1.
            lines.append(f'* NO [NOUPDATE "{kept.tag}"]')
        return self.done(lines, "OK", expunge=expunge)

    def _answer(self, uid: bool, found: Sequence[int], returns: Sequence[str]) -> str:
        """ESEARCH, and what it saves."""
        if "SAVE" in returns:
            self.saved = saved(returns, found)
        told = found if uid else [self.known.index(u) + 1 for u in found]
        return f"* ESEARCH{' UID' * uid}{answered(returns, told)}"

    def cancel(self, tags: Iterable[str]) -> list[str]:
        """CANCELUPDATE."""
        self.keeping.cancel(tags)
        return self.done([], "OK")

    def sort(self, uid: bool, *, reverse: bool, returns: Sequence[str] | None = None) -> list[str]:
        """SORT (SIZE) or (REVERSE SIZE) of all; C{returns}: with RETURN."""
        if self._without_numbers(uid):
            return self.refused("BAD [UIDREQUIRED]", expunge=uid)
        sign = -1 if reverse else 1
        order = sorted(
            (sign * len(self.there[u].octets), n, u) for n, u in enumerate(self.known, 1) if u in self.there
        )
        if returns is None:
            lines = [self.found("SORT", uid, [u if uid else n for _, n, u in order])]
        else:
            line = self._answer(uid, [u for _, _, u in order], returns or ["ALL"])
            lines = [] if list(returns) == ["SAVE"] else [line]
        return self.done(lines, "OK", expunge=uid)

    # -- mailboxes ---------------------------------------------------------------------------------------------
    def leave(self) -> None:
        """No mailbox is selected any more; what was told of it by half is not forgotten."""
        if (
            self.box is not None
            and self.box.exists
            and "QRESYNC" in self.enabled
            and self.complete < self.synced
        ):
            self.first.append(f"* OK [HIGHESTMODSEQ {self.complete}]")
        self.box, self.name, self.known, self.told, self.new, self.saved = None, "", [], {}, [], []
        self.keeping = Keeping()
        self.spared = False

    def select(
        self, name: str, *, examine: bool = False, qresync: tuple[int, int] | None = None
    ) -> list[str]:
        """SELECT and EXAMINE; C{qresync}: UIDVALIDITY and mod-sequence that the client comes with."""
        lines = [] if self.box is None else ["* OK [CLOSED]"]
        if qresync is not None and "QRESYNC" not in self.enabled:
            return self.refused()
        self.leave()
        box = self.mail.boxes.get(name)
        if box is None:
            return self.done(lines, "NO [NONEXISTENT]")
        self.box, self.name, self.read_only = box, name, examine
        self.known = sorted(box.messages)
        self.complete = self.synced = box.highest
        self.told = {uid: box.messages[uid].modseq for uid in self.known}
        used = {f for m in box.messages.values() for f in m.flags if not f.startswith("\\")}
        used |= {"$Forwarded", "$Important", "$Junk", "$MDNSent", "$NotJunk", "$Phishing"}
        flags = used | {"\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen"}
        lines.append(f"* FLAGS ({' '.join(sorted(flags))})")
        permanent = "" if examine else " ".join(sorted({*flags, "\\*"}))
        lines += [f"* OK [PERMANENTFLAGS ({permanent})]", f"* {len(self.known)} EXISTS"]
        if "IMAP4REV2" not in self.enabled:
            lines.append("* 0 RECENT")
            unseen = [n for n, u in enumerate(self.known, 1) if "\\Seen" not in box.messages[u].flags]
            if unseen and "UIDONLY" not in self.enabled:
                lines.append(f"* OK [UNSEEN {unseen[0]}]")
        lines += [f"* OK [UIDVALIDITY {box.uidvalidity}]", f"* OK [UIDNEXT {box.uidnext}]"]
        lines += [f"* OK [HIGHESTMODSEQ {box.highest}]", "* OK [MAILBOXID]"]
        if "IMAP4REV2" in self.enabled:
            subscribed = "\\Subscribed " * self.mail.subscribed(name)
            below = "HasChildren" if self.mail.below(name) else "HasNoChildren"
            lines.append(f'* LIST ({subscribed}\\{below}) "/" {self.shown(name)}')
        if qresync is not None and qresync[0] == box.uidvalidity:
            gone = {uid for at, uid in box.expunged if at > qresync[1]}
            lines += [f"* VANISHED (EARLIER) {compact(gone)}"] if gone else []
            lines += [self.changed_line(u) for u in self.known if box.messages[u].modseq > qresync[1]]
        return self.done(lines, "OK [READ-ONLY]" if examine else "OK [READ-WRITE]")

    def close(self) -> list[str]:
        """CLOSE."""
        assert self.box is not None
        if not self.read_only:
            self.box.remove([u for u in self.known if u in self.there and "\\Deleted" in self.there[u].flags])
            self.mail.learn()
        self.leave()
        return self.done([], "OK")

    def unselect(self) -> list[str]:
        """UNSELECT."""
        self.leave()
        return self.done([], "OK")

    def create(self, name: str) -> list[str]:
        """CREATE."""
        if name in self.mail.boxes:
            return self.refused("NO [ALREADYEXISTS]")
        self.mail.above(name)
        self.mail.known(name)
        return self.done([], "OK [MAILBOXID]")

    def delete(self, name: str) -> list[str]:
        """DELETE."""
        box = self.mail.boxes.get(name)
        if box is None:
            return self.refused("NO [NONEXISTENT]")
        if name == "INBOX":
            return self.refused("NO [CANNOT]")
        if self.mail.below(name):
            return self.refused("NO [HASCHILDREN]")
        lines = []
        box.exists = False
        del self.mail.boxes[name]
        if self.box is box:
            self.leave()
            lines = ["* OK [CLOSED]"]
        return self.done(lines, "OK")

    def rename(self, old: str, new: str) -> list[str]:
        """RENAME, with all below it."""
        box = self.mail.boxes.get(old)
        if box is None:
            return self.refused("NO [NONEXISTENT]")
        if new in self.mail.boxes:
            return self.refused("NO [ALREADYEXISTS]")
        if old != "INBOX" and new.startswith(old + "/"):
            return self.refused("NO [CANNOT]")
        self.mail.above(new)
        if old != "INBOX":
            for name in [old, *self.mail.below(old)]:
                moved = self.mail.boxes[new + name[len(old) :]] = self.mail.boxes.pop(name)
                if self.called.get(moved) == name:
                    self.called[moved] = new + name[len(old) :]
        else:
            made = self.mail.known(new)
            made.uidnext = 1
            for uid in sorted(box.messages):
                made.add(box.messages[uid].octets, box.messages[uid].flags)
            # RFC 5464 section 4.1: the new mailbox has the annotations as well.
            self.mail.notes.of(made).update(self.mail.notes.of(box))
            box.remove(list(box.messages))
        self.mail.learn()
        return self.done([], "OK")

    def subscribe(self) -> list[str]:
        """SUBSCRIBE and UNSUBSCRIBE."""
        self.mail.learn()
        return self.done([], "OK")

    def status(self, name: str, *, modseq: bool) -> list[str]:
        """STATUS."""
        if modseq:
            self.enable_condstore()
        box = self.mail.boxes.get(name)
        if box is None:
            return self.refused("NO [NONEXISTENT]")
        messages = box.messages.values()
        unseen = sum("\\Seen" not in m.flags for m in messages)
        deleted = sum("\\Deleted" in m.flags for m in messages)
        size = sum(len(m.octets) for m in messages)
        more = f" HIGHESTMODSEQ {box.highest}" if modseq else ""
        counts = f"MESSAGES {len(messages)} UIDNEXT {box.uidnext} UIDVALIDITY {box.uidvalidity}"
        line = f"* STATUS {self.shown(name)} ({counts} UNSEEN {unseen} DELETED {deleted} SIZE {size}{more})"
        return self.done([line], "OK")

    def idle(self) -> list[str]:
        """IDLE: what comes before the client says DONE."""
        self.idling = True
        lines = [*self.sync(expunge=True), *self.news()]
        if self.keeping.pending:
            lines += self.evaluated()
        return ["+ idling", *lines, *(self.push() if self.notify else [])]

    def end_idle(self) -> list[str]:
        """DONE."""
        self.idling = False
        return self.done([], "OK")

    def unauthenticate(self) -> list[str]:
        """UNAUTHENTICATE (RFC 8437 section 4.1): nothing is left but the mail."""
        self.leave()
        self.notify, self.watch = "", None
        lines = self.done([], "OK")
        self.enabled.clear()
        self.own.clear()
        self.flags, self.logged_in = True, False
        return lines

    def set_notify(self, which: str, *, flags: bool, watch: Watch | None, status: bool = False) -> list[str]:
        """NOTIFY SET for the selected mailbox, or without it (C{"NONE"}), and for others."""
        # RFC 5465 section 3.1: what happened until now is told, whatever was asked for before.
        self.flags, self.notify = True, ""
        lines = self.sync(expunge=True)
        self.new.clear()
        self.notify, self.flags, self.watch = which, flags, watch
        self.floods = self.mail.floods
        self._look()
        self.matched = self.subscribed
        self.noticed = len(self.mail.notes.changes)
        self.told_anyway = "METADATA" in self.enabled
        return self.done([*lines, *(self._statuses() if status else ())], "OK")

    def _statuses(self) -> list[str]:
        """RFC 5465 section 3.1: how the watched mailboxes are but the selected one, in any order."""
        lines: list[str] = []
        for name, box in self.mail.boxes.items():
            events = self.wanted(name)
            if box is self.box or "MessageNew" not in events:
                continue
            items = f"MESSAGES {len(box.messages)} UIDNEXT {box.uidnext} UIDVALIDITY {box.uidvalidity}"
            if "FlagChange" in events:
                # The section asks for the first with FlagChange, enabled or not; UNSEEN is the server's own.
                unseen = sum("\\Seen" not in m.flags for m in box.messages.values())
                items += f" HIGHESTMODSEQ {box.highest} UNSEEN {unseen}"
            lines.append(MaybeLine.of([f"* STATUS {self.shown(name)} ({items})"]))
        return lines

    def notify_none(self) -> list[str]:
        """NOTIFY NONE: only NOTIFY SET implies that what happened is told first (RFC 5465 section 3.1)."""
        self._end_notify()
        return self.done([], "OK")

    def _end_notify(self) -> None:
        self.new.clear()
        self.notify, self.watch = "NONE", None

    # -- annotations -------------------------------------------------------------------------------------------
    def set_metadata(self, name: str, values: Mapping[str, bytes | None]) -> list[str]:
        """SETMETADATA of a mailbox, or of the server."""
        box = self.mail.boxes.get(name)
        if name and box is None:
            return self.refused("NO [NONEXISTENT]")
        if not name and "/shared/admin" in values:
            return self.refused("NO [NOPERM]")
        self.mail.notes.set(Change(box, name, [*values], self), values)
        self.mail.learn()
        return self.done([], "OK")

    def get_metadata(self, name: str, wanted: Sequence[str], depth: str, most: int) -> list[str]:
        """GETMETADATA; C{most} is MAXSIZE."""
        box = self.mail.boxes.get(name)
        if name and box is None:
            return self.refused("NO [NONEXISTENT]")
        entries = self.mail.notes.of(box)
        told = [(entry, entries.get(entry)) for entry in chosen(entries, wanted, depth)]
        long = [len(octets) for _, octets in told if octets is not None and len(octets) > most]
        utf8 = bool(self.enabled & {"UTF8=ACCEPT", "IMAP4REV2"})
        pairs = [f"{entry} {written(o, utf8=utf8)}" for entry, o in told if o is None or len(o) <= most]
        lines = [f"* METADATA {self.shown(name)} ({' '.join(pairs)})"] if pairs else []
        return self.done(lines, f"OK [METADATA LONGENTRIES {max(long)}]" if long else "OK")
