"""Sessions whose commands overlap in time: the store answers late, in any order, and output is read slowly."""

import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap import memory
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.protocol import IMAPServerFactory
from moxtwisted.imap.settings import Limits, ServerSettings
from moxtwisted.imap.testing import counted_entropy, split_responses
from tests.imap.believing import SILENT, Client
from tests.imap.test_protocol import Transport

SEEDS = int(os.environ.get("MOXTWISTED_CONVERGENCE_SEEDS", "40").rpartition(":")[2])
STEPS = 60
SLOW = ("store", "expunge", "copy", "move", "search_text")


class Overlapping(Client):
    """A client with one command under way at a time, on a transport of its own."""

    transport: Transport
    protocol: Any
    line: str = ""
    rest: bytes = b""

    def connect(self, factory: IMAPServerFactory, room: int) -> None:
        self.protocol = factory.buildProtocol(None)
        self.transport = Transport()
        self.protocol.makeConnection(self.transport)
        greeting = b"a LOGIN alice secret\r\n"
        if self.kind != "plain":
            greeting += b"a ENABLE " + self.kind.encode() + b"\r\n"
        self.protocol.dataReceived(greeting)
        self.transport.read()
        self.transport.room = room

    def say(self, line: str) -> bytes:
        """Begin a command; what is answered is taken in by C{hear}."""
        self.line = line
        silent = SILENT.fullmatch(line)
        if silent:
            # The client changes its own copy at once; what it is told from then on counts.
            self.silently(silent)
        self.protocol.dataReceived(b"a " + line.encode() + b"\r\n")
        return b""

    def idle(self, dice: random.Random) -> None:
        self.say("IDLE")

    def done(self) -> None:
        """End IDLE."""
        self.line = "DONE"
        self.protocol.dataReceived(b"DONE\r\n")

    def hear(self) -> None:
        """Take in what was said so far."""
        data = self.rest + self.transport.read()
        end = data.rfind(b"\r\n") + 2 if b"\r\n" in data else 0
        try:
            answers = split_responses(data[:end])
        except ValueError:
            # In the middle of a literal.
            self.rest = data
            return
        self.rest = data[end:]
        for answer in answers:
            if answer.startswith(b"a "):
                self.tagged(answer)
            else:
                self.take(
                    answer, may_expunge=self.line.split(maxsplit=1)[0] not in {"FETCH", "STORE", "SEARCH"}
                )

    def tagged(self, answer: bytes) -> None:
        line, self.line = self.line, ""
        assert b" BAD " not in answer, (line, answer)


class ConcurrencyTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Have the store answer after some turns of the clock: the change first or the wait first."""
        self.dice = random.Random(0)
        for name in SLOW:
            real: Callable[..., Awaitable[Any]] = getattr(memory._Selected, name)

            async def later(selected: Any, *arguments: Any, real: Any = real) -> Any:
                await self.wait()
                result = await real(selected, *arguments)
                if self.dice.random() < 0.3:
                    await self.wait()
                return result

            self.patch(memory._Selected, name, later)
        select = memory._Session.select

        async def selected(session: Any, name: str, *, read_only: bool) -> Any:
            await self.wait()
            return select(session, name, read_only=read_only)

        self.patch(memory._Session, "select", selected)

    def wait(self) -> Deferred[None]:
        return deferLater(self.clock, self.dice.choice((0, 0, 1, 2, 3)))

    def one(self, seed: int) -> None:
        dice = self.dice = random.Random(seed)
        self.clock = Clock()
        mail = MemoryMail()
        mail.make("Other")
        box = mail.find("INBOX")
        box.log_limit = dice.choice((0, 3, 1000))
        for n in range(dice.randint(0, 12)):
            mail.add("INBOX", b"Subject: %d\r\n\r\nbody\r\n" % n)
        factory = IMAPServerFactory(
            ServerSettings(
                hostname="h",
                allow_plain_without_tls=True,
                limits=Limits(fetch_batch=3, output_piece_octets=200, body_batch_octets=100),
            ),
            MemoryAuthenticator({"alice": ("secret", mail)}, counted_entropy()),
            self.clock,
        )
        clients = [
            Overlapping(None, dice.choice(("plain", "CONDSTORE", "IMAP4rev2")))  # type: ignore[arg-type]
            for _ in range(dice.randint(2, 4))
        ]
        for client in clients:
            client.connect(factory, dice.choice((1, 100, 1 << 30)))
            client.say("SELECT INBOX")
        for _ in range(STEPS):
            client = dice.choice(clients)
            if client.line == "IDLE" and dice.random() < 0.5:
                client.done()
            elif not client.line:
                client.random_step(dice)
            if dice.random() < 0.5:
                self.clock.advance(1)
            if dice.random() < 0.1:
                mail.add("INBOX", b"Subject: delivered\r\n\r\n")
            for each in clients:
                if dice.random() < 0.6:
                    each.hear()
        for client in clients:
            self.finish(client)
        for client in clients:
            client.say("NOOP")
            self.finish(client)
            self.compare(client, box, seed)
            client.say("UID FETCH 1:* (FLAGS)")
            self.finish(client)
            self.compare(client, box, seed)

    def finish(self, client: Overlapping) -> None:
        """Until its command is answered."""
        for _ in range(200):
            if client.line == "IDLE":
                client.done()
            self.clock.advance(1)
            client.hear()
            if not client.line:
                return
        self.fail(f"{client.line} is never answered")

    def compare(self, client: Overlapping, box: Any, seed: int) -> None:
        self.assertEqual(list(client.protocol.machine.connection.box.view.uids), list(box.uids), seed)
        self.assertEqual(len(client.messages), len(box.uids), seed)
        for (uid, flags), real, real_flags in zip(client.messages, box.uids, box.flags, strict=True):
            self.assertIn(uid, (0, real), seed)
            if flags is not None:
                self.assertEqual(
                    flags, frozenset(n.encode() for n in real_flags.names), (seed, client.kind, real)
                )

    def test_all_views_equal_the_store(self) -> None:
        """Commands of several sessions that overlap in any way leave each client with the mailbox as it is."""
        for seed in range(SEEDS):
            self.one(seed)
