"""Commands as coroutines, over anything that can carry out a ``Request``.

``Session`` has what belongs to the connection itself; the other families are ``mailboxcommands``, ``messagecommands`` and
``accountcommands``. ``moxtwisted.imap.agent.IMAPClient`` is all of them on a Twisted connection; a test gives them a list of answers.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar

from attrs import define, field

from moxtwisted.errors import MailError
from moxtwisted.identifiers import is_inbox
from moxtwisted.imap.client.machine import BodyStarted, Completed
from moxtwisted.imap.client.needs import not_offered
from moxtwisted.imap.client.notices import Notice, notice
from moxtwisted.imap.client.requests import Request, SegmentWriter, of_command, plain
from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.sequence import SequenceSet

__all__ = [
    "BodySink",
    "CommandRefusedError",
    "ConnectionFailedError",
    "MessageSource",
    "NotOfferedError",
    "NotUnderstoodError",
    "Selected",
    "Session",
    "called",
    "same_mailbox",
    "several",
]

_R = TypeVar("_R", bound=r.Response)
_V = TypeVar("_V")

_VIRTUAL_RIGHTS: Final = str.maketrans("", "", "cd")


class CommandRefusedError(MailError):
    """The server said NO or BAD.

    :ivar status: its tagged response.
    :ivar imap_code: the name of its code, or empty.
    :ivar code_value: what the code says, typed: ``BadUrl``, ``UndefinedFilter``, ``SupportedEvents``, ``MetadataRefusal``, ``MessageLimit``
        and others of ``moxtwisted.imap.wire.responsedata``; ``None`` when it says nothing more.
    :ivar responses: data that came before it.
    """

    public_text = "the IMAP server refused"

    def __init__(self, status: r.StatusResponse, word: str, responses: tuple[r.Response, ...] = ()) -> None:
        super().__init__(f"{word}: {status.condition} {status.text[:500]}")
        self.status = status
        self.responses = responses
        self.imap_code = status.code.name if status.code is not None else ""
        self.code_value: r.CodeValue = status.code.value if status.code is not None else None


class NotOfferedError(MailError):
    """The server has not announced what this takes."""

    public_text = "the IMAP server does not offer this"


class ConnectionFailedError(MailError):
    """The connection is gone, or was never there.

    :ivar __cause__: what a sink, a source or a function of the program raised, if the connection was given up for that.
    """

    public_text = "connection to the IMAP server"


class NotUnderstoodError(ConnectionFailedError):
    """The server said what no server may say, or too much of it, and was hung up on."""

    public_text = "the IMAP server says what cannot be understood"


class BodySink(Protocol):
    """Takes a large section as it comes."""

    def write(self, octets: bytes) -> Awaitable[None] | None:
        """Take octets; nothing more is read from the server before what is returned has fired."""

    def close(self, *, complete: bool) -> None:
        """That was the last of them, or the connection was lost in the middle."""


class MessageSource(Protocol):
    """Gives the octets of a message."""

    @property
    def size_octets(self) -> int:
        """How many there are."""

    def read(self, octets: int) -> bytes | Awaitable[bytes]:
        """The next ones, at least one and at most so many."""


@define(eq=False)
class Selected:
    """The mailbox that is open, as it was told last.

    :ivar counted: whether the server has said how many messages there are, as it must (RFC 9051 section 6.3.2).
    :ivar highestmodseq: how far what was told goes (RFC 7162 section 6): a client that takes in all of it may keep this, to come back
        with QRESYNC or CHANGEDSINCE. ``None`` when the server has not said one, or has none (NOMODSEQ).
    :ivar uids_stick: whether messages keep their UIDs when the mailbox is opened again (RFC 4315, UIDNOTSTICKY).
    :ivar url_mechanisms: how URLs of its messages can be authorised (RFC 4467 section 8).
    :ivar vanished: with QRESYNC: what had vanished.
    :ivar changed: with QRESYNC: messages that had changed.
    """

    mailbox: str
    read_only: bool = False
    exists: int = 0
    counted: bool = False
    uidvalidity: int = 0
    uidnext: int | None = None
    highestmodseq: int | None = None
    flags: tuple[str, ...] = ()
    permanent_flags: tuple[str, ...] = ()
    mailbox_id: str | None = None
    uids_stick: bool = True
    url_mechanisms: tuple[r.UrlMechanism, ...] = ()
    vanished: list[SequenceSet] = field(factory=list)
    changed: list[r.Fetched] = field(factory=list)
    _modseq: int = 0
    _modseq_said: bool = False

    def take(self, response: r.Response) -> None:
        """Learn from a response."""
        match response:
            case r.Exists(count):
                self.exists, self.counted = count, True
            case r.Expunged():
                self.exists = max(0, self.exists - 1)
            case r.VanishedData(earlier=True):
                self.vanished.append(response.uids)
            case r.VanishedData(uids):
                gone = sum(high - low + 1 for low, high in uids.ranges)
                self.exists = max(0, self.exists - gone)
            case r.FlagsData(flags):
                self.flags = flags
            case r.Fetched(items={"MODSEQ": int(modseq)}):
                self._modseq = max(self._modseq, modseq)
            case r.StatusResponse(code=r.ResponseCode(name, value)):
                self._take_code(name, value)
            case _:
                pass

    def _take_code(self, name: str, value: object) -> None:
        if name in {"UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ"} and isinstance(value, int):
            setattr(self, name.lower(), value)
            self._modseq_said = self._modseq_said or name == "HIGHESTMODSEQ"
        elif name == "NOMODSEQ":
            self.highestmodseq = None
        elif name == "PERMANENTFLAGS" and isinstance(value, tuple):
            self.permanent_flags = tuple(map(str, value))
        elif name == "MAILBOXID" and isinstance(value, tuple) and value:
            self.mailbox_id = str(value[0])
        elif isinstance(value, r.UrlMechanisms):
            self.url_mechanisms = value.mechanisms
        elif name == "UIDNOTSTICKY":
            self.uids_stick = False
        elif name in {"READ-ONLY", "READ-WRITE"}:
            self.read_only = name == "READ-ONLY"

    def answered(self, *, alone: bool) -> None:
        """A command has ended: work out the mod-sequence, where the server has not said it.

        :param alone: no other one is under way.
        """
        # RFC 7162 section 6: the highest MODSEQ since the last tagged response counts there and not before, for messages need not come
        # in the order of their mod-sequences; and not if HIGHESTMODSEQ came, which is lower while the server delays a VANISHED. We also
        # wait for the other commands under way: a server that works on several may have told of the later change first.
        if self._modseq_said:
            self._modseq, self._modseq_said = 0, False
        elif alone:
            if self.highestmodseq is not None:
                self.highestmodseq = max(self.highestmodseq, self._modseq)
            self._modseq = 0


def same_mailbox(one: str, other: str) -> bool:
    """Whether two names are those of one mailbox: INBOX is written in any case (RFC 9051 section 5.1)."""
    return one == other or (is_inbox(one) and is_inbox(other))


def called(mailbox: str, names: Sequence[str]) -> str:
    """What the server calls a mailbox, of the names in its answers.

    RFC 9051 section 6.3.9.7: it may have another name for it than it was asked with. So where none is that name, and there had to be
    one, it is the last.
    """
    return mailbox if not names or any(same_mailbox(name, mailbox) for name in names) else names[-1]


def several(values: Sequence[_V]) -> Sequence[_V]:
    """A list of things. Text is a sequence, too, of letters, which nobody means.

    :raise TypeError: it is text.
    """
    if isinstance(values, (str, bytes)):
        raise TypeError(f"a list is expected, not {values[:100]!r}")
    return values


def _check_fields(fields: Sequence[tuple[str, str | None]]) -> None:
    """RFC 2971 section 3.3: what ID must not say. :raise ValueError:"""
    names = [name.lower() for name, _ in fields]
    if len(names) > c.MAX_ID_FIELDS or len(set(names)) < len(names):
        raise ValueError(f"ID has {c.MAX_ID_FIELDS} fields at most, each once")
    for name, value in fields:
        if len(name.encode()) > c.MAX_ID_FIELD_OCTETS or len((value or "").encode()) > c.MAX_ID_VALUE_OCTETS:
            raise ValueError(f"ID: {name[:100]!r} or what it says is too long")


class Session(abc.ABC):
    """A connection to a server.

    :ivar selected: the open mailbox, or ``None``.
    """

    selected: Selected | None = None

    @property
    @abc.abstractmethod
    def capabilities(self) -> frozenset[str]:
        """What the server announced last, in upper case."""

    @abc.abstractmethod
    async def execute(
        self,
        request: Request,
        *,
        each: Callable[[r.Response], Awaitable[None] | None] | None = None,
        sinks: Callable[[BodyStarted], BodySink | None] | None = None,
        sources: Sequence[MessageSource] = (),
        seconds: float | None = None,
    ) -> Completed:
        """Carry out a command.

        :param each: is given the data as it comes; then none is kept.
        :param sinks: called for each large section; ``None`` from it throws the section away.
        :param sources: the octets of the ``UploadPart`` of the request, in order.
        :param seconds: how long the server may say nothing.
        :raise CommandRefusedError: it was answered with NO or BAD.
        :raise ConnectionFailedError:
        """

    @abc.abstractmethod
    def told(self, heard: Notice) -> None:
        """The server has told something."""

    # -- for the families ----------------------------------------------------------------------------------------------

    def others(self, responses: Iterable[r.Response], done: Completed | None = None) -> None:
        """Data that the command did not ask for.

        :param done: the command, when it has ended: its tagged response tells of the mailbox, too.
        """
        for response in responses:
            if self.selected is not None:
                self.selected.take(response)
            self.told(notice(response))
        # RFC 7162 section 6: every HIGHESTMODSEQ is to be used; with QRESYNC it stands in the tagged OK of EXPUNGE and UID EXPUNGE
        # (sections 3.2.7 and 3.2.9). Other codes there may be about another mailbox, as MAILBOXID of CREATE is (RFC 8474 section 4.1).
        if done is None or self.selected is None:
            return
        for response in done.responses:
            if isinstance(response, r.Fetched):
                self.selected.take(response)  # those that were asked for, too
        if done.status.code is not None and done.status.code.name == "HIGHESTMODSEQ":
            self.selected.take(done.status)
        self.selected.answered(alone=done.alone)

    async def ask(self, request: Request, wanted: type[_R]) -> list[_R]:
        """Carry out a command whose answers are of one type."""
        done = await self.execute(request)
        return self.pick(done, wanted)

    def pick(
        self, done: Completed, wanted: type[_R], fits: Callable[[_R], bool] = lambda _: True
    ) -> list[_R]:
        """The responses of one type that fit; the rest are news."""
        found: list[_R] = []
        rest: list[r.Response] = []
        for response in done.responses:
            if isinstance(response, wanted) and fits(response):
                found.append(response)
            else:
                rest.append(response)
        self.others(rest, done)
        return found

    async def do(self, request: Request) -> r.ResponseCode | None:
        """Carry out a command that has no data; the code of its answer."""
        done = await self.execute(request)
        self.others(done.responses, done)
        return done.status.code

    def offers(self, *names: str) -> bool:
        """Whether the server has announced one of these."""
        return not self.capabilities.isdisjoint(names)

    def need(self, *names: str) -> None:
        """:raise NotOfferedError: it has announced none of these."""
        if not self.offers(*names):
            raise NotOfferedError(names[0])

    def need_for(self, *values: object) -> None:
        """:raise NotOfferedError: it has not announced what these need: search keys, options, data items; text needs nothing."""
        name = not_offered(values, self.capabilities)
        if name is not None:
            raise NotOfferedError(name)

    def offered(self, name: str) -> frozenset[str]:
        """What stands behind the ``=`` of capabilities, in upper case: ``{"REFERENCES"}`` of ``"THREAD"``, ``{"KXTE"}`` of ``"RIGHTS"``."""
        return frozenset(
            one.removeprefix(name + "=") for one in self.capabilities if one.startswith(name + "=")
        )

    def standard_rights(self, told: str) -> str:
        """Rights as the server told them, without the virtual ``c`` and ``d``.

        RFC 4314 section 2.1.1: they are to be ignored, or who sets what he has read would give more. A server without RIGHTS= knows
        that standard's predecessor alone, where they are rights as others.
        """
        return told.translate(_VIRTUAL_RIGHTS) if self.offered("RIGHTS") else told

    def offered_number(self, name: str) -> int | None:
        """The number of a capability: of ``"MESSAGELIMIT"`` how many messages a command is about, of ``"APPENDLIMIT"`` octets."""
        return next((int(one) for one in self.offered(name) if one.isdecimal() and len(one) < 20), None)

    # -- commands ------------------------------------------------------------------------------------------------------

    async def capability(self) -> frozenset[str]:
        """Ask what the server offers."""
        await self.do(of_command(c.Capability(b"")))
        return self.capabilities

    async def noop(self) -> None:
        """Ask for news."""
        await self.do(of_command(c.Noop(b"")))

    async def logout(self) -> None:
        """Say good-bye; the server closes the connection."""
        await self.execute(of_command(c.Logout(b"")))

    async def enable(self, *names: str) -> frozenset[str]:
        """Have these extensions, as far as the server has them; what is enabled now."""
        answers = await self.ask(of_command(c.Enable(b"", names)), r.Enabled)
        return frozenset(name for answer in answers for name in answer.names)

    async def identify(self, fields: Sequence[tuple[str, str | None]] | None = None) -> dict[str, str | None]:
        """ID (RFC 2971): tell who we are, or nothing; who the server says it is. Not to decide anything by.

        :raise ValueError: what section 3.3 does not let us send: more than 30 fields, one of them twice, or too long.
        """
        _check_fields(fields or ())
        request = of_command(c.Id(b"", None if fields is None else tuple(fields)))
        answers = await self.ask(request, r.IdData)
        return answers[-1].fields if answers else {}

    async def namespace(self) -> r.NamespaceData:
        """Prefixes of own, other users' and shared mailboxes (RFC 2342)."""
        answers = await self.ask(of_command(c.Namespace(b"")), r.NamespaceData)
        return answers[-1] if answers else r.NamespaceData((), (), ())

    async def compress(self) -> None:
        """Compress everything from now on (RFC 4978)."""
        self.need("COMPRESS=DEFLATE")
        await self.do(plain("COMPRESS", b"DEFLATE"))

    async def unauthenticate(self) -> None:
        """Be nobody again, on the same connection (RFC 8437)."""
        self.need("UNAUTHENTICATE")
        await self.do(plain("UNAUTHENTICATE"))
        self.selected = None
        await self.capability()

    async def language(self, *ranges: str) -> tuple[str, ...]:
        """Choose the language of texts, or ask which there are (RFC 5255)."""
        self.need("LANGUAGE")

        def write(writer: SegmentWriter) -> None:
            for name in ranges:
                writer.space()
                writer.astring(name)

        answers = await self.ask(Request("LANGUAGE", write), r.LanguageData)
        return answers[-1].tags if answers else ()

    async def jmap_session_url(self) -> str | None:
        """Where the same mail is to be had by JMAP (RFC 9698 section 4), if the server says it."""
        self.need("JMAPACCESS")
        answers = await self.ask(plain("GETJMAPACCESS"), r.JmapAccessData)
        return answers[-1].url if answers else None
