"""How IDLE and the connection of the Twisted client end, and who is told of it."""

from __future__ import annotations

import gc
from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import CancelledError, Deferred

from moxtwisted.imap.agent import ClientSettings, IMAPClient
from moxtwisted.imap.client.machine import Client
from moxtwisted.imap.client.messagecommands import NewMail
from moxtwisted.imap.client.notices import NewCount, SessionLost
from moxtwisted.imap.client.protocol import ClientConnection
from moxtwisted.imap.client.session import ConnectionFailedError
from tests.imap.test_agent import ServerCase


class EndingCase(ServerCase):
    """A client that idles."""

    def idling(self) -> tuple[IMAPClient, Any]:
        client = self.open()
        self.wait(client.select("INBOX"))
        return client, self.wait(client.idle())

    def cut(self) -> None:
        """The connection is lost."""
        self.pumps[-1].serverIO.abortConnection()
        self.pumps[-1].flush()


class IdleTests(EndingCase):
    def test_another_command_ends_it(self) -> None:
        """A command that is given in the middle of IDLE is carried out, and ends IDLE."""
        client, idle = self.idling()
        self.wait(client.noop())
        self.wait(idle.ended())
        self.wait(idle.done())
        self.mail.add("INBOX", b"Subject: x\r\n\r\n")
        self.wait(client.noop())
        self.assertIn(NewCount(1), self.notices)

    def test_another_command_before_it_is_granted(self) -> None:
        """Commands given behind an IDLE that is not granted yet are carried out, and the IDLE is over."""
        client = self.open()
        self.wait(client.select("INBOX"))
        granted = Deferred.fromCoroutine(client.idle())
        self.wait(client.noop())
        self.wait(self.successResultOf(granted).ended())

    def test_another_command_before_its_turn(self) -> None:
        """So are those given behind an IDLE that waits for another command itself."""
        client = self.open()
        self.wait(client.select("INBOX"))
        Deferred.fromCoroutine(client.enable("QRESYNC"))
        granted = Deferred.fromCoroutine(client.idle())
        self.wait(client.noop())
        self.wait(self.successResultOf(granted).ended())

    def test_closed_in_the_middle(self) -> None:
        """To close the connection in the middle of IDLE waits for nobody."""
        client, idle = self.idling()
        self.wait(client.close())
        self.wait(idle.ended())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_done_of_one_that_is_over(self) -> None:
        """``done`` of an IDLE that is over does not end the next one."""
        client, idle = self.idling()
        self.wait(idle.done())
        next_one = self.wait(client.idle())
        self.wait(idle.done())
        self.assertNoResult(Deferred.fromCoroutine(next_one.ended()))

    def test_lost(self) -> None:
        """Who waits for the end of IDLE hears that the connection was lost; who does not is not a defect to be logged."""
        _, idle = self.idling()
        ended = Deferred.fromCoroutine(idle.ended())
        self.cut()
        self.failureResultOf(ended, ConnectionFailedError)
        self.failureResultOf(Deferred.fromCoroutine(idle.done()), ConnectionFailedError)
        self.assertEqual([call for call in self.clock.getDelayedCalls() if "Client" in str(call)], [])
        del idle, ended
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_lost_and_nobody_waits(self) -> None:
        """A connection lost in IDLE is no unhandled error when nobody says ``done``."""
        self.idling()
        self.cut()
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_no_longer_waited_for(self) -> None:
        """Who no longer waits for the end of IDLE leaves it as it is; who no longer waits for ``done`` has ended the connection."""
        client, idle = self.idling()
        ended = Deferred.fromCoroutine(idle.ended())
        ended.cancel()
        self.failureResultOf(ended, CancelledError)
        self.assertTrue(client.alive)
        done = Deferred.fromCoroutine(idle.done())
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertFalse(client.alive)


