"""Administration over the unix socket."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyClass

from moxtwisted.errors import ConfigurationError, MailError, OverQuotaError
from moxtwisted.server.control import service as control
from moxtwisted.server.control.address import socket_address
from moxtwisted.server.control.amp import (
    MAX_CALLS,
    ClientProtocol,
    ControlProtocol,
    RemoteAdministration,
    connect,
    operations,
)
from moxtwisted.server.control.delegation import ConfigurationOperations
from moxtwisted.server.control.interfaces import IAdministration, IConfigurationOperations
from moxtwisted.server.control.service import ControlService


def box(pairs: dict[str, str]) -> bytes:
    """A box as AMP writes it."""
    octets = [text.encode() for pair in pairs.items() for text in pair]
    return b"".join(len(text).to_bytes(2) + text for text in octets) + b"\0\0"


class Recorder:
    """Takes every operation; says what the test told it to say."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in operations():
            raise AttributeError(name)

        async def operation(**keywords: Any) -> Any:
            self.calls.append((name, keywords))
            answer = self.answers.get(name)
            if isinstance(answer, Exception):
                raise answer
            if isinstance(answer, Deferred):
                return await answer
            return answer

        return operation


class Pair:
    """Client and server with nothing but octets between."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.administration = Recorder()
        self.server = ControlProtocol(self.administration, self.clock.seconds)
        self.client = ClientProtocol()
        self.up, self.down = StringTransport(), StringTransport()
        self.client.makeConnection(self.up)
        self.server.makeConnection(self.down)
        self.remote = RemoteAdministration(self.client)

    def flush(self) -> None:
        """Carry all octets, both ways, until there are no more."""
        while self.up.value() or self.down.value():
            data = self.up.value()
            self.up.clear()
            self.server.dataReceived(data)
            data = self.down.value()
            self.down.clear()
            self.client.dataReceived(data)


class CallTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Join the two ends."""
        self.pair = Pair()

    def ask(self, name: str, *positional: Any) -> Deferred[Any]:
        """Call an operation and carry the octets."""
        asked: Deferred[Any] = getattr(self.pair.remote, name)(*positional)
        self.pair.flush()
        return asked

    def test_arguments_and_result(self) -> None:
        """An operation gets its arguments by name and its result comes back."""
        self.pair.administration.answers["address_remove"] = ["gone"]
        self.assertEqual(self.successResultOf(self.ask("address_remove", "a@example.org")), ["gone"])
        self.assertEqual(self.pair.administration.calls, [("address_remove", {"address": "a@example.org"})])

    def test_large_arguments_and_results(self) -> None:
        """Values beyond AMP's 65,535 octets pass, also when UTF-8 is cut in the middle of a character."""
        rows = [{"name": f"ä{i}" * 20} for i in range(20_000)]
        self.pair.administration.answers["domain_list"] = rows
        self.assertEqual(self.successResultOf(self.ask("domain_list")), rows)
        members = [f"ü{i}@example.org" for i in range(10_000)]
        self.successResultOf(self.ask("alias_add_members", "a@example.org", members))
        self.assertEqual(self.pair.administration.calls[-1][1]["members"], members)

    def test_mail_error(self) -> None:
        """A refusal arrives as MailError that says what happened, and to which thing."""
        self.pair.administration.answers["stop"] = OverQuotaError("alice has 12 octets left")
        failure = self.failureResultOf(self.ask("stop"), MailError)
        self.assertEqual(failure.value.detail, "mailbox is over its quota: alice has 12 octets left")

    def test_configuration_error(self) -> None:
        """All problems of the configuration arrive."""
        self.pair.administration.answers["account_enable"] = ConfigurationError(("one", "two"))
        failure = self.failureResultOf(self.ask("account_enable", "x"), ConfigurationError)
        self.assertEqual(failure.value.problems, ("one", "two"))

    def test_defect(self) -> None:
        """A defect is logged by the server, and the command hears nothing of its inside."""
        self.pair.administration.answers["stop"] = ZeroDivisionError("secret")
        failure = self.failureResultOf(self.ask("stop"), MailError)
        self.assertNotIn("secret", str(failure.value))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_result_that_json_cannot_carry(self) -> None:
        """A result that is no JSON is a defect."""
        self.pair.administration.answers["status"] = {"when": object()}
        self.failureResultOf(self.ask("status"), MailError)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_unknown_operation(self) -> None:
        """What IAdministration does not declare cannot be called."""
        for name in ("__init__", "answers", "no_such"):
            asked = self.pair.client.ask(name, {}, None)
            self.pair.flush()
            self.assertIn("no operation", self.failureResultOf(asked, MailError).value.detail)
        self.assertRaises(AttributeError, getattr, self.pair.remote, "no_such")
        self.assertEqual(self.pair.administration.calls, [])

    def test_wrong_arguments(self) -> None:
        """Arguments must be exactly those declared, on either side."""
        asked = self.pair.client.ask("account_enable", {"nome": "x"}, None)
        self.pair.flush()
        self.failureResultOf(asked, MailError)
        self.assertRaises(TypeError, self.pair.remote.account_enable)
        self.assertRaises(TypeError, self.pair.remote.account_enable, "a", "b")

    def test_progress(self) -> None:
        """Progress is reported at most every tenth of a second, and always at the end."""
        seen: list[tuple[int, int, str]] = []
        finish: Deferred[None] = Deferred()
        self.pair.administration.answers["reparse"] = finish
        asked = self.ask("reparse", "alice", lambda *report: seen.append(report))
        report = self.pair.administration.calls[0][1]["progress"]
        for done in (1, 2, 3):
            report(done, 10, "messages")
        self.pair.clock.advance(0.2)
        report(4, 10, "messages")
        report(10, 10, "messages")
        finish.callback(None)
        self.pair.flush()
        self.successResultOf(asked)
        self.assertEqual(seen, [(1, 10, "messages"), (4, 10, "messages"), (10, 10, "messages")])

    def test_hanging_up_cancels(self) -> None:
        """When the command goes away, what it asked for is cancelled, and late progress is dropped."""
        cancelled: list[Any] = []
        self.pair.administration.answers["verify_data"] = Deferred(cancelled.append)
        self.ask("verify_data", "", lambda *report: None)
        report = self.pair.administration.calls[0][1]["progress"]
        self.pair.server.connectionLost(Failure(ConnectionError()))
        self.assertEqual(len(cancelled), 1)
        self.pair.down.clear()
        report(1, 2, "messages")
        self.assertEqual(self.pair.down.value(), b"")

    def test_server_goes_away(self) -> None:
        """A command whose server dies gets an error, not silence."""
        self.pair.administration.answers["status"] = Deferred()
        asked = self.ask("status")
        self.pair.client.connectionLost(Failure(ConnectionLost()))
        self.assertIn("hung up", self.failureResultOf(asked, MailError).value.detail)

    def test_too_many_at_once(self) -> None:
        """More operations at the same time than the limit are refused."""
        for _ in range(MAX_CALLS):
            self.pair.administration.answers["status"] = Deferred()
            self.assertNoResult(self.ask("status"))
        self.assertIn("too many", self.failureResultOf(self.ask("status"), MailError).value.detail)

    def test_box_without_end(self) -> None:
        """A box that grows beyond the limit ends the connection."""
        self.patch(__import__("moxtwisted.server.control.amp", fromlist=["x"]), "MAX_BOX_OCTETS", 1000)
        for i in range(20):
            self.pair.server.dataReceived(b"\x00\x02%02d\x00\x64" % i + b"x" * 100)
        self.assertTrue(self.pair.down.disconnecting)

    def test_nonsense_octets(self) -> None:
        """Octets that are no AMP end the connection without a traceback."""
        self.pair.server.dataReceived(b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(self.pair.down.disconnecting)

    def test_boxes_of_others(self) -> None:
        """A box that none of ours would send ends the connection without a traceback, and is not answered."""
        call = {"_ask": "1", "_command": "Call", "serial": "1", "method": "status", "arguments": "{}"}
        strangers: list[dict[str, str]] = [
            {},
            {"x": "y"},
            {"_ask": "1", "_command": "Nope"},
            {"_command": "Progress", "serial": "1", "done": "1", "total": "2", "what": "x"},
            {"_answer": "7"},
            {"_error": "7", "_error_code": "X", "_error_description": "y"},
            {**call, "serial": "x"},
            {key: value for key, value in call.items() if key != "serial"},
            {key: value for key, value in call.items() if key != "_ask"},
        ]
        for stranger in strangers:
            pair = Pair()
            pair.server.dataReceived(box(stranger) + box(call))
            self.assertTrue(pair.down.disconnecting, stranger)
            self.assertEqual((pair.down.value(), pair.administration.calls), (b"", []))

    def test_answers_of_others(self) -> None:
        """An answer that cannot be understood is an error for whoever asked, and no traceback."""
        answers: list[dict[str, str]] = [
            {"_answer": "1"},
            *({"_answer": "1", "outcome": text} for text in ("[", "{}", "1", '{"refused": 1}', "[" * 60_000)),
            {"_answer": "1", "outcome": '{"refused": {"detail": "x", "problems": 1}}'},
            {"_error": "1", "_error_code": "UNKNOWN", "_error_description": "x"},
        ]
        for answer in answers:
            pair = Pair()
            asked = pair.remote.status()
            pair.client.dataReceived(box(answer))
            self.assertIn("cannot be understood", self.failureResultOf(asked, MailError).value.detail)

    def test_unasked_answers(self) -> None:
        """Answers to what was not asked, or without an error code, end the connection."""
        for answer in ({"_answer": "7"}, {"_error": "1"}):
            pair = Pair()
            asked = pair.remote.status()
            pair.client.dataReceived(box(answer))
            self.assertTrue(pair.up.disconnecting)
            pair.client.connectionLost(Failure(ConnectionLost()))
            self.failureResultOf(asked, MailError)

    def test_delegation_is_complete(self) -> None:
        """ConfigurationOperations passes on every operation that it declares."""
        verifyClass(IConfigurationOperations, ConfigurationOperations)
        recorder = Recorder()
        delegating = ConfigurationOperations(recorder)  # type: ignore[arg-type]
        for name in IConfigurationOperations.names():
            self.assertTrue(callable(getattr(delegating, name)))

    def test_all_operations_are_async_declarations(self) -> None:
        """Arguments are plain names, progress last, so that every operation can be called over the socket."""
        for name, method in operations().items():
            positional = method.getSignatureInfo()["positional"]
            self.assertNotIn("progress", positional[:-1], name)
            self.assertIsNone(method.getSignatureInfo()["varargs"], name)
            self.assertIn(name, IAdministration.names(all=True))


class SocketTests(TestCase):
    """With a real socket."""

    def serve(self, path: Path) -> Recorder:
        """Listen at the path until the test ends."""
        administration = Recorder()
        service = ControlService(reactor, path, lambda: administration)
        service.startService()
        self.addCleanup(service.stopService)
        return administration

    async def check(self, path: Path) -> None:
        """Serve there, and call."""
        administration = self.serve(path)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        administration.answers["status"] = {"running": True}
        remote = await connect(reactor, path)
        self.assertEqual(await remote.status(), {"running": True})
        remote.disconnect()
        await remote.ended()

    async def test_over_a_socket(self) -> None:
        """The socket is for its owner alone, and calls pass through it."""
        await self.check(Path(self.mktemp()).absolute())

    async def test_left_over_socket(self) -> None:
        """A socket that a killed server left behind is replaced."""
        import socket

        path = Path(self.mktemp()).absolute()
        name, descriptor = socket_address(path)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(name)
        if descriptor >= 0:
            os.close(descriptor)
        await self.check(path)

    async def test_long_path(self) -> None:
        """A path longer than a socket's address can be used."""
        directory = Path(self.mktemp()).absolute() / ("d" * 120)
        directory.mkdir(parents=True)
        await self.check(directory / "ctl")

    async def test_prepared(self) -> None:
        """What commands need is there some time after the start, before anybody asks; not when it was stopped before."""
        made: list[Recorder] = []

        def make() -> Recorder:
            made.append(Recorder())
            return made[-1]

        self.patch(control, "_PREPARE_SECONDS", 0.01)
        service = ControlService(reactor, Path(self.mktemp()).absolute(), make)
        service.startService()
        await service.stopService()
        await deferLater(reactor, 0.05)
        self.assertEqual(made, [])
        service.startService()
        self.addCleanup(service.stopService)
        await deferLater(reactor, 0.05)
        self.assertEqual(len(made), 1)

    async def test_nobody_listens(self) -> None:
        """Without a server, connecting fails in a way that the command can tell."""
        with self.assertRaises(ConnectError):
            await connect(reactor, Path("/nonexistent/ctl"))
        path = Path(self.mktemp()).absolute()
        service = ControlService(reactor, path, Recorder)
        service.startService()
        await service.stopService()
        with self.assertRaises(ConnectError):
            await connect(reactor, path)
