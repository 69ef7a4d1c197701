"""A small mail server in memory but for its store: two domains, three accounts, listeners with transports of strings.

::

    house = House(Path(self.mktemp()))
    line = house.inbound()
    line.say("MAIL FROM:<a@client.example>")
    house.messages("alice")
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxtwisted.imap.settings import ServerSettings as IMAPSettings
from moxtwisted.imap.settings import Timeouts as IMAPTimeouts
from moxtwisted.sasl.credentials import derive
from moxtwisted.server.authentication import AuthenticationSettings, Authenticator, IPasswordWork
from moxtwisted.server.credentials import PASSWORD, DirectoryCredentials
from moxtwisted.server.delivery import LocalDelivery
from moxtwisted.server.directory import (
    AccountEntry,
    AliasEntry,
    Delivery,
    Directory,
    DirectoryHolder,
    DomainEntry,
    Postmaster,
)
from moxtwisted.server.imapd.service import IMAPService, Mail
from moxtwisted.server.inbound.handler import Inbound, InboundFactory, InboundSettings
from moxtwisted.server.inbound.provocation import ByLocalpart, Provocation
from moxtwisted.server.inbound.room import Room
from moxtwisted.server.intake import Trouble
from moxtwisted.server.lending.interfaces import AllHere
from moxtwisted.server.processes.link import Link
from moxtwisted.server.ratelimit import ConnectionLimiter, ConnectionLimits
from moxtwisted.server.receivers.far import FarOutcome, FarRoom, Owner
from moxtwisted.server.receivers.near import Desk, Receiver
from moxtwisted.server.receivers.words import Word
from moxtwisted.server.submission.handler import Submission, SubmissionFactory, SubmissionSettings
from moxtwisted.server.submission.signing import Signing
from moxtwisted.smtp.protocol import SMTPServerFactory
from moxtwisted.smtp.settings import Mode, ServerSettings, Timeouts
from moxtwisted.store.accounts import Account
from moxtwisted.store.consistency import check
from moxtwisted.store.queue import Queue, SendingLimits
from moxtwisted.store.store import Store
from tests.sasl.backends import CHEAP, CountingEntropy
from tests.server.lending.places import Lent

NOW = 1_700_000_000.0
SECRET = "correct horse"
HOST = "mx.example.org"
VERIFIERS = derive(SECRET, CountingEntropy(), costs=CHEAP).to_bytes()

DOMAINS = (
    DomainEntry(
        "example.org",
        aliases={
            "team": AliasEntry(("alice@example.org", "bob@example.org")),
            "inner": AliasEntry(("alice@example.org",), post_public=False, allow_message_from=True),
            "ghosts": AliasEntry(("nobody@example.org",)),
        },
    ),
    DomainEntry("strict.example", separators=(), case_sensitive=True),
    DomainEntry("off.example", disabled=True),
    DomainEntry("all.example"),
)
ACCOUNTS = (
    AccountEntry("alice", addresses={"alice@example.org": "INBOX", "alice@off.example": "INBOX"}),
    AccountEntry(
        "bob",
        addresses={
            "bob@example.org": "INBOX",
            "Bob@strict.example": "Strict",
            "bob.list@example.org": "Lists",
        },
    ),
    AccountEntry("carol", addresses={"@all.example": "INBOX"}),
)


@implementer(IPasswordWork)
class WorkAtOnce:
    """Password hashes without threads."""

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """See ``IPasswordWork``."""
        return function(*arguments)


class Line:
    """One client's connection.

    :ivar transport: what the server writes to.
    :ivar login_answer: to AUTH.
    :ivar greeting: of an MX.
    """

    login_answer = ""
    greeting = ""

    def __init__(self, factory: Any, clock: Clock, ip: str) -> None:
        peer = IPv4Address("TCP", ip, 40000)
        self.clock = clock
        self.transport: Any = Transport(peerAddress=peer, hostAddress=IPv4Address("TCP", "192.0.2.25", 25))
        self.protocol = factory.buildProtocol(peer)
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def say(self, *lines: str | bytes) -> str:
        """What the server answers to these lines."""
        octets = b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n" for line in lines)
        self.protocol.dataReceived(octets)
        return self.heard()

    def heard(self) -> str:
        """What was written since."""
        answer: str = self.transport.value().decode()
        self.transport.clear()
        return answer.removesuffix("\r\n")

    def begin(self, sender: str, *recipients: str) -> str:
        """MAIL and RCPT; the last answer."""
        answer = self.say(f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            answer = self.say(f"RCPT TO:<{recipient}>")
        return answer

    def send(self, message: bytes) -> str:
        """DATA; the answer to the message."""
        self.say("DATA")
        return self.say(message.rstrip(b"\r\n").replace(b"\r\n.", b"\r\n.."), ".")

    def drop(self) -> None:
        """The client disappears."""
        self.transport.loseConnection()


class Transport(StringTransportWithDisconnection):
    """Closes at once."""

    def abortConnection(self) -> None:
        self.loseConnection()

    def loseConnection(self, reason: Any = None) -> None:
        if self.connected:
            super().loseConnection()


class _End:
    """One end of a link in memory."""

    def __init__(self, other: Link[Any]) -> None:
        self._other = other

    def write(self, data: bytes) -> None:
        self._other.dataReceived(data)

    def send_with(self, descriptors: Sequence[int], data: bytes) -> None:
        for descriptor in descriptors:
            self._other.fileDescriptorReceived(descriptor)
        self._other.dataReceived(data)

    def abortConnection(self) -> None:
        self._other.connectionLost()


def connect_links(one: Link[Any], other: Link[Any]) -> None:
    """Connect two ends of a link with each other."""
    one.makeConnection(_End(other))
    other.makeConnection(_End(one))


class House:
    """All of it.

    :ivar far: whether a receiver takes in what is judged, as another process would.
    :ivar store: has the accounts.
    :ivar taking: the store of the process that takes mail in: the same, unless they are lent.
    :ivar lent: where they are then, as another process would have them; None: they are here.
    """

    def __init__(
        self, directory: Path, *, everything: bool = False, far: bool = False, lent: bool = False
    ) -> None:
        self.path = directory
        self.far = far
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = Store.open(None, directory, None, threads=0, seconds=self.clock.seconds)
        self.queue = Queue.open(directory / "queue.db", None, self.store.pool)
        self.quotas: dict[str, int] = {}
        self.store.quota_of = self.quotas.get
        for entry in ACCOUNTS:
            done = self.store.create_account(entry.name)
            done.addErrback(lambda failure: failure.raiseException())
        self.holder = DirectoryHolder(self.directory(everything=everything))
        self.taking = self.store
        self.lent: Lent | None = None
        self.places: Any = AllHere()
        if lent:
            self.taking = Store.open(None, directory / "owner", None, threads=0, seconds=self.clock.seconds)
            self.lent = self.places = Lent(self.store, self.taking, self.clock.seconds, directory / "owner")
        self.delivery = LocalDelivery(self.taking, self.clock.seconds, self.places)
        self.connections = ConnectionLimiter(ConnectionLimits(exempt=()), self.clock)
        self.provocation = ByLocalpart(self.clock) if everything else Provocation()
        self.checks: Any = None
        self.outcome: Any = None
        self.turn_away: Any = None
        self.rejects: Any = None
        self.authenticator = Authenticator(
            DirectoryCredentials(self.holder, self.taking, self.places),
            WorkAtOnce(),
            self.clock,
            CountingEntropy(),
            settings=AuthenticationSettings(costs=CHEAP),
        )
        self.limits = SendingLimits()
        self.signing: Signing | None = None

    def give_passwords(self) -> None:
        """Everybody's is ``SECRET``."""
        for entry in ACCOUNTS:
            self.store.account(entry.name).set_secret(PASSWORD, VERIFIERS)

    @staticmethod
    def directory(
        domains: Sequence[DomainEntry] = DOMAINS,
        accounts: Sequence[AccountEntry] = ACCOUNTS,
        *,
        everything: bool = False,
    ) -> Directory:
        """Who is here."""
        return Directory.build(
            domains,
            accounts,
            Postmaster("alice", "Postmaster"),
            HOST,
            Delivery("alice", "INBOX") if everything else None,
        )

    def inbound(
        self, ip: str = "198.51.100.7", *, lmtp: bool = False, delay: float = 5.0, prdr: bool = False
    ) -> Line:
        """A connection to the MX, or LMTP."""
        settings = ServerSettings(
            hostname=HOST,
            mode=Mode.LMTP if lmtp else Mode.MX,
            timeouts=Timeouts(handler=7200, slow_read=0.0, slow_write=0.0),
            prdr=prdr,
        )
        shared = Inbound(
            settings=InboundSettings(hostname=HOST, lmtp=lmtp, unknown_recipients_delay_seconds=delay),
            stage=self.taking.stage,
            room=Room(self.taking, Trouble(self.clock.seconds), self.outcome, self.places),
            directory=self.holder,
            delivery=self.delivery,
            clock=self.clock,
            connections=self.connections,
            provocation=self.provocation,
            checks=self.checks if not lmtp or self.outcome is not None else None,
            outcome=self.outcome,
            turn_away=self.turn_away,
            seconds=self.clock.seconds,
        )
        if self.far and self.outcome is not None and not lmtp:
            shared = self._far(shared)
        line = Line(SMTPServerFactory(settings, InboundFactory(shared), self.clock), self.clock, ip)
        line.greeting = line.heard()
        line.say("LHLO client.example" if lmtp else "EHLO client.example")
        return line

    def _far(self, shared: Inbound) -> Inbound:
        """The same by way of a receiver, which has the connections admitted here all the same."""
        desk = Desk(
            outcome=self.outcome,
            directory=self.holder,
            message_octets=100_000_000,
            room=shared.room,
            connections=self.connections,
            republish=lambda event, number: None,
            took_in=lambda: near.link.say(Word.SPLITTING, self.outcome().splits),
        )
        owner = Owner(lambda word, values: None, lambda: None)
        near = Receiver(desk, 1, lambda: None, lambda receiver: None)
        connect_links(owner.link, near.link)
        near.link.say(Word.SPLITTING, self.outcome().splits)
        outcome = FarOutcome(owner, self.outcome().policy, self.outcome().has_traps)
        return evolve(
            shared,
            room=FarRoom(owner, lambda account: self.quotas.get(account) is not None),
            delivery=None,
            outcome=lambda: outcome,
        )

    def submission(self, user: str = "alice@example.org", ip: str = "198.51.100.8") -> Line:
        """A connection of somebody who logged in (nobody when the name is empty)."""
        settings = ServerSettings(
            hostname=HOST, mode=Mode.SUBMISSION, mechanisms=("PLAIN",), auth_without_tls=True
        )
        shared = Submission(
            settings=SubmissionSettings(hostname=HOST, mechanisms=("PLAIN",), limits=self.limits),
            store=self.taking,
            queue=self.queue,
            directory=self.holder,
            delivery=self.delivery,
            authenticator=self.authenticator,
            clock=self.clock,
            connections=self.connections,
            provocation=self.provocation,
            signing=lambda: self.signing,
            seconds=self.clock.seconds,
            places=self.places,
        )
        line = Line(SMTPServerFactory(settings, SubmissionFactory(shared), self.clock), self.clock, ip)
        line.heard()
        line.say("EHLO [198.51.100.8]")
        if user:
            plain = base64.b64encode(f"\0{user}\0{SECRET}".encode()).decode()
            line.login_answer = line.say(f"AUTH PLAIN {plain}")
        return line

    def imap(self, ip: str = "198.51.100.9", **mail: Any) -> Line:
        """An IMAP connection, not logged in."""
        shared = Mail(
            store=self.store,
            directory=self.holder,
            authenticator=self.authenticator,
            connections=self.connections,
            mechanisms=("SCRAM-SHA-256", "PLAIN", "EXTERNAL"),
            append_limit=mail.pop("append_limit", 1_000_000),
            seconds=self.clock.seconds,
            queue=self.queue,
            lending=mail.pop("lending", None),
        )
        settings = IMAPSettings(
            hostname=HOST, allow_plain_without_tls=True, timeouts=IMAPTimeouts(login_failure_pause=0.0)
        )
        self.imap_factory = IMAPService(settings, shared, self.clock, None)
        return Line(self.imap_factory, self.clock, ip)

    def messages(self, account: str, mailbox: str = "INBOX") -> list[bytes]:
        """The octets of what is there."""
        mine = self.store.account(account)
        found = mine.mailbox(mailbox)
        if found is None:
            return []
        return [self.octets(mine, found.id, uid) for uid in mine.state(found.id).uids]

    @staticmethod
    def octets(account: Account, mailbox: int, uid: int) -> bytes:
        reader = account.open_body(mailbox, uid)
        if reader is None:
            raise LookupError(uid)
        try:
            return reader.read(0, reader.size)
        finally:
            reader.close()

    async def close(self) -> None:
        """Close the files."""
        await self.queue.close()
        await self.store.close()
        if self.lent is not None:
            await self.taking.close()

    def leaks(self) -> list[str]:
        """What is still held though every connection is gone."""
        found = [f"file {path}" for path in (self.path / "tmp").iterdir()]
        if self.lent is not None:
            found += self.lent.held()
        for name in self.store.accounts():
            account = self.store.account(name)
            found += [f"{name}: body {body} is held" for body in account._pins]
            found += [f"{name}: {problem}" for problem in check(account.reader)]
        if self.connections._open:
            found.append(f"connections {self.connections._open}")
        return found


class HouseCase(SynchronousTestCase):
    """Tests in a house."""

    everything = False
    far = False
    lent = False

    def setUp(self) -> None:
        """Build it, and look for leaks at the end."""
        self.house = House(Path(self.mktemp()), everything=self.everything, far=self.far, lent=self.lent)
        self.addCleanup(self.tear_down)

    def tear_down(self) -> None:
        """Whatever was done, the accounts agree with themselves; then close the files."""
        for name in self.house.store.accounts():
            self.assertEqual(check(self.house.store.account(name).reader), [], name)
        if self.house.lent is not None:
            self.assertEqual(self.house.lent.held(), [])
        self.successResultOf(Deferred.fromCoroutine(self.house.close()))