class LossTests(EndingCase):
    def lost(self) -> list[Any]:
        return [one for one in self.notices if isinstance(one, SessionLost)]

    def test_told(self) -> None:
        """Whoever hears is told once that the connection was lost, and why."""
        client, _ = self.idling()
        self.cut()
        self.assertEqual(len(self.lost()), 1)
        self.assertIn("lost", self.lost()[0].why)
        self.wait(client.close())
        self.assertEqual(len(self.lost()), 1)

    def test_told_first(self) -> None:
        """It is told before those who wait for commands go on, and may connect again."""
        _, idle = self.idling()
        order: list[int] = []
        Deferred.fromCoroutine(idle.ended()).addErrback(lambda _: order.append(len(self.lost())))
        self.cut()
        self.assertEqual(order, [1])

    def test_not_told(self) -> None:
        """What ended because it was asked to is not told."""
        self.wait(self.open().close())
        self.open().abort()
        self.assertEqual(self.lost(), [])

    def test_heard_badly(self) -> None:
        """What the program raises when it hears something is logged; the command is carried out, and a loss is a loss all the same."""
        client, idle = self.idling()
        heard: list[Any] = []

        def hear(notice: Any) -> None:
            heard.append(notice)
            raise ZeroDivisionError

        client._heard = hear
        self.mail.add("INBOX", b"Subject: x\r\n\r\n")
        self.wait(idle.done())
        self.mail.add("INBOX", b"Subject: y\r\n\r\n")
        self.wait(client.noop())
        self.assertTrue(client.alive)
        self.cut()
        self.assertFalse(client.alive)
        self.assertEqual([type(one) for one in heard], [NewCount, NewCount, SessionLost])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_cause(self) -> None:
        """Who waits for a command that ended by an error of the program itself finds that as its cause."""

        def fails(*_: Any) -> Any:
            raise ZeroDivisionError

        async def fails_later(*_: Any) -> Any:
            raise ZeroDivisionError

        self.mail.add("INBOX", b"Subject: x\r\n\r\n" + b"x" * 100_000)
        source = Mock(size_octets=100, read=fails)
        for work in (
            lambda client: client.fetch_each([1], ["FLAGS"], fails),
            lambda client: client.fetch_each([1], ["FLAGS"], fails_later),
            lambda client: client.fetch_each([1], ["BODY[]"], lambda _: None, sinks=fails),
            lambda client: client.append("INBOX", NewMail(source)),
        ):
            client = self.open()
            self.wait(client.select("INBOX"))
            done = Deferred.fromCoroutine(work(client))
            self.pumps[-1].flush()
            error = self.failureResultOf(done, ConnectionFailedError).value
            self.assertIsInstance(error.__cause__, ZeroDivisionError)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_closed_after_aborted(self) -> None:
        """``close`` waits until the connection is gone, also one that was aborted."""
        client = self.open()
        transport: Any = self.pumps[-1].clientIO
        lost = transport.abortConnection
        transport.abortConnection = lambda: None
        client.abort()
        closed = Deferred.fromCoroutine(client.close())
        self.assertNoResult(closed)
        lost()
        self.pumps[-1].flush()
        self.successResultOf(closed)

    def test_dropped_without_abort(self) -> None:
        """A transport that cannot be aborted, as that of a process, is closed."""
        connection = ClientConnection(self.clock, ClientSettings(), Client())
        made = Mock(spec=["write", "loseConnection", "registerProducer", "unregisterProducer"])
        connection.makeConnection(made)
        connection.greeting.addErrback(lambda _: None)
        connection.drop("enough")
        made.loseConnection.assert_called_once_with()

    def test_closed_by_two(self) -> None:
        """Two may wait for the end of a connection; no timer stays behind."""
        client = self.open()
        both = [client._connection.close() for _ in range(2)]
        self.pumps[-1].flush()
        for one in both:
            self.successResultOf(one)
        self.assertEqual([call for call in self.clock.getDelayedCalls() if "Client" in str(call)], [])
