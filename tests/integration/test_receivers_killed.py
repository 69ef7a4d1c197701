"""Receivers and their owner, killed without warning or told to end: what was acknowledged is there once, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from functools import partial

from tests.integration.receivers import (
    CLIENT,
    OTHER,
    SENDER,
    SMTP,
    UNSPARED,
    ReceiversCase,
    Stranger,
    children,
    descriptors,
    letter,
    reply,
    settled,
)
from tests.test_compose import IP, WAIT_SECONDS, Conversation

KILLS = 10
#: Each with a start of the whole server.
OWNER_KILLS = 6
#: One that ends often is started again soon.
SOON = (
    UNSPARED
    + """
from moxtwisted.server.processes import supervision
supervision._AGAIN_MOST_SECONDS = 0.1
"""
)
#: One that ended is missing for a while.
LATER = (
    UNSPARED
    + """
from moxtwisted.server.processes import supervision
supervision._AGAIN_SECONDS = 5.0
"""
)
#: The first has no link.
FAULT = (
    UNSPARED
    + """
from moxtwisted.compose import receivers
faults = [OSError(24, "no more descriptors")]
def adopt_link(*given, really=receivers.adopt_link):
    if faults:
        raise faults.pop()
    really(*given)
receivers.adopt_link = adopt_link
"""
)
#: One that says nothing is ended soon.
PATIENT = (
    UNSPARED
    + """
