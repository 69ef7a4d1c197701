"""Connections that leave for another process after the log-in, over real sockets; both processes are this one."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import ssl
import threading
import zlib
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.imap import memory
from moxtwisted.imap.backend import IAuthenticator, ISession
from moxtwisted.imap.departing import Departure, IAwaySession, Peer, Way
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.preauthentication import IPreauthenticator
from moxtwisted.imap.protocol import IMAPServerFactory, IMAPServerProtocol, ServerTLS
from moxtwisted.imap.settings import ServerSettings, Timeouts
from moxtwisted.server.sockets import Carrier, listen_tcp
from moxtwisted.transport.facts import Transport
from tests.imap.test_tls import context

T = TypeVar("T")

#: Octets of the long message.
LONG = 5_000_000
#: Between two looks at what shall become so.
MOMENT = 0.005


class Counted(memory._Session):
    """Tells its end."""

    place: DepartingTests

    def logout(self) -> None:
        """It ended."""
        super().logout()
        self.place.logouts += 1


class RefusedError(MailError):
    """The mail cannot be brought home."""

    imap_code = "UNAVAILABLE"
    public_text = "not now"


@implementer(IAwaySession)
class Away:
    """Mail that is with the keeper."""

    account = "alice"
    disabled_capabilities = frozenset({"PREVIEW"})
    append_limit = 10_000_000

    def __init__(self, place: DepartingTests) -> None:
        self.place = place

    def logout(self) -> None:
        """It ended before it left."""
        self.place.ended += 1

    def depart(self, departure: Departure, way: Way) -> None:
        """Over to the keeper."""
        # As over a link.
        departure = pickle.loads(pickle.dumps(departure))
        self.place.departures.append((departure, way))
        if self.place.arrives:
            self.place.arrive(departure, way)

    def stay(self) -> ISession:
        """The mail comes home."""
        self.place.stayed += 1
        if self.place.unavailable:
            raise RefusedError
        return self.place.session()


@implementer(IAuthenticator, IPreauthenticator)
class Authenticator(MemoryAuthenticator):
    """Knows where the mail is."""

    place: DepartingTests

    def session(self, identity: str, peer: Any) -> Any:
        """The mail, or where it is."""
        place = self.place
        if not place.away:
            return place.session()
        return Away(place) if place.held is None else place.later()

    async def preauthenticate(self, peer: Any) -> str | None:
        """Alice, who showed a certificate."""
        return "alice"


class Factory(IMAPServerFactory):
    """Notes what it is told."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.gone = 0
        self.left = 0

    def connection_lost(self, connection: IMAPServerProtocol) -> None:
        """It ended."""
        super().connection_lost(connection)
        self.gone += 1

    def departed(self, connection: IMAPServerProtocol) -> None:
        """It left."""
        super().departed(connection)
        self.left += 1


class Client:
    """Blocks, in a thread of its own.

    :param tls: whether the connection begins with it.
    :param room: octets that the kernel keeps for it.
    """

    def __init__(self, number: int, *, tls: bool = False, room: int = 0) -> None:
        self.socket = socket.socket()
        if room:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", number))
        self.heard = b""
        if tls:
            self.start_tls()

    def start_tls(self) -> None:
        made = ssl.create_default_context()
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
        self.socket = made.wrap_socket(self.socket, suppress_ragged_eofs=False)

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def until(self, end: bytes) -> bytes:
        """What comes up to the line that begins with these octets, and its end."""
        while (at := (b"\r\n" + self.heard).find(b"\r\n" + end)) < 0 or (
            stop := self.heard.find(b"\r\n", at)
        ) < 0:
            data = self.socket.recv(65536)
            if not data:
                raise AssertionError(f"ended with {self.heard[-200:]!r}")
            self.heard += data
        found, self.heard = self.heard[: stop + 2], self.heard[stop + 2 :]
        return found

    def rest(self) -> bytes:
        """What comes until the end, which has to be a clean one."""
        while data := self.socket.recv(65536):
            self.heard += data
        return self.heard

    def ask(self, command: bytes) -> bytes:
        """A command with its tag, and the responses."""
        self.send(command + b"\r\n")
        return self.until(command.partition(b" ")[0] + b" ")


class DepartingTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.mail = MemoryMail()
        self.mail.add("INBOX", b"Subject: one\r\n\r\ntext\r\n")
        self.departures: list[tuple[Departure, Way]] = []
        self.ended = self.stayed = self.logouts = 0
        self.away = self.arrives = True
        self.unavailable = False
        self.held: Deferred[None] | None = None
        self.settings = ServerSettings(
            hostname="mail.example.org",
            allow_plain_without_tls=True,
            timeouts=Timeouts(login_failure_pause=0.0),
        )

    def session(self) -> Any:
        """Alice's mail, which counts its ends."""
        session = Counted(self.mail, "alice")
        session.place = self
        return session

    async def later(self) -> Away:
        """Where the mail is, when the test says so."""
        assert self.held is not None
        await self.held
        return Away(self)

    def arrive(self, departure: Departure, way: Way) -> IMAPServerProtocol:
        """At the keeper."""
        return self.keeper.arrive(way.descriptor, departure, self.session())

    def serve(self, tls: ServerTLS | None = None, *, carried: bool = True) -> int:
        """Both factories; the port of the owner's."""
        authenticator = Authenticator({"alice": ("secret", self.mail)}, os.urandom)
        authenticator.place = self
        self.owner = Factory(self.settings, authenticator, reactor, tls)
        self.keeper = Factory(
            self.settings, MemoryAuthenticator({"alice": ("secret", self.mail)}, os.urandom), reactor
        )
        if carried:
            self.owner.carrier = self.keeper.carrier = Carrier(reactor)
        port: Any = listen_tcp(reactor, "127.0.0.1", 0, self.owner)

        async def stop() -> None:
            await port.stopListening()
            await self.owner.shutdown()
            await self.keeper.shutdown()

        self.addCleanup(stop)
        number: int = port.getHost().port
        return number

    def tls(self, **more: Any) -> ServerTLS:
        return ServerTLS(context(), **more)

    async def talk(self, what: Callable[[Client], T], number: int, **more: Any) -> T:
        """Something that a client does and finds."""

        def talk() -> T:
            client = Client(number, **more)
            try:
                return what(client)
            finally:
                client.socket.close()

        found: T = await deferToThread(talk)
        return found

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for something that will be so."""
        while not condition():
            await deferLater(reactor, MOMENT)

    async def all_gone(self) -> None:
        """Both sides have come to know the end, once each."""
        await self.until(lambda: not self.owner.connections and not self.keeper.connections)
        self.assertEqual((self.keeper.gone, self.logouts, self.ended), (1, 1, 0))
        self.assertEqual(self.owner.gone + self.owner.left, 1)

    # -- log-ins -------------------------------------------------------------------------------------------------
    async def test_login(self) -> None:
        """After LOGIN the keeper answers; the owner has nothing of the connection any more."""
        number = self.serve()

        def talk(client: Client) -> list[bytes]:
            client.until(b"* OK")
            told = [client.ask(b'a ID ("name" "tester")'), client.ask(b"b LOGIN alice secret")]
            return [*told, client.ask(b"c SELECT INBOX"), client.ask(b"d LOGOUT")]

        _, login, select, logout = await self.talk(talk, number)
        self.assertTrue(login.startswith(b"b OK [CAPABILITY IMAP4rev2"), login)
        self.assertNotIn(b"PREVIEW", login)
        self.assertNotIn(b"UNAUTHENTICATE", login)
        self.assertIn(b"* 1 EXISTS", select)
        self.assertIn(b"* BYE", logout)
        ((departure, way),) = self.departures
        self.assertIsNone(way.pump)
        self.assertEqual((departure.account, departure.identity), ("alice", "alice"))
        self.assertEqual(departure.client_id, (("name", "tester"),))
        self.assertEqual(departure.transport.peer.host, "127.0.0.1")
        self.assertFalse(departure.transport.tls)
        await self.all_gone()
        self.assertEqual((self.owner.left, self.owner.gone), (1, 0))

    async def test_authenticate(self) -> None:
        """AUTHENTICATE, with an initial response or after a challenge, ends the same way."""
        number = self.serve()
        secret = b64encode(b"\0alice\0secret")

        def at_once(client: Client) -> bytes:
            client.until(b"* OK")
            return client.ask(b"a AUTHENTICATE PLAIN " + secret) + client.ask(b"b STATUS INBOX (MESSAGES)")

        def challenged(client: Client) -> bytes:
            client.until(b"* OK")
            client.send(b"a AUTHENTICATE PLAIN\r\n")
            client.until(b"+")
            client.send(secret + b"\r\nb STATUS INBOX (MESSAGES)\r\n")
            return client.until(b"b ")

        for talk in (at_once, challenged):
            told = await self.talk(talk, number)
            self.assertTrue(told.startswith(b"a OK [CAPABILITY"), told)
            self.assertIn(b"(MESSAGES 1)", told)
        self.assertEqual(len(self.departures), 2)

    async def test_pipelined(self) -> None:
        """What came behind the log-in, also half a literal, is carried out by the keeper alone, in order."""
        number = self.serve()

        def talk(client: Client) -> bytes:
            client.send(
                b"a NOOP\r\nb LOGIN alice {6+}\r\nsecret\r\nc SELECT INBOX\r\nd APPEND INBOX {20+}\r\nSubject: two\r\n"
            )
            client.until(b"c OK")
            client.send(b"\r\ntext\r\n")
            client.until(b"d OK")
            return client.ask(b"e FETCH 2 BODY.PEEK[]")

        self.assertIn(b"{20}\r\nSubject: two\r\n\r\ntext)", await self.talk(talk, number))
        ((departure, _),) = self.departures
        self.assertTrue(departure.input.startswith(b"c SELECT INBOX\r\nd APPEND"), departure.input)

    async def test_octets_that_wait(self) -> None:
        """What the owner wrote and the client did not read yet goes to the keeper, which sends it first."""
        number = self.serve()

        def talk(client: Client) -> bytes:
            client.until(b"* OK")
            client.send(
                b"".join(b"n%d CAPABILITY\r\n" % n for n in range(40))
                + b"a LOGIN alice secret\r\nb SELECT INBOX\r\n"
            )
            self.departed.wait()
            return client.until(b"b OK")

        self.departed = threading.Event()
        made = self.owner.make_protocol

        def small() -> IMAPServerProtocol:
            protocol = made()
            begin = protocol.connectionMade

            def connectionMade() -> None:
                transport: Any = protocol.transport
                transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                begin()

            protocol.connectionMade = connectionMade  # type: ignore[method-assign]
            return protocol

        self.owner.make_protocol = small  # type: ignore[method-assign]
        talking = self.talk(talk, number, room=4096)
        found: Deferred[bytes] = Deferred.fromCoroutine(talking)  # type: ignore[arg-type]
        await self.until(lambda: self.departures)
        self.departed.set()
        told = await found
        ((departure, _),) = self.departures
        self.assertGreater(len(departure.output), 2 * len(departure.output.splitlines()[-1]))
        for n in range(40):
            self.assertEqual(told.count(b"n%d OK" % n), 1)
        self.assertIn(b"a OK [CAPABILITY", told)

    async def test_preauthenticated(self) -> None:
        """Who is known by a certificate is greeted by the keeper."""
        number = self.serve(self.tls(implicit=True, inspect=lambda connection: (True, {})))

        def talk(client: Client) -> list[bytes]:
            return [client.until(b"* "), client.ask(b"a SELECT INBOX")]

        greeting, select = await self.talk(talk, number, tls=True)
        self.assertTrue(greeting.startswith(b"* PREAUTH [CAPABILITY"), greeting)
        self.assertIn(b"* 1 EXISTS", select)
        ((departure, _),) = self.departures
        self.assertTrue(departure.transport.tls)
        self.assertTrue(departure.transport.client_key)

    # -- TLS -----------------------------------------------------------------------------------------------------
    async def over_tls(self, talk: Callable[[Client], T], *, starttls: bool = False) -> T:
        """Something that a client does after its log-in."""
        number = self.serve(self.tls(implicit=not starttls))

        def logged_in(client: Client) -> T:
            client.until(b"* OK")
            if starttls:
                client.ask(b"s STARTTLS")
                client.start_tls()
            client.ask(b"a LOGIN alice secret")
            return talk(client)

        return await self.talk(logged_in, number, tls=not starttls)

    async def in_clear(self, talk: Callable[[Client], T]) -> T:
        """The same without TLS."""

        def logged_in(client: Client) -> T:
            client.until(b"* OK")
            client.ask(b"a LOGIN alice secret")
            return talk(client)

        return await self.talk(logged_in, self.serve())

    async def test_implicit_tls(self) -> None:
        """Under TLS the octets go through the owner, which has the connection until its client is gone."""

        def talk(client: Client) -> bytes:
            found = client.ask(b"b SELECT INBOX")
            client.send(b"c LOGOUT\r\n")
            return found + client.rest()

        told = await self.over_tls(talk)
        self.assertIn(b"* 1 EXISTS", told)
        self.assertIn(b"* BYE logging out", told)
        self.assertIsNotNone(self.departures[0][1].pump)
        await self.all_gone()
        self.assertEqual((self.owner.left, self.owner.gone), (0, 1))

    async def test_starttls(self) -> None:
        """So they do after STARTTLS; the keeper offers neither that nor log-ins."""

        def talk(client: Client) -> list[bytes]:
            commands = (b"CAPABILITY", b"STARTTLS", b"LOGIN alice secret", b"UNAUTHENTICATE", b"NOOP")
            return [client.ask(b"t%d %b" % (n, command)) for n, command in enumerate(commands)]

        capability, *refused, noop = await self.over_tls(talk, starttls=True)
        self.assertNotIn(b"STARTTLS", capability)
        self.assertNotIn(b"AUTH=", capability)
        self.assertNotIn(b"UNAUTHENTICATE", capability)
        for answer in refused:
            self.assertRegex(answer, rb"^t\d BAD")
        self.assertIn(b"OK", noop)

    # -- long ones -------------------------------------------------------------------------------------------------
    async def fetched(self, over: Callable[..., Awaitable[bytes]]) -> None:
        self.mail.add("INBOX", b"Subject: long\r\n\r\n" + os.urandom(LONG // 2).hex().encode())
        paused: list[int] = []

        def talk(client: Client) -> bytes:
            client.ask(b"b SELECT INBOX")
            client.send(b"c FETCH 2 BODY.PEEK[]\r\nd LOGOUT\r\n")
            # Until everything on the way is full.
            self.full.wait(20)
            return client.rest()

        self.full = threading.Event()
        found: Deferred[bytes] = Deferred.fromCoroutine(over(talk))  # type: ignore[arg-type]
        await self.until(lambda: any(connection._blocked for connection in self.keeper.connections))
        for connection in self.keeper.connections | self.owner.connections:
            transport: Any = connection.transport
            paused.append(len(transport.dataBuffer) + transport._tempDataLen)
        self.full.set()
        told = await found
        self.assertIn(b"{%d}" % (LONG + 17), told)
        self.assertGreater(len(told), LONG)
        self.assertTrue(told.endswith(b"d OK LOGOUT completed\r\n"), told[-100:])
        # What waits is what the transports keep, and a piece.
        self.assertLess(max(paused), LONG // 2)

    async def test_long_answer_in_clear(self) -> None:
        """A long answer waits at the keeper for a client that does not read."""
        await self.fetched(self.in_clear)

    async def test_long_answer_under_tls(self) -> None:
        """Through the owner as well, which keeps little of it."""
        await self.fetched(self.over_tls)

    async def test_long_append(self) -> None:
        """A keeper that does not read makes the owner stop reading; nothing is lost."""
        message = b"Subject: long\r\n\r\n" + os.urandom(LONG // 2).hex().encode()

        def talk(client: Client) -> bytes:
            client.ask(b"b SELECT INBOX")
            self.pausing = True
            client.send(b"c APPEND INBOX {%d+}\r\n" % len(message) + message + b"\r\n")
            client.until(b"c OK")
            return client.ask(b"d FETCH 2 BODY.PEEK[]")

        self.pausing = False
        found: Deferred[bytes] = Deferred.fromCoroutine(self.over_tls(talk))  # type: ignore[arg-type]
        await self.until(lambda: self.pausing)
        (keeper,), (owner,) = self.keeper.connections, self.owner.connections
        there: Any = keeper.transport
        there.pauseProducing()
        pipe = self.departures[0][1].pump.pipe
        await self.until(lambda: pipe.producerPaused)
        self.assertLess(len(pipe.dataBuffer) + pipe._tempDataLen, 300_000)
        here: Any = owner.transport
        self.assertNotIn(here, here.reactor.getReaders())
        there.resumeProducing()
        self.assertIn(message, await found)

    # -- ends ----------------------------------------------------------------------------------------------------
    async def test_client_disappears(self) -> None:
        """In clear the keeper notices; nobody else has to."""
        await self.in_clear(lambda client: client.ask(b"b SELECT INBOX"))
        await self.all_gone()

    async def test_client_disappears_under_tls(self) -> None:
        """Under TLS the owner notices, and the keeper by that."""
        await self.over_tls(lambda client: client.ask(b"b SELECT INBOX"))
        await self.all_gone()
        self.assertFalse(self.departures[0][1].pump.pipe)

    async def ends(self, over: Callable[..., Awaitable[bytes]], who: str) -> bytes:
        """What a client hears when one of them is told to stop."""

        def talk(client: Client) -> bytes:
            client.ask(b"b SELECT INBOX")
            reactor.callFromThread(getattr(self, who).shutdown)  # type: ignore[attr-defined]
            return client.rest()

        told = await over(talk)
        await self.all_gone()
        return told

    async def test_keeper_stops(self) -> None:
        """A keeper that stops says BYE and closes; under TLS the owner closes properly."""
        for over in (self.in_clear, self.over_tls):
            told = await self.ends(over, "keeper")
            self.assertEqual(told, b"* BYE server is shutting down\r\n")
            self.logouts = 0

    async def test_owner_stops(self) -> None:
        """An owner that stops has the keeper say BYE on the connections that go through it."""
        told = await self.ends(self.over_tls, "owner")
        self.assertEqual(told, b"* BYE server is shutting down\r\n")

    async def test_owner_stops_while_a_client_pours(self) -> None:
        """Who does not read and goes on talking when the owner stops is not listened to any more, so that nothing grows."""
        self.settings = ServerSettings(
            hostname="mail.example.org", allow_plain_without_tls=True, timeouts=Timeouts(shutdown=1.0)
        )
        self.mail.add("INBOX", b"Subject: long\r\n\r\n" + os.urandom(4 * LONG).hex().encode())
        noops = b"d NOOP\r\n" * 2048
        poured: list[int] = []
        self.waits = threading.Event()

        def talk(client: Client) -> None:
            client.ask(b"b SELECT INBOX")
            client.send(b"c FETCH 2 BODY.PEEK[]\r\n")
            while not self.waits.is_set():
                client.send(noops)
                self.waits.wait(MOMENT)
            reactor.callFromThread(self.owner.shutdown)  # type: ignore[attr-defined]
            with contextlib.suppress(OSError):
                while True:
                    poured.append(client.socket.send(noops))

        found: Deferred[None] = Deferred.fromCoroutine(self.over_tls(talk))  # type: ignore[arg-type]
        await self.until(lambda: self.departures and self.departures[0][1].pump.pipe._tempDataLen)
        pipe = self.departures[0][1].pump.pipe
        self.waits.set()
        await found
        # What the kernel takes for either of them, and what is under way.
        self.assertLess(sum(poured), 4 * LONG)
        self.assertLess(len(pipe.dataBuffer) + pipe._tempDataLen, LONG // 4)
        await self.all_gone()

    async def test_owner_stops_in_clear(self) -> None:
        """One that left in clear goes on without the owner."""
        number = self.serve()

        def talk(client: Client) -> bytes:
            client.until(b"* OK")
            client.ask(b"a LOGIN alice secret")
            reactor.callFromThread(self.owner.shutdown)  # type: ignore[attr-defined]
            return client.ask(b"b NOOP") + client.ask(b"c LOGOUT")

        self.assertIn(b"c OK", await self.talk(talk, number))
        await self.all_gone()

    async def test_a_client_that_does_not_read(self) -> None:
        """The owner drops a client that reads nothing for too long."""
        self.settings = ServerSettings(
            hostname="mail.example.org", allow_plain_without_tls=True, timeouts=Timeouts(write=0.2)
        )
        self.mail.add("INBOX", b"Subject: long\r\n\r\n" + os.urandom(4 * LONG).hex().encode())

        def talk(client: Client) -> None:
            client.ask(b"b SELECT INBOX")
            client.send(b"c FETCH 2 BODY.PEEK[]\r\n")
            self.over.wait(20)

        self.over = threading.Event()
        found: Deferred[None] = Deferred.fromCoroutine(self.over_tls(talk))  # type: ignore[arg-type]
        await self.until(lambda: self.departures)
        await self.all_gone()
        self.over.set()
        await found

    async def test_descriptor_is_closed(self) -> None:
        """A descriptor that no keeper took is closed, and with it the connection."""
        self.arrives = False

        def talk(client: Client) -> bytes:
            client.until(b"* OK")
            client.send(b"a LOGIN alice secret\r\n")
            return client.rest()

        for tls in (False, True):
            number = self.serve(self.tls(implicit=True) if tls else None)
            found: Deferred[bytes] = Deferred.fromCoroutine(self.talk(talk, number, tls=tls))  # type: ignore[arg-type]
            await self.until(lambda: self.departures)
            os.close(self.departures.pop()[1].descriptor)
            self.assertEqual(await found, b"")
            await self.until(lambda: not self.owner.connections)

    async def test_no_pair(self) -> None:
        """Without descriptors for a pair the connection ends, and the session is told so."""
        number = self.serve(self.tls(implicit=True))

        def talk(client: Client) -> None:
            client.until(b"* OK")
            client.send(b"a LOGIN alice secret\r\n")
            with contextlib.suppress(OSError):
                client.rest()

        with patch.object(Carrier, "pair", side_effect=OSError("too many open files")):
            await self.talk(talk, number, tls=True)
        await self.until(lambda: not self.owner.connections)
        self.assertEqual((self.ended, self.owner.gone, self.departures), (1, 1, []))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    async def test_nobody_arrives(self) -> None:
        """A client that is gone when its connection arrives is an error, and the session has ended."""
        self.serve()
        with socket.socket() as never, self.assertRaises(OSError):
            self.arrive(_departure(), Way(never.detach()))
        self.assertEqual(self.logouts, 1)

    # -- what goes on ----------------------------------------------------------------------------------------------
    async def test_compression(self) -> None:
        """COMPRESS begins at the keeper, and is nothing to the owner."""

        def talk(client: Client) -> bytes:
            client.ask(b"b COMPRESS DEFLATE")
            packer, opener = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.decompressobj(-15)
            client.send(packer.compress(b"c SELECT INBOX\r\n") + packer.flush(zlib.Z_SYNC_FLUSH))
            told = b""
            while b"c OK" not in told:
                told += opener.decompress(client.socket.recv(65536))
            return told

        for over in (self.in_clear, self.over_tls):
            self.assertIn(b"* 1 EXISTS", await over(talk))

    async def test_idle(self) -> None:
        """A client that idles is told what happens at the keeper."""

        def talk(client: Client) -> bytes:
            client.ask(b"b SELECT INBOX")
            client.send(b"c IDLE\r\n")
            client.until(b"+ idling")
            reactor.callFromThread(self.mail.add, "INBOX", b"Subject: new\r\n\r\n")  # type: ignore[attr-defined]
            told = client.until(b"* ")
            client.send(b"DONE\r\n")
            return told + client.until(b"c OK")

        for count, over in enumerate((self.in_clear, self.over_tls), 2):
            self.assertIn(b"* %d EXISTS" % count, await over(talk))

    # -- who stays -------------------------------------------------------------------------------------------------
    async def test_stays(self) -> None:
        """Where a connection cannot leave, the mail is brought home before the log-in is answered."""
        number = self.serve(carried=False)

        def talk(client: Client) -> list[bytes]:
            client.until(b"* OK")
            return [client.ask(b"a LOGIN alice secret"), client.ask(b"b SELECT INBOX")]

        login, select = await self.talk(talk, number)
        self.assertIn(b" UNAUTHENTICATE", login)
        self.assertIn(b"* 1 EXISTS", select)
        self.assertEqual((self.stayed, self.departures), (1, []))

    async def test_cannot_stay(self) -> None:
        """When it cannot be brought home, the log-in is refused."""
        self.unavailable = True
        number = self.serve(carried=False)

        def talk(client: Client) -> bytes:
            client.until(b"* OK")
            return client.ask(b"a LOGIN alice secret")

        self.assertEqual(await self.talk(talk, number), b"a NO [UNAVAILABLE] not now\r\n")

    async def test_mail_that_is_here(self) -> None:
        """With mail that is here nothing changes, though connections could leave; after UNAUTHENTICATE one may."""
        self.away = False
        number = self.serve()

        def talk(client: Client) -> list[bytes]:
            client.until(b"* OK")
            told = [
                client.ask(b"a LOGIN alice secret"),
                client.ask(b"b SELECT INBOX"),
                client.ask(b"c UNAUTHENTICATE"),
            ]
            self.away = True
            return [*told, client.ask(b"d LOGIN alice secret"), client.ask(b"e SELECT INBOX")]

        login, select, _, again, selected = await self.talk(talk, number)
        self.assertIn(b" UNAUTHENTICATE", login)
        self.assertIn(b"* 1 EXISTS", select)
        self.assertNotIn(b" UNAUTHENTICATE", again)
        self.assertIn(b"* 1 EXISTS", selected)
        self.assertEqual(len(self.departures), 1)

    async def test_gone_before_it_left(self) -> None:
        """A client that goes while it is being logged in ends the session, which is asked for nothing else."""
        self.held = Deferred()
        number = self.serve()

        def talk(client: Client) -> None:
            client.until(b"* OK")
            client.send(b"a LOGIN alice secret\r\n")

        await self.talk(talk, number)
        await self.until(lambda: any(connection._silent for connection in self.owner.connections))
        for connection in self.owner.connections:
            connection._abort()
        await self.until(lambda: not self.owner.connections)
        self.held.callback(None)
        self.assertEqual((self.ended, self.departures), (1, []))

    async def test_stopped_while_logging_in(self) -> None:
        """A server that stops meanwhile says so, and nothing leaves."""
        self.settings = ServerSettings(
            hostname="mail.example.org", allow_plain_without_tls=True, timeouts=Timeouts(linger=0.1)
        )
        self.held = Deferred()
        number = self.serve()

        def talk(client: Client) -> bytes:
            client.until(b"* OK")
            client.send(b"a LOGIN alice secret\r\n")
            return client.rest()

        found: Deferred[bytes] = Deferred.fromCoroutine(self.talk(talk, number))  # type: ignore[arg-type]
        await self.until(lambda: any(connection._waiting for connection in self.owner.connections))
        self.owner.shutdown()
        self.held.callback(None)
        self.assertIn(b"* BYE server is shutting down", await found)
        await self.until(lambda: not self.owner.connections)
        self.assertEqual((self.ended, self.departures), (1, []))


def _departure() -> Departure:
    return Departure(
        account="alice", identity="alice", output=b"", input=b"", transport=Transport(Peer("127.0.0.1", 1))
    )
