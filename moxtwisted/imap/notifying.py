r"""What one client is told unasked, after NOTIFY SET (RFC 5465).

News of the selected mailbox come from its view, as ever, but at any time and with the data items that the client wants of new
messages; news of other mailboxes come from the session's feed::

    C: a1 NOTIFY SET (selected (MessageNew (uid flags) MessageExpunge)) (personal (MessageNew MessageExpunge))
    S: a1 OK NOTIFY completed
    S: * STATUS Lists (MESSAGES 501 UIDNEXT 10000)
    S: * 127 EXISTS
    S: * 127 FETCH (UID 127001 FLAGS ())

News of mailboxes of other users come from a feed of their own, which there only is where a filter can stand for such ones
(``OthersWanted``): those of RFC 5465 sections 6.2 and 6.3 never do.

``Server`` calls ``push`` whenever it has nothing else to say. What the client asked for of new messages is told by
``moxtwisted.imap.commands.arrivals``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import define, field, frozen

from moxtwisted.imap.backend import MailboxInfo
from moxtwisted.imap.commands.mailboxfilters import parents_of
from moxtwisted.imap.commands.status import status_line
from moxtwisted.imap.lines import Piece
from moxtwisted.imap.metadata import SPECIAL_USE
from moxtwisted.imap.namechanges import NameChanges, ToldNames
from moxtwisted.imap.notification import own_mailboxes
from moxtwisted.imap.othersfilter import OthersWanted
from moxtwisted.imap.sharing import OTHERS, spelt
from moxtwisted.imap.states import State
from moxtwisted.imap.wire import render
from moxtwisted.imap.wire.commands import StatusItem
from moxtwisted.imap.wire.events import Event, EventGroup
from moxtwisted.imap.wire.fetchattributes import FetchAttribute
from moxtwisted.imap.wire.mailboxfilter import FilterKind
from moxtwisted.imap.wire.mailboxname import ancestry, canonical

if TYPE_CHECKING:
    from moxtwisted.imap.connection import Connection
    from moxtwisted.imap.notification import INotifyingSession, INotifyingSharedSession

__all__ = ["Notifying", "SelectedEvents", "initial_items"]

# New messages of the selected mailbox whose data items are still to be told; and what this connection caused itself.
_MOST_NEW: Final = 10_000
_MOST_OWN: Final = 20_000
_LINES_A_PIECE: Final = 256
# Names that were told to be out of reach.
_MOST_DENIED: Final = 1_000

_MESSAGES: Final = frozenset({"messages"})
_FLAGS: Final = frozenset({"flags"})
_MESSAGES_AND_FLAGS: Final = _MESSAGES | _FLAGS

# RFC 5465 section 5: what can only be told of a mailbox that may be read.
_OF_CONTENTS: Final = frozenset(
    {Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE, Event.MAILBOX_METADATA_CHANGE}
)
_OF_NOTES: Final = frozenset({Event.MAILBOX_METADATA_CHANGE, Event.SERVER_METADATA_CHANGE})


@frozen
class SelectedEvents:
    """What is told of the selected mailbox.

    :ivar flags: whether FlagChange is among it; MessageNew and MessageExpunge always are.
    :ivar delayed: whether EXPUNGE waits for a command that may be answered with it (RFC 5465 section 6.1.2).
    :ivar attributes: of new messages.
    """

    flags: bool
    delayed: bool
    attributes: tuple[FetchAttribute, ...]

    @classmethod
    def among(cls, groups: Iterable[EventGroup]) -> SelectedEvents | None:
        """What these say of the selected mailbox; None: it is as if nothing happened there."""
        for group in groups:
            if group.mailboxes.of_selected and group.events:
                return cls(
                    Event.FLAG_CHANGE in group.events,
                    group.mailboxes is FilterKind.SELECTED_DELAYED,
                    group.attributes,
                )
        return None


@lru_cache(maxsize=256)
def initial_items(events: frozenset[Event], *, condstore: bool = True) -> tuple[StatusItem, ...]:
    """RFC 5465 section 3.1: what STATUS tells at the beginning of a mailbox with these events; nothing if none is of messages.

    :param condstore: whether CONDSTORE is on offer.
    """
    items = []
    if Event.MESSAGE_NEW in events:
        items += [StatusItem.MESSAGES, StatusItem.UIDNEXT, StatusItem.UIDVALIDITY]
        if Event.FLAG_CHANGE in events:
            items += [StatusItem.HIGHESTMODSEQ, StatusItem.UNSEEN] if condstore else [StatusItem.UNSEEN]
    return tuple(items)


@lru_cache(maxsize=256)
def _items(kinds: frozenset[str], *, condstore: bool) -> tuple[StatusItem, ...]:
    """Sections 5.1 to 5.3: what STATUS tells of what happened to messages: ``messages``, ``flags``, ``new mailbox``."""
    items = []
    if "messages" in kinds:
        items += [StatusItem.MESSAGES, StatusItem.UIDNEXT]
    if kinds & {"flags", "new mailbox"}:
        items += [StatusItem.UIDVALIDITY]
    if condstore:
        items += [StatusItem.HIGHESTMODSEQ]
    if "flags" in kinds:
        # Section 5.1 leaves it to us; without CONDSTORE it is all that a client can make use of.
        items += [StatusItem.UNSEEN]
    return tuple(items)


@define(eq=False)
class Notifying:
    """The events that a client wants, and those that it is still to be told.

    :ivar selected: what it wants of the selected mailbox.
    """

    _connection: Connection
    _groups: tuple[tuple[EventGroup, frozenset[str]], ...] = ()
    selected: SelectedEvents | None = None
    _feed: Any = None
    _others: Any = None
    _others_wanted: OthersWanted | None = None
    _denied: set[str] = field(factory=set)
    _new: list[int] = field(factory=list)
    _own: set[tuple[str, str | int]] = field(factory=set)
    _own_notes: Counter[tuple[str, str]] = field(factory=Counter)
    _overflow: bool = False
    # Whether, when it was pushed last, changed annotations were told anyway.
    _told_anyway: bool = False
    # What is subscribed, and what was when something was told last; and the former of these.
    _subscribed: frozenset[str] = frozenset()
    _last_subscribed: frozenset[str] = frozenset()

    @classmethod
    def begin(cls, connection: Connection, groups: Sequence[EventGroup], limit: int) -> Notifying:
        """From now on; nothing but silence if there are no groups.

        :param limit: happenings that are kept for a client that does not read.
        """
        watched = tuple(g for g in groups if g.events and not g.mailboxes.of_selected)
        named = tuple((group, frozenset(map(spelt, group.names))) for group in watched)
        notifying = cls(connection, named, SelectedEvents.among(groups))
        notifying._look_at_subscriptions()
        notifying._subscribed = notifying._last_subscribed
        notifying._told_anyway = "METADATA" in connection.enabled
        wanted = OthersWanted.of(connection, groups)
        if wanted is not None:
            shared = cast("INotifyingSharedSession", connection.mail)
            notifying._others_wanted = wanted
            notifying._others = shared.watch_others(limit, connection.wake, wanted.owners())
        if watched:
            session = cast("INotifyingSession", connection.mail)
            notifying._feed = session.watch(limit, connection.wake)
        return notifying

    @property
    def watches_others(self) -> bool:
        """Whether mailboxes of other users may be among those that are watched."""
        return self._others is not None

    def stop(self) -> None:
        """Tell no more."""
        feeds = self._feed, self._others
        self._feed = self._others = None
        self._groups, self.selected = (), None
        self._new.clear()
        self._denied.clear()
        for feed in feeds:
            if feed is not None:
                feed.close()

    def caused(self, kind: str, what: Iterable[str | int]) -> None:
        """The client did this itself: it is not told what it knows (RFC 5465 section 5).

        :param kind: of a happening, and then ``what`` are names; or a mailbox, with UIDs.
        """
        if len(self._own) < _MOST_OWN:
            kind = canonical(kind)
            self._own.update((kind, canonical(one) if isinstance(one, str) else one) for one in what)

    def annotated(self, mailbox: str, entries: Iterable[str]) -> None:
        """The client changed these annotations itself, of a mailbox or of the server (an empty name): each change counts."""
        if len(self._own_notes) < _MOST_OWN:
            self._own_notes.update((canonical(mailbox), entry) for entry in entries)

    @property
    def _notes(self) -> bool:
        """Whether changed annotations are among what the client wants to hear of at any time."""
        return any(not group.events.isdisjoint(_OF_NOTES) for group, _ in self._groups)

    def _is_own(self, kind: str, what: str | int) -> bool:
        return bool(self._own) and (kind, what) in self._own

    def wanted(self, name: str) -> frozenset[Event]:
        """The events that are wanted of a mailbox that is not selected."""
        found: frozenset[Event] = frozenset()
        for group, names in self._groups:
            if not group.events <= found and self._matches(group, names, name):
                found |= group.events
        return found

    def _matches(self, group: EventGroup, names: frozenset[str], name: str) -> bool:
        match group.mailboxes:
            case FilterKind.MAILBOXES:
                return name in names
            case FilterKind.SUBTREE:
                return any(above in names for above in ancestry(name))
            case FilterKind.SUBSCRIBED:
                return name in self._subscribed
            case _:
                # Section 6.3: mail can be delivered to any mailbox, so inboxes are as personal.
                return not name.startswith(OTHERS)

    # -- the selected mailbox ----------------------------------------------------------------------------------
    def sync(self, *, allow_expunge: bool) -> list[Piece]:
        """Catch up with the selected mailbox, as far as the client wants it; see ``SessionView.sync``."""
        connection, wanted = self._connection, self.selected
        box = connection.selected
        if box is None or wanted is None:
            # Section 3.1: what is not asked for does not happen, not even to sequence numbers.
            return []
        view = box.view
        last = view.uids[-1] if view.uids else 0
        responses = view.sync(
            allow_expunge=allow_expunge,
            modseq=connection.condstore,
            vanished=connection.qresync,
            flags=wanted.flags,
        )
        if wanted.attributes and responses:
            new = view.uids[bisect_right(view.uids, last) :]
            name = canonical(box.name)
            # Section 5.2: no FETCH for what this connection added itself.
            self._new += [uid for uid in new if not self._is_own(name, uid)]
            if len(self._new) > _MOST_NEW:
                self._overflow = True
        return responses

    def left(self) -> None:
        """The selected mailbox was left."""
        self._new.clear()

    def take_new(self) -> Sequence[int]:
        """UIDs of new messages whose data items are to be told, once."""
        if self.selected is None or self._overflow:
            return ()
        uids, self._new = self._new, []
        return uids

    # -- pushing -----------------------------------------------------------------------------------------------
    def push(self) -> None:
        """Say what happened; the server is not saying anything else. The data items of new messages are left for ``take_new``."""
        connection = self._connection
        wanted = self.selected
        idling = connection.state is State.IDLING
        if wanted is not None and connection.selected is not None:
            connection.tell(self.sync(allow_expunge=idling or not wanted.delayed))
            connection.tell_news()
        elif idling or self._notes:
            # While the client idles also where they were not asked for with NOTIFY.
            connection.tell_news()
        if self._feed is not None:
            happened, lost = self._happened()
            self._overflow = self._overflow or lost
            if happened and not self._overflow:
                connection.out += self._lines(happened)
        self._own.clear()
        self._own_notes.clear()
        self._told_anyway = "METADATA" in connection.enabled
        if self._overflow:
            # Section 5.8: and from now on as after NOTIFY NONE.
            self._overflow = False
            self.stop()
            connection.unattend()
            connection.out.append(
                b"* OK [NOTIFICATIONOVERFLOW] too much happened, notifications have ended\r\n"
            )

    def _look_at_subscriptions(self) -> None:
        """Section 6.4: the list as it is now. What is no longer in it was in it when it was unsubscribed, deleted or renamed."""
        if any(group.mailboxes is FilterKind.SUBSCRIBED for group, _ in self._groups):
            now = frozenset(map(canonical, self._connection.mail.subscriptions()))
            self._subscribed, self._last_subscribed = self._last_subscribed | now, now

    def _happened(self) -> tuple[Sequence[Any], bool]:
        """In the user's mailboxes, then in those of others; and whether some is lost."""
        happened, lost = self._feed.take()
        if self._others is None or self._others_wanted is None:
            return happened, lost
        # RFC 5465 section 6.4: the list of subscriptions may be another one.
        self._others.want(self._others_wanted.owners())
        more, lost_more = self._others.take()
        return [*happened, *more], lost or lost_more

    def _lines(self, happened: Sequence[Any]) -> list[bytes]:
        """STATUS, LIST and METADATA responses: each mailbox once, however often something happened to it."""
        self._look_at_subscriptions()
        statuses: dict[str, frozenset[str]] = {}
        reached: dict[str, None] = {}
        notes: dict[str, dict[str, None]] = {}
        moved = [h for h in happened if h.kind == "renamed"]
        for one, now in _with_names(happened, moved):
            name = canonical(one.name)
            if one.kind == "messages":
                kinds = self._message_kinds(now, one)
                if kinds:
                    statuses[now] = statuses.get(now, frozenset()) | kinds
            elif one.kind in {"annotated", "special_use"}:
                entries = one.entries if one.kind == "annotated" else (SPECIAL_USE,)
                notes.setdefault(name, {}).update(dict.fromkeys(self._changed_entries(name, entries)))
            elif one.kind in {"readable", "unreadable"} or (
                one.kind in {"created", "removed"}
                and name.startswith(OTHERS)
                and Event.MAILBOX_NAME not in self.wanted(name)
            ):
                self._reached(name, one.kind, reached)
            if one.kind == "removed":
                # Its annotations went with it (RFC 5464 section 4.1), but not those of what is called so later.
                notes.pop(name, None)
            elif one.kind == "renamed" and (moving := notes.pop(canonical(one.old_name), None)):
                # RFC 5465 section 5.6: of the mailbox under the name that it has now.
                notes[name] = moving
            if one.kind in {"created", "readable"} and Event.MESSAGE_NEW in self.wanted(now):
                # Section 5.1: another UIDVALIDITY is told.
                statuses[now] = frozenset({"messages", "new mailbox"})
        listed = cache(self._listed)
        told = NameChanges.of(happened, self._is_own).told(self.wanted, lambda name: listed(name) is not None)
        for now in told.unknown:
            if Event.MESSAGE_NEW in self.wanted(now):
                # Section 5.1: and so it is under a name that another mailbox had, or none.
                statuses[now] = statuses.get(now, frozenset()) | {"messages", "new mailbox"}
        return [*self._lists(told, reached, listed), *self._statuses(statuses), *self._metadata(notes)]

    def _message_kinds(self, name: str, one: Any) -> frozenset[str]:
        """What is to be told of messages in a mailbox that is not selected.

        :param name: of the mailbox, as it is now.
        """
        wanted = self.wanted(name)
        if Event.MESSAGE_NEW not in wanted:
            return frozenset()
        added = one.added
        if self._own:
            then = canonical(one.name)
            added = [uid for uid in added if not self._is_own(then, uid)]
        if added or one.expunged:
            return _MESSAGES_AND_FLAGS if one.flagged and Event.FLAG_CHANGE in wanted else _MESSAGES
        return _FLAGS if one.flagged and Event.FLAG_CHANGE in wanted else frozenset()

    def _statuses(self, statuses: dict[str, frozenset[str]]) -> Iterator[bytes]:
        connection = self._connection
        for name, kinds in statuses.items():
            info = connection.mail.mailbox(name)
            if info is not None and _may(info, "lr") and not self._is_selected(info):
                yield status_line(connection, info, _items(kinds, condstore=connection.condstore))

    def _is_selected(self, info: MailboxInfo) -> bool:
        """Whether the mailbox is the selected one, whatever the others call it by now."""
        box = self._connection.selected
        if box is None:
            return False
        if info.objectid and box.mailbox.objectid:
            return bool(info.objectid == box.mailbox.objectid)
        return canonical(info.name) == canonical(box.name)

    # -- mailboxes ---------------------------------------------------------------------------------------------
    def _lists(
        self, told: ToldNames, reached: Iterable[str], listed: Callable[[str], MailboxInfo | None]
    ) -> list[bytes]:
        """LIST responses with all that is true of these mailboxes now."""
        names: dict[str, str | None] = {**told.moves, **dict.fromkeys(told.plain), **dict.fromkeys(reached)}
        names.update(told.moves)
        if not names:
            return []
        subscribed = frozenset(map(canonical, self._connection.mail.subscriptions()))
        parents = parents_of(map(canonical, self._watched_names()))
        return [self._list(name, old, listed(name), subscribed, parents) for name, old in names.items()]

    def _listed(self, name: str) -> MailboxInfo | None:
        """RFC 4314 section 6: what may not be listed is as if it was not there."""
        info = self._connection.mail.mailbox(name)
        return info if info is not None and _may(info, "l") else None

    def _list(
        self,
        name: str,
        old: str | None,
        info: MailboxInfo | None,
        subscribed: Container[str],
        parents: Container[str],
    ) -> bytes:
        connection = self._connection
        attributes = [] if info is not None else [self._missing(name)]
        if name in subscribed:
            attributes.append("\\Subscribed")
        attributes.append("\\HasChildren" if name in parents else "\\HasNoChildren")
        if info is not None:
            attributes += connection.special_use(info)
            if not _may(info, "r"):
                attributes.append("\\NoAccess")
        return render.list_response(name, attributes, utf8=connection.utf8, old_name=old)

    def _reached(self, name: str, kind: str, names: dict[str, None]) -> None:
        r"""RFC 5465 section 5.9: a mailbox of somebody else went out of reach, which is told with \NoAccess, or came back.

        One that was removed and one that may not be listed any more are the same, so that nothing is told of the latter.
        """
        if not self.wanted(name) & _OF_CONTENTS:
            return
        if kind in {"removed", "unreadable"}:
            if len(self._denied) < _MOST_DENIED:
                self._denied.add(name)
            names[name] = None
        elif kind == "readable" or name in self._denied:
            self._denied.discard(name)
            names[name] = None

    def _missing(self, name: str) -> str:
        """What is said of a mailbox that is not there: see ``_reached``."""
        if name in self._denied and Event.MAILBOX_NAME not in self.wanted(name):
            return "\\NoAccess"
        return "\\NonExistent"

    def _watched_mailboxes(self) -> Iterator[MailboxInfo]:
        """All of the user's own, and those of others that are watched; accounts that are not are not looked into."""
        yield from own_mailboxes(self._connection.mail)
        if self._others is not None:
            yield from self._others.mailboxes()

    def _watched_names(self) -> Iterator[str]:
        for info in own_mailboxes(self._connection.mail):
            yield info.name
        if self._others is not None:
            yield from self._others.names()

    def _changed_entries(self, name: str, entries: Iterable[str]) -> Iterator[str]:
        """Those of these entries that the client did not change itself."""
        for entry in entries:
            if self._own_notes[name, entry] > 0:
                # RFC 5465 section 5: once for each of its changes, so that none of somebody else's is passed over.
                self._own_notes[name, entry] -= 1
            elif entry.startswith(("/private/", "/shared/")):
                yield entry

    def _metadata(self, notes: Mapping[str, Iterable[str]]) -> Iterator[bytes]:
        """RFC 5464 section 4.4.2: names of entries without their values, by the mailbox."""
        connection = self._connection
        for name, entries in notes.items():
            if name:
                wanted = Event.MAILBOX_METADATA_CHANGE in self.wanted(name)
            else:
                wanted = any(Event.SERVER_METADATA_CHANGE in group.events for group, _ in self._groups)
            # With ENABLE METADATA it is told anyway, of the user's own, if it happened after that.
            if not wanted or (self._told_anyway and not name.startswith(OTHERS)):
                continue
            if told := b" ".join(render.astring(entry) for entry in entries):
                shown = render.mailbox(name, utf8=connection.utf8) if name else b'""'
                yield b"* METADATA %b %b\r\n" % (shown, told)

    # -- the beginning -----------------------------------------------------------------------------------------
    def unreadable(self) -> Iterator[bytes]:
        """Section 3.1: mailboxes that can be listed, and of which nothing will be told as long as they may not be read."""
        connection = self._connection
        if self._others is not None:
            for info in self._others.mailboxes():
                name = canonical(info.name)
                if not _may(info, "r") and self.wanted(name) & _OF_CONTENTS:
                    yield render.list_response(name, ["\\NoAccess"], utf8=connection.utf8)

    def statuses(self) -> Iterator[bytes]:
        """NOTIFY SET STATUS: how the mailboxes are whose messages are watched."""
        connection = self._connection
        condstore = "CONDSTORE" in connection.offered
        lines: list[bytes] = []
        for info in self._watched_mailboxes():
            if self._is_selected(info) or not _may(info, "r"):
                continue
            items = initial_items(self.wanted(canonical(info.name)), condstore=condstore)
            if items:
                lines.append(status_line(connection, info, items))
            if len(lines) >= _LINES_A_PIECE:
                yield b"".join(lines)
                lines.clear()
        yield b"".join(lines)


def _with_names(happened: Sequence[Any], moved: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    """What happened, in its order, with the name that each mailbox has now: others may have renamed it since.

    :param moved: those that are ``renamed``.
    """
    if not moved:
        for one in happened:
            yield one, canonical(one.name)
        return
    later: dict[str, str] = {}
    names: list[str] = []
    for one in reversed(happened):
        name = canonical(one.name)
        now = later.get(name, name)
        names.append(now)
        if one.kind in {"renamed", "created"}:
            # What had this name before is another mailbox.
            later.pop(name, None)
        if one.kind == "renamed":
            later[canonical(one.old_name)] = now
    yield from zip(happened, reversed(names), strict=True)


def _may(info: MailboxInfo, letters: str) -> bool:
    """Whether the user has these rights."""
    return info.rights is None or info.rights.issuperset(letters)
