"""What a connection's commands share: who is logged in, what is selected and enabled, and where answers go.

A command handler gets the connection and its command. It answers with ``connection.out.append(octets)`` and returns the
text of its tagged response, or None for a plain OK::

    def check(connection: Connection, command: Check) -> Answer:
        return b"OK CHECK completed"

A handler that has to wait is a coroutine function; one whose answer is long returns an iterator of octets, which is
pulled as the client reads. What cannot be done is a ``RefusalError``.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from typing import Any, Final

from attrs import define, field

from moxtwisted.errors import MailboxMissingError, MailError
from moxtwisted.identifiers import IdentifierError, parse_mailbox_name
from moxtwisted.imap.backend import IAuthenticator, ISelectedMailbox, ISession, MailboxInfo
from moxtwisted.imap.capabilities import after_login, before_login, shared
from moxtwisted.imap.lines import Piece, flat
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.imap.states import State
from moxtwisted.imap.view import IViewObserver, SessionView
from moxtwisted.imap.wire.mailboxname import canonical
from moxtwisted.imap.wire.sequence import SequenceSet, compact_ranges
from moxtwisted.message.flags import DELETED
from moxtwisted.message.places import places_of
from moxtwisted.transport.facts import Transport

__all__ = [
    "Answer",
    "Connection",
    "Handled",
    "RefusalError",
    "Selected",
    "Transport",
    "mailbox_name",
    "refused",
]

Answer = bytes | None
"""A tagged response without its tag and CRLF (``b"OK done"``); None for OK and the command's name."""

Handled = Answer | Generator[bytes, None, Answer] | Coroutine[Any, Any, Any]
"""What a handler returns: an answer, pieces of output that end in one, or a coroutine that ends in either."""


class RefusalError(Exception):
    """A command is answered NO or BAD.

    :ivar kind: ``"NO"`` or ``"BAD"``.
    :ivar code: a response code without brackets, or empty.
    """

    def __init__(self, text: str, code: str = "", kind: str = "NO") -> None:
        self.text, self.code, self.kind = text, code, kind
        super().__init__(text)

    def answer(self) -> bytes:
        """The tagged response without its tag."""
        code = f"[{self.code}] " if self.code else ""
        return f"{self.kind} {code}{self.text}".encode("ascii", "replace")


def refused(error: MailError, *, trycreate: bool = False) -> RefusalError:
    """The NO for an error of the backend.

    :param trycreate: whether a missing mailbox is the target of the command (RFC 9051 section 6.3.12).
    """
    code = error.imap_code
    if trycreate and isinstance(error, MailboxMissingError):
        code = "TRYCREATE"
    return RefusalError(error.public_text.replace("\r", " ").replace("\n", " "), code)


def mailbox_name(name: str) -> str:
    """The name as the backend knows it.

    :raise RefusalError: when there can be no such mailbox.
    """
    try:
        return parse_mailbox_name(name)
    except IdentifierError as e:
        raise RefusalError(f"not a mailbox name: {e.detail}", "CANNOT") from e


#: So many messages take milliseconds.
_MANY: Final = 5000
#: What leads back to where nobody is logged in.
_BEFORE_LOGIN: Final = frozenset({"UNAUTHENTICATE"})


def _nothing() -> None:
    """Nobody wants to know."""


@define(eq=False)
class Selected:
    """A selected mailbox.

    :ivar read_only: whether EXAMINE opened it.
    :ivar attended: whether the connection is woken when it changes.
    :ivar news: what else is to be told of it than its messages; None where there never is any.
    """

    _name: str
    mailbox: ISelectedMailbox
    view: SessionView
    read_only: bool
    known_keywords: frozenset[str] = frozenset()
    attended: bool = False

    @property
    def name(self) -> str:
        """What it is called now, as far as its state can tell: others may rename it; else what it was called when it was selected."""
        return getattr(self.view.live, "name", None) or self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    news: Callable[[], Sequence[bytes]] | None = None