from moxtwisted.server.processes import supervision
supervision._SILENT_SECONDS = 0.5
"""
)
#: The end of a link is heard of late.
LATE = """
from twisted.internet import reactor
from moxtwisted.server.processes.link import Link
Link.connectionLost = lambda self, reason, lost=Link.connectionLost: reactor.callLater(0.3, lost, self, reason)
"""


class Crowd:
    """Clients that send one message after the other, come what may.

    :ivar acknowledged: names of messages that were.
    :ivar refused: answers that no message should have.
    """

    def __init__(self, count: int) -> None:
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(f"{time.monotonic_ns()}-{n}",), daemon=True)
            for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, name: str) -> None:
        number = 0
        while not self._over.is_set():
            try:
                with Stranger() as client:
                    for _ in range(4):
                        number += 1
                        body = b"line %d\r\n" % number * (1, 10, 1000, 40_000)[number % 4]
                        client.sendmail(SENDER, ["mox@localhost"], letter(f"{name}-{number}", body))
                        with self._changed:
                            self.acknowledged.append(f"{name}-{number}")
                            self._changed.notify_all()
                        self._over.wait(0.01)
            except (OSError, ValueError) as e:
                code, text = getattr(e, "smtp_code", -1), getattr(e, "smtp_error", b"")
                # A receiver whose owner was killed may have time to say so.
                if code > 0 and code != 421 and b"4.3.0 mail store is not available" not in text:
                    self.refused.append(f"{e}")
                # The server is gone, or is about to be, or is not there yet.
                self._over.wait(0.02)

    def more(self, count: int) -> bool:
        """Wait until so many more were acknowledged; whether they were."""
        with self._changed:
            wanted = len(self.acknowledged) + count
            return self._changed.wait_for(lambda: len(self.acknowledged) >= wanted, WAIT_SECONDS)

    def end(self) -> bool:
        """Send no more; whether all have ended."""
        self._over.set()
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
        return not any(thread.is_alive() for thread in self._threads)


class KilledCase(ReceiversCase):
    def rest(self, client: Conversation) -> str:
        """What a client is told before its connection ends."""
        try:
            return client.line()
        except ConnectionError:
            return ""

    def nothing_lost(self, *crowds: Crowd) -> None:
        """Every acknowledged message is there, and none twice."""
        kept = self.kept()
        for crowd in crowds:
            self.assertEqual(crowd.refused, [])
            self.assertEqual([name for name in crowd.acknowledged if name not in kept], [])
        self.assertEqual([name for name, copies in kept.items() if len(copies) > 1], [])


class ReceiverKilledTests(KilledCase):
    settings = "[judgement]\nfirst_time_sender_delay_seconds = 20\n"

    def setUp(self) -> None:
        """Few connections are allowed."""
        super().setUp()
        self.edit("connections_at_once = [10000, 10000, 10000]", "connections_at_once = [8, 8, 8]")

    def open_things(self) -> int:
        """How many sockets, pipes and unnamed files the owner has."""
        return sum(
            name.startswith(("socket:", "pipe:")) or "(deleted)" in name
            for name in descriptors(self.child.pid)
        )

    def is_greeted(self) -> bool:
        """Whether somebody who comes is told that he may."""
        try:
            client, greeting = self.client()
        except OSError:
            return False
        client.connection.close()
        return greeting.startswith("220 ")

    def test_in_transfer(self) -> None:
        """Killed in the middle of messages and while their answers are awaited: clients are cut off, the port answers, nothing
        is kept of what was not acknowledged, and another receiver goes on; no connection stays counted and no descriptor open."""
        # That it is gone is known before its link is: it is started again all the same.
        self.serve(SOON + LATE)
        before = self.open_things()
        for number in (1, 2, 3):
            middle, waiting, large = self.begin(), self.begin(), self.begin()
            middle.say("Subject: never finished", "")
            waiting.connection.sendall(letter("waiting") + b".\r\n")
            large.connection.sendall(letter("large", b"0123456789\r\n" * 200_000) + b".\r\n")
            self.until(
                lambda: any("data" in name and "(deleted)" in name for name in descriptors(self.child.pid)),
                "not handed over",
            )
            self.kill()
            self.assertEqual([self.rest(client) for client in (middle, waiting, large)], [""] * 3)
            # Who comes in the moment before the owner knows may have to come again.
            self.until(self.is_greeted, "the port does not answer")
            self.has_receivers(number + 1)
        self.assertEqual(self.messages("mox"), 0)
        self.until(lambda: self.open_things() == before, f"{before} before, {descriptors(self.child.pid)}")
        there = [self.client() for _ in range(8)]
        self.assertEqual([greeting[:4] for _, greeting in there], ["220 "] * 8)
        self.assertEqual(self.client()[1], "421 4.7.0 too many open connections from your ip or network")
        self.assertEqual(self.client(OTHER)[1][:4], "220 ")
        there[0][0].smtp("QUIT")
        self.until(self.is_greeted, "the room of one that went is not free")


class PutOffTests(KilledCase):
    def test_killed(self) -> None:
        """While the only receiver is gone, the server does not read what ended it: clients are asked to come again, and can, soon."""
        self.serve()
        self.kill()
        self.until(lambda: "is started again in" in self.log.read_text(), "its end is not noticed")
        there, said = self.client()
        self.assertEqual(said, "421 4.3.2 cannot take mail for the moment: please try again")
        self.assertEqual(there.line(), "")
        self.has_receivers(2)
        self.assertEqual(self.send(letter("again"), "mox"), ["250 2.1.5", "250 2.6.0"])
        self.taken_in([1])

    def test_hangs(self) -> None:
        """One that does not answer is ended, and another takes its place; the server reads nothing meanwhile."""
        self.serve(PATIENT)
        os.kill(self.receiver(), signal.SIGSTOP)
        waiting = Conversation(
            socket.create_connection((IP, SMTP), timeout=WAIT_SECONDS, source_address=(CLIENT, 0))
        )
        self.has_receivers(2)
        self.assertIn("does not answer, and is ended", self.log.read_text())
        self.assertEqual(self.rest(waiting), "")
        waiting.connection.close()
        self.assertEqual(self.send(letter("again"), "mox"), ["250 2.1.5", "250 2.6.0"])
        self.taken_in([1])

    def test_burst(self) -> None:
        """However many come at once, and whatever arrives between two looks at the port, the server serves none of them."""
        self.serve(LATER)
        self.kill()
        self.until(lambda: "is started again in" in self.log.read_text(), "its end is not noticed")
        greetings: Counter[bytes] = Counter()

        def come() -> None:
            for _ in range(100):
                with socket.create_connection((IP, SMTP), WAIT_SECONDS, source_address=(CLIENT, 0)) as client:
                    greetings[client.recv(1000)[:9]] += 1

        threads = [threading.Thread(target=come, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_SECONDS)
        self.assertEqual(set(greetings), {b"421 4.3.2"})
        self.assertEqual(greetings.total(), 800)
        self.has_receivers(2)
        self.until(
            lambda: "800 connections were asked to come again" in self.log.read_text(), "nobody is told"
        )

    def test_early(self) -> None:
        """Who came before a receiver was ready may finish a message, and has to come again for the next."""
        self.log = self.directory / "log"
        self.log.touch()
        self.addCleanup(self.check)
        self.child = self.start(UNSPARED)
        self.until(lambda: "listening: smtp" in self.log.read_text(), "it does not listen")
        idle, busy = self.client()[0], self.begin()
        self.has_receivers(1)
        self.assertEqual(reply(idle)[:9], "421 4.3.2")
        busy.connection.sendall(letter("early"))
        self.assertEqual(busy.smtp(".")[:9], "250 2.6.0")
        self.assertEqual(reply(busy)[:4], "421 ")
        self.assertEqual(self.send(letter("late"), "mox"), ["250 2.1.5", "250 2.6.0"])
        self.taken_in([0, 1])

    def test_not_set_up(self) -> None:
        """One that could not be set up is ended, and started again."""
        self.tracebacks = True
        self.serve(FAULT)
        self.assertIn("receiver 1 could not be set up", self.log.read_text())
        self.assertEqual(len(children(self.child.pid)), 1)


class LoadTests(KilledCase):
    def test_receivers(self) -> None:
        """Receivers killed ten times under load: what was acknowledged is there once, and the owner lives on."""
        self.serve(SOON)
        crowd = Crowd(4)
        for number in range(KILLS):
            self.has_receivers(number + 1)
            self.assertTrue(crowd.more(4), f"{crowd.refused}\n{self.log.read_text()[-3000:]}")
            self.kill()
        self.has_receivers(KILLS + 1)
        self.assertTrue(crowd.more(20))
        self.assertTrue(crowd.end())
        self.nothing_lost(crowd)
        with Stranger() as client:
            client.sendmail(SENDER, ["mox@localhost"], letter("last"))
        self.until(lambda: self.took()[-1] == 1, "no receiver took in the last")
        self.assertNotIn(0, self.took())
        self.until(lambda: list(children(self.child.pid)) == [self.receiver()], "others are left")

    def test_owner(self) -> None:
        """The owner killed again and again under load: receivers end by themselves, and what was acknowledged is there once."""
        crowds = []
        for _ in range(OWNER_KILLS):
            self.serve()
            crowds.append(Crowd(3))
            self.assertTrue(crowds[-1].more(6), f"{crowds[-1].refused}\n{self.log.read_text()[-3000:]}")
            receiver = self.receiver()
            self.child.kill()
            self.child.wait(WAIT_SECONDS)
            self.assertTrue(crowds[-1].end())
            self.assertTrue(settled(partial(self.ended, receiver)), "the receiver lives on")
        self.serve()
        self.nothing_lost(*crowds)


class EndedTests(KilledCase):
    process_group = 0

    def finishes(self, number: signal.Signals, *, group: bool) -> None:
        """A message in transfer is finished, all others are told, and all processes end."""
        self.serve()
        busy, idle = self.begin(), self.client()[0]
        busy.say("Subject: at the last moment", f"Message-ID: <{number.name}{group}@sender.example>", "")
        receiver = self.receiver()
        if group:
            os.killpg(self.child.pid, number)
        else:
            self.child.send_signal(number)
        self.assertEqual(reply(idle)[:4], "421 ")
        self.assertEqual(busy.smtp("text", ".")[:9], "250 2.6.0")
        self.assertEqual(reply(busy)[:4], "421 ")
        self.assertIn(self.child.wait(WAIT_SECONDS), (0, -number))
        self.assertTrue(settled(lambda: self.ended(receiver)))
        self.assertEqual(self.took()[-1], 1)

    def test_signals(self) -> None:
        """SIGTERM to the owner, or SIGTERM or SIGINT to all processes: a message in transfer is finished."""
        self.finishes(signal.SIGTERM, group=False)
        self.finishes(signal.SIGTERM, group=True)
        self.finishes(signal.SIGINT, group=True)
        self.assertEqual(self.messages("mox"), 3)

    def test_time_is_up(self) -> None:
        """A client that is silent in the middle of a message is told when the time is up; and a receiver that hangs is ended without
        a complaint."""
        self.edit("[limits]\n", "[limits]\nshutdown_seconds = 1\n")
        self.serve()
        busy = self.begin()
        busy.say("Subject: never finished", "")
        self.child.send_signal(signal.SIGTERM)
        self.assertEqual(reply(busy)[:9], "421 4.3.2")
        self.assertIn(self.child.wait(WAIT_SECONDS), (0, -signal.SIGTERM))
        self.serve()
        hung = self.receiver()
        os.kill(hung, signal.SIGSTOP)
        self.child.send_signal(signal.SIGTERM)
        self.assertIn(self.child.wait(WAIT_SECONDS), (0, -signal.SIGTERM))
        self.assertTrue(settled(lambda: self.ended(hung)))