@define(eq=False)
class Connection:
    """The state of one connection; commands read and change it.

    :ivar clock: has ``seconds()``, seconds since 1970.
    :ivar entropy: ``entropy(n)`` gives n random octets.
    :ivar out: what is to be sent, in order; see ``tell``.
    :ivar long: whether some of it is made as it goes out.
    :ivar enabled: capabilities that the client enabled, in upper case.
    :ivar saved: the UIDs of ``$`` (RFC 9051 section 6.4.4.1), ascending.
    :ivar wake: called when the selected mailbox changed while the client idles.
    :ivar reader: the `CommandReader <moxtwisted.imap.wire.parser.CommandReader>`.
    :ivar decoys: `Decoys <moxtwisted.sasl.decoys.Decoys>` for SASL exchanges with unknown users.
    :ivar exchange: the tag and exchange of an AUTHENTICATE that is under way.
    :ivar appending: the messages of an APPEND that come in.
    :ivar logged_out: whether the client said LOGOUT.
    :ivar notifying: the `Notifying <moxtwisted.imap.notifying.Notifying>` after NOTIFY.
    :ivar starting_tls: whether the handshake follows the response that is being sent.
    :ivar compressed: whether COMPRESS is in force.
    :ivar starting_compression: whether it begins after the response that is being sent.
    :ivar starting_over: whether UNAUTHENTICATE is being answered.
    :ivar progress: of a command that takes its time: how many items are done and of how many (RFC 9585), if it can tell.
    :ivar news: what else is to be told before tagged responses and while the client idles, because it asked for that: each has
        ``take()``, untagged responses, and ``close()``.
    :ivar pause: waits some seconds, for what shall take its time.
    :ivar identity: who logged in, as the authenticator has it.
    :ivar can_leave: whether the connection could go on in another process; None where it never could.
    :ivar departing: whether it does so after the response that is being sent.
    :ivar settled: whether it goes to another process or came from one, so that nobody else can log in on it.
    """

    settings: ServerSettings
    authenticator: IAuthenticator
    clock: Any
    entropy: Callable[[int], bytes]
    transport: Transport
    out: list[Piece] = field(factory=list)
    long: bool = False
    state: State = State.NOT_AUTHENTICATED
    session: ISession | None = None
    selected: Selected | None = None
    enabled: frozenset[str] = frozenset()
    saved: Sequence[int] = ()
    login_failures: int = 0
    client_id: tuple[tuple[str, str | None], ...] | None = None
    wake: Callable[[], None] = _nothing
    reader: Any = None
    decoys: Any = None
    exchange: tuple[bytes, Any] | None = None
    appending: Any = None
    starting_tls: bool = False
    compressed: bool = False
    starting_compression: bool = False
    starting_over: bool = False
    logged_out: bool = False
    notifying: Any = None
    progress: tuple[int, int] | None = None
    pause: Callable[[float], Awaitable[None]] | None = None
    news: list[Any] = field(factory=list)
    identity: str = ""
    can_leave: Callable[[], bool] | None = None
    departing: bool = False
    settled: bool = False
    _capabilities: tuple[str, ...] | None = None
    _offered: frozenset[str] = frozenset()

    # -- what is on offer and enabled --------------------------------------------------------------------------
    @property
    def capabilities(self) -> tuple[str, ...]:
        """On offer now, as CAPABILITY tells them."""
        if self._capabilities is None:
            if self.session is None:
                transport = self.transport
                names = before_login(
                    self.settings,
                    self.authenticator.mechanisms,
                    tls=transport.tls,
                    client_key=transport.client_key,
                    extensions=self.authenticator.extensions,
                )
            else:
                session = self.session
                names = after_login(
                    self.settings,
                    session.append_limit,
                    session.disabled_capabilities | _BEFORE_LOGIN
                    if self.settled
                    else session.disabled_capabilities,
                    self.authenticator.extensions,
                )
            self._capabilities, self._offered = shared(names)
        return self._capabilities

    @property
    def offered(self) -> frozenset[str]:
        """The same as a set, APPENDLIMIT without its number."""
        if self._capabilities is None:
            _ = self.capabilities
        return self._offered

    @property
    def restricted(self) -> bool:
        """Whether the operator took capabilities away."""
        session = self.session
        return bool(
            self.settings.disabled_capabilities or (session is not None and session.disabled_capabilities)
        )

    def special_use(self, info: MailboxInfo) -> tuple[str, ...]:
        """The attributes of RFC 6154 that the client shall see of a mailbox."""
        return info.special_use if "SPECIAL-USE" in self.offered else ()

    def forget_capabilities(self) -> None:
        """They changed: TLS started, or somebody logged in."""
        self._capabilities = None

    @property
    def condstore(self) -> bool:
        """Whether MODSEQ is told with changes (RFC 7162 section 3.1)."""
        return "CONDSTORE" in self.enabled

    @property
    def qresync(self) -> bool:
        """Whether VANISHED replaces EXPUNGE (RFC 7162 section 3.2)."""
        return "QRESYNC" in self.enabled

    @property
    def uidonly(self) -> bool:
        """Whether messages are named by UID alone (RFC 9586)."""
        return "UIDONLY" in self.enabled

    @property
    def rev2(self) -> bool:
        """Whether the client enabled IMAP4rev2."""
        return "IMAP4REV2" in self.enabled

    @property
    def utf8(self) -> bool:
        """Whether mailbox names and quoted strings are UTF-8 (RFC 9755; IMAP4rev2 includes it for names)."""
        return "UTF8=ACCEPT" in self.enabled or "IMAP4REV2" in self.enabled

    def enable(self, *names: str) -> None:
        """Note capabilities as enabled, with those they imply."""
        more = set(names)
        if "QRESYNC" in more:
            # RFC 7162 section 3.2.3: QRESYNC includes CONDSTORE.
            more.add("CONDSTORE")
        first = "CONDSTORE" in more and not self.condstore
        self.enabled |= more
        if self.selected is not None:
            view = self.selected.view
            view.uidonly = self.uidonly
            if first and view.live.exists:
                # RFC 7162 section 3.1: MODSEQs are told from here on, so the client must know where it is.
                self.out.append(b"* OK [HIGHESTMODSEQ %d] CONDSTORE is enabled\r\n" % view.complete)

    # -- the user and the mailbox ------------------------------------------------------------------------------
    @property
    def mail(self) -> ISession:
        """The user's mail; only in states after login."""
        if self.session is None:
            raise RefusalError("not logged in", kind="BAD")
        return self.session

    @property
    def box(self) -> Selected:
        """The selected mailbox."""
        if self.selected is None:
            raise RefusalError("no mailbox is selected", kind="BAD")
        return self.selected

    def writable(self) -> Selected:
        """The selected mailbox, for a command that changes it."""
        box = self.box
        if box.read_only:
            # RFC 9051 section 6.3.3: EXAMINE permits no changes.
            raise RefusalError("the mailbox was opened read-only")
        return box

    def existing(self, name: str, right: str = "") -> MailboxInfo:
        """A mailbox by the name that the client gave.

        :param right: letter of RFC 4314 that the user must have on it.
        :raise RefusalError: with NONEXISTENT, also when he may not even know of it; else with NOPERM.
        """
        try:
            info = self.mail.mailbox(parse_mailbox_name(name))
        except IdentifierError:
            info = None
        if info is None or (info.rights is not None and right not in info.rights and "l" not in info.rights):
            # RFC 4314 section 6: what the user may not list is not there.
            raise RefusalError("no such mailbox", "NONEXISTENT")
        if info.rights is not None and right and right not in info.rights:
            raise RefusalError("your rights on this mailbox do not allow that", "NOPERM")
        return info

    def tells_uids(self, name: str) -> bool:
        """Whether the UIDs that messages got in this mailbox are told: APPENDUID and COPYUID."""
        if "UIDPLUS" not in self.offered:
            return False
        # RFC 9051 sections 6.3.12 and 6.4.7: not of a mailbox that the user may put messages into but not select.
        info = self.mail.mailbox(name)
        return info is not None and (info.rights is None or "r" in info.rights)

    def current_exchange(self) -> tuple[bytes, Any]:
        """The tag and the exchange of the AUTHENTICATE that is under way."""
        if self.exchange is None:
            raise RefusalError("no authentication is under way", kind="BAD")
        return self.exchange

    def leave(self) -> None:
        """The selected mailbox is left, if there is one."""
        box, self.selected = self.selected, None
        self.saved = ()
        if box is not None:
            if self.qresync and box.view.withheld:
                self.tell_complete(box.view)
            box.view.live.unlisten(self.wake)
            if self.notifying is not None:
                self.notifying.left()
            box.mailbox.close()
            # It refers to the box: both shall go at once.
            box.news = None
            self.state = State.AUTHENTICATED

    def tell_news(self) -> None:
        """Tell what there is in ``news``."""
        for source in self.news:
            self.out += source.take()

    def end_news(self) -> None:
        """Nothing of that is told any more."""
        while self.news:
            self.news.pop().close()

    # -- messages ----------------------------------------------------------------------------------------------
    def ranges(self, numbers: SequenceSet, *, uid: bool) -> list[tuple[int, int]]:
        """The messages that a command names, as half-open ranges of positions in the view.

        :raise RefusalError: BAD for a sequence number that does not exist.
        """
        uids = self.box.view.uids
        if numbers.saved:
            return self.saved_ranges()
        if uid:
            return numbers.index_ranges(uids)
        if numbers.exceeds(len(uids)):
            # RFC 9051 section 9, seq-number: not to be used for a message that is not there.
            raise RefusalError("no message has that sequence number", kind="BAD")
        return numbers.number_ranges(len(uids))

    def saved_ranges(self) -> list[tuple[int, int]]:
        """Where the messages of ``$`` are; those that went since are no longer among them (RFC 5182 section 2.1)."""
        places = places_of(self.box.view.uids, self.saved)
        if isinstance(places, range):
            return [(places.start, places.stop)]
        return [(first - 1, last) for first, last in compact_ranges([at + 1 for at in places])]

    def uids(self, ranges: Iterable[tuple[int, int]]) -> array[int]:
        """The UIDs at these positions."""
        known = self.box.view.uids
        found = array("I")
        for start, stop in ranges:
            found += known[start:stop]
        return found

    def deleted(self, uids: Sequence[int]) -> list[int]:
        r"""Those of C{uids} (ascending) that have \Deleted."""
        view, live = self.box.view, self.box.view.live
        known = live.uids
        positions = range(len(known)) if uids is known else view.live_positions(uids)
        flags = live.flags
        return [known[at] for at in positions if flags[at].system & DELETED]

    # -- news --------------------------------------------------------------------------------------------------
    def tell(self, pieces: Iterable[Piece]) -> None:
        """Put this out. Where there is very much, an iterator makes it when its turn comes, of what is so now."""
        for piece in pieces:
            self.out.append(piece)
            if not isinstance(piece, bytes):
                self.long = True

    def take(self) -> Iterator[bytes]:
        """What is to be sent, once."""
        out, self.out[:] = list(self.out), ()
        self.long = False
        return flat(out)

    def tell_complete(self, view: SessionView) -> None:
        """RFC 7162 section 6: the client must not take the MODSEQs it has read for all that happened."""
        self.out.append(b"* OK [HIGHESTMODSEQ %d] some changes are still to be told\r\n" % view.complete)

    def attend(self) -> None:
        """Be woken when the selected mailbox changes."""
        box = self.selected
        if box is not None and not box.attended:
            box.attended = True
            box.view.live.listen(self.wake)

    def unattend(self) -> None:
        """Be woken no more, unless NOTIFY wants it."""
        box = self.selected
        if box is not None and box.attended and (self.notifying is None or self.notifying.selected is None):
            box.attended = False
            box.view.live.unlisten(self.wake)

    def unnotify(self) -> None:
        """NOTIFY is over."""
        notifying, self.notifying = self.notifying, None
        if notifying is not None:
            notifying.stop()
            if self.state is not State.IDLING:
                self.unattend()

    def caused(self, kind: str, what: Iterable[str | int]) -> None:
        """This connection did something: NOTIFY and UPDATE need not tell it; see ``Notifying.caused``."""
        if self.notifying is not None:
            self.notifying.caused(kind, what)
        observer = self.selected.view.observer if self.selected is not None else None
        if observer is not None and canonical(self.box.name) == canonical(kind):
            observer.caused(uid for uid in what if isinstance(uid, int))

    @property
    def foreseeing(self) -> IViewObserver | None:
        """Who should say what changes mean before ``sync`` tells them, because it takes long; see ``IViewObserver.foresee``."""
        view = None if self.selected is None else self.selected.view
        observer = None if view is None else view.observer
        if observer is None or view is None or view.believed() is not None or not observer.long:
            return None
        if self.notifying is not None and self.notifying.selected is None:
            # RFC 5465 section 3.1: nothing is told of the mailbox.
            return None
        return observer

    async def give_way(self, count: int) -> None:
        """After work on so many messages, a change that the mailbox's state took in just now, say: what follows from it is another turn's.

        Nothing else is told to the client meanwhile; but the mailbox may change again, or be left because the connection is lost.
        """
        if count > _MANY and self.pause is not None:
            await self.pause(0)

    async def foresee(self) -> None:
        """Before ``sync`` with ``allow_expunge``, where a command may wait."""
        observer = self.foreseeing
        if observer is not None:
            await observer.foresee()

    def sync(self, *, allow_expunge: bool) -> None:
        """Tell the client what changed in the selected mailbox."""
        if self.notifying is not None:
            self.tell(self.notifying.sync(allow_expunge=allow_expunge))
        elif self.selected is not None:
            self.tell(
                self.selected.view.sync(
                    allow_expunge=allow_expunge, modseq=self.condstore, vanished=self.qresync
                )
            )
        if self.selected is not None and self.selected.news is not None:
            self.out += self.selected.news()
