"""Administration over a unix socket: AMP commands to and from an ``IAdministration``.

There is one command, ``Call``, with the name of an operation and its arguments as JSON; a new operation of
``IAdministration`` needs nothing here. While it runs, ``ProgressReport`` comes back with the serial of the call::

    factory = ControlFactory(administration, reactor.seconds)       # the server's side; see ControlService, which listens

    administration = await connect(reactor, path)                   # the command's side, an IAdministration
    await administration.import_mbox("alice", "Archive", "/tmp/old.mbox", show)
    administration.disconnect()

A caller that hangs up cancels what it asked for.
"""

# AMP's methods have no annotations, and untyped_calls_exclude does not see that inherited ones are Twisted's.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from inspect import isawaitable
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn, cast

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import directlyProvides
from zope.interface.interface import Method

from moxtwisted.errors import ConfigurationError, LimitError, MailError
from moxtwisted.server.control.address import socket_address
from moxtwisted.server.control.interfaces import IAdministration, Progress

__all__ = ["Call", "ControlFactory", "ControlProtocol", "ProgressReport", "RemoteAdministration", "connect"]

log = Logger()

#: A list of 100,000 accounts is 20 MB; nobody asks for more.
MAX_BOX_OCTETS: Final = 64 * 2**20
#: Operations of one connection that run at the same time; our commands need one.
MAX_CALLS: Final = 8
#: AMP has two octets for the length of a value.
_CHUNK_OCTETS: Final = 0xFFFF
#: Seconds between two reports of progress of one call.
REPORT_SECONDS: Final = 0.1
_NOT_UNDERSTOOD: Final = "the server's answer cannot be understood; is it of the same version?"


class LargeText(amp.Argument):
    """A text of any length: 65,535 octets at a time under ``name``, ``name.2``, ``name.3`` …"""

    def fromBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, Any], proto: Any) -> None:
        """Take the pieces out of the box and join them."""
        pieces = [strings.pop(name)]
        while (piece := strings.pop(b"%s.%d" % (name, len(pieces) + 1), None)) is not None:
            pieces.append(piece)
        objects[name.decode("ascii")] = b"".join(pieces).decode("utf-8")

    def toBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, Any], proto: Any) -> None:
        """Cut the text into pieces."""
        data = objects[name.decode("ascii")].encode("utf-8")
        if len(data) > MAX_BOX_OCTETS // 2:
            raise LimitError(f"an answer of {len(data)} octets is too large")
        strings[name] = data[:_CHUNK_OCTETS]
        for number, start in enumerate(range(_CHUNK_OCTETS, len(data), _CHUNK_OCTETS), 2):
            strings[b"%s.%d" % (name, number)] = data[start : start + _CHUNK_OCTETS]


class Call(amp.Command):
    """Do an operation. ``arguments`` is a JSON object by parameter name, ``outcome`` one with ``result`` or ``refused``."""

    commandName = b"Call"
    arguments = [  # noqa: RUF012  Twisted's way
        (b"serial", amp.Integer()),
        (b"method", amp.Unicode()),
        (b"arguments", LargeText()),
    ]
    response = [(b"outcome", LargeText())]  # noqa: RUF012


class ProgressReport(amp.Command):
    """How far a call has come; no answer."""

    commandName = b"Progress"
    requiresAnswer = False
    arguments = [  # noqa: RUF012
        (b"serial", amp.Integer()),
        (b"done", amp.Integer()),
        (b"total", amp.Integer()),
        (b"what", amp.Unicode()),
    ]


def operations() -> dict[str, Method]:
    """The operations that can be called, by name."""
    return {
        name: cast("Method", IAdministration[name])
        for name in IAdministration.names(all=True)
        if isinstance(IAdministration[name], Method)
    }


class BoundedAMP(amp.AMP):
    """AMP that hangs up on a box that is larger than ``MAX_BOX_OCTETS`` or that none of ours would send."""

    #: Made by AMP's metaclass from the responders: command and function by name.
    _commandDispatch: ClassVar[dict[bytes, tuple[type[amp.Command], Any]]]
    _box_octets = 0
    _hung_up = False

    def hang_up(self) -> None:
        """Close the connection, if there is one; what still comes is not looked at."""
        self._hung_up = True
        if self.transport is not None:
            self.transport.loseConnection()

    def ampBoxReceived(self, box: amp.AmpBox) -> None:
        """Take a box, unless it would be an exception within AMP."""
        if self._hung_up:
            return
        if self._is_ours(box):
            super().ampBoxReceived(box)
        else:
            log.info("control: hung up on a box that is neither a command nor an answer")
            self.hang_up()

    def _is_ours(self, box: amp.AmpBox) -> bool:
        for key in (amp.ANSWER, amp.ERROR):
            if key in box:
                whole = key == amp.ANSWER or {amp.ERROR_CODE, amp.ERROR_DESCRIPTION} <= box.keys()
                return whole and box[key] in self._outstandingRequests
        command, _ = self._commandDispatch.get(box.get(amp.COMMAND, b""), (None, None))
        if command is None or (command.requiresAnswer and amp.ASK not in box):
            return False
        try:
            command.parseArguments(box.copy(), self)
        except (KeyError, ValueError):
            return False
        return True

    def proto_key(self, string: bytes) -> str:
        """Count; an empty key ends the box."""
        self._box_octets = self._box_octets + len(string) if string else 0
        return cast("str", super().proto_key(string))

    def proto_value(self, string: bytes) -> str:
        """Count."""
        self._box_octets += len(string)
        if self._box_octets > MAX_BOX_OCTETS:
            self.hang_up()
            return "init"
        return cast("str", super().proto_value(string))


# -- the server's side -------------------------------------------------------------------------------------


class ControlProtocol(BoundedAMP):
    """One command that talks to us."""

    def __init__(self, administration: Any, seconds: Callable[[], float]) -> None:
        super().__init__()
        self._administration = administration
        self._seconds = seconds
        self._running: dict[int, Deferred[Any]] = {}
        self._gone = False

    @Call.responder
    def call(self, serial: int, method: str, arguments: str) -> Deferred[dict[str, str]]:
        """Run an operation; its refusal is an outcome, not an error of the protocol."""
        if serial in self._running or len(self._running) >= MAX_CALLS:
            return _outcome({"refused": {"detail": "too many operations at once", "problems": []}})
        try:
            keywords = self._keywords(serial, method, arguments)
        except MailError as e:
            return _outcome({"refused": {"detail": e.detail, "problems": []}})
        log.info("control: {command}", command=method)
        running = ensureDeferred(self._run(method, keywords))
        self._running[serial] = running
        running.addBoth(self._ran, serial, method)
        return running

    def _keywords(self, serial: int, method: str, arguments: str) -> dict[str, Any]:
        """The arguments, checked against the interface."""
        known = operations().get(method)
        if known is None:
            raise MailError(f"there is no operation {method[:80]}")
        try:
            keywords = json.loads(arguments)
        except (ValueError, RecursionError):
            keywords = None
        expected = set(known.getSignatureInfo()["positional"])
        if not isinstance(keywords, dict) or set(keywords) != expected - {"progress"}:
            raise MailError(f"{method} takes: {', '.join(sorted(expected - {'progress'}))}")
        if "progress" in expected:
            keywords["progress"] = self._reporter(serial)
        return keywords

    async def _run(self, method: str, keywords: dict[str, Any]) -> Any:
        result = getattr(self._administration, method)(**keywords)
        return await result if isawaitable(result) else result

    def _ran(self, result: Any, serial: int, method: str) -> dict[str, str]:
        self._running.pop(serial, None)
        if not isinstance(result, Failure):
            try:
                return {"outcome": json.dumps({"result": result})}
            except (TypeError, ValueError):
                result = Failure()
        problems: tuple[str, ...] = ()
        if result.check(ConfigurationError):
            problems = result.value.problems
            detail = "the configuration would not be valid"
        elif result.check(MailError):
            detail = result.value.explanation
        elif result.check(CancelledError):
            detail = "cancelled"
        else:
            log.failure("control: {command} failed", failure=result, command=method)
            detail = "internal error, see the log"
        return {"outcome": json.dumps({"refused": {"detail": detail, "problems": list(problems)[:1000]}})}

    def _reporter(self, serial: int) -> Progress:
        """Sends reports, the last of each tenth of a second being good enough."""
        last = -REPORT_SECONDS
        shown = ""

        def report(done: int, total: int, what: str) -> None:
            nonlocal last, shown
            now = self._seconds()
            if self._gone or (now - last < REPORT_SECONDS and done != total and what == shown):
                return
            last, shown = now, what
            self.callRemote(ProgressReport, serial=serial, done=done, total=total, what=what[:1000])

        return report

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Nobody waits for the results any more."""
        self._gone = True
        for running in list(self._running.values()):
            running.cancel()
        super().connectionLost(reason)


def _outcome(value: dict[str, Any]) -> Deferred[dict[str, str]]:
    done: Deferred[dict[str, str]] = Deferred()
    done.callback({"outcome": json.dumps(value)})
    return done


class ControlFactory(Factory):
    """Makes a ``ControlProtocol`` for each connection."""

    noisy = False

    def __init__(self, administration: Any, seconds: Callable[[], float]) -> None:
        self._administration = administration
        self._seconds = seconds

    def buildProtocol(self, addr: Any) -> ControlProtocol:
        """See ``Factory``."""
        return ControlProtocol(self._administration, self._seconds)


# -- the command's side ------------------------------------------------------------------------------------


class RemoteAdministration:
    """The administration of a running server: has every operation of ``IAdministration``."""

    def __init__(self, protocol: ClientProtocol) -> None:
        self._protocol = protocol
        directlyProvides(self, IAdministration)

    def __getattr__(self, name: str) -> Callable[..., Deferred[Any]]:
        """The operation of that name."""
        method = operations().get(name)
        if method is None:
            raise AttributeError(name)
        parameters = method.getSignatureInfo()["positional"]

        def operation(*positional: Any, **named: Any) -> Deferred[Any]:
            values = {**dict(zip(parameters, positional, strict=False)), **named}
            if len(positional) > len(parameters) or set(values) != set(parameters):
                raise TypeError(f"{name} takes {parameters}")
            return self._protocol.ask(name, values, values.pop("progress", None))

        return operation

    def ended(self) -> Deferred[None]:
        """Fires when the connection ends; that of a server which was told to stop does when it has closed its files."""
        return self._protocol.ended

    def disconnect(self) -> None:
        """Hang up."""
        self._protocol.hang_up()


class ClientProtocol(BoundedAMP):
    """A connection to a running server.

    :ivar ended: fires when it ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ended: Deferred[None] = Deferred()
        self._serial = 0
        self._progress: dict[int, Progress] = {}

    def ask(self, method: str, arguments: Mapping[str, Any], progress: Progress | None) -> Deferred[Any]:
        """Call an operation.

        :return: fires with its result; fails with ``MailError`` or ``ConfigurationError``.
        """
        self._serial += 1
        serial = self._serial
        if progress is not None:
            self._progress[serial] = progress
        asked: Deferred[Any] = self.callRemote(
            Call, serial=serial, method=method, arguments=json.dumps(dict(arguments), default=list)
        )
        # AMP takes a failure that its own Deferred ends with for a defect and hangs up, so the caller gets another.
        answer: Deferred[Any] = Deferred()
        asked.addBoth(self._answered, serial, answer)
        return answer

    def _answered(self, result: Any, serial: int, answer: Deferred[Any]) -> None:
        self._progress.pop(serial, None)
        try:
            value = _lost(result) if isinstance(result, Failure) else _result(result)
        except Exception:  # noqa: BLE001  whatever it is, it is the caller's
            answer.errback(Failure())
        else:
            answer.callback(value)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Whoever waits for an answer gets none; whoever waits for the end has it."""
        super().connectionLost(reason)
        self.ended.callback(None)

    @ProgressReport.responder
    def report(self, serial: int, done: int, total: int, what: str) -> dict[str, Any]:
        """Pass it to the caller."""
        progress = self._progress.get(serial)
        if progress is not None:
            progress(done, total, what)
        return {}


def _result(answer: dict[str, str]) -> Any:
    try:
        outcome = json.loads(answer["outcome"])
        refused = outcome.get("refused")
        if refused is None:
            return outcome["result"]
        problems, detail = tuple(map(str, refused["problems"])), str(refused["detail"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as e:
        raise MailError(_NOT_UNDERSTOOD) from e
    if problems:
        raise ConfigurationError(problems)
    raise MailError(detail)


def _lost(failure: Failure) -> NoReturn:
    if failure.check(ConnectionDone, ConnectionLost):
        raise MailError("the server hung up before it answered")
    if failure.check(amp.AmpError, KeyError, ValueError):
        raise MailError(_NOT_UNDERSTOOD) from failure.value
    failure.raiseException()


async def connect(reactor: Any, path: Path, timeout_seconds: float = 10) -> RemoteAdministration:
    """Connect to the running server.

    :raise twisted.internet.error.ConnectError: when none listens there.
    """
    from twisted.internet.endpoints import UNIXClientEndpoint

    address, directory = socket_address(path)
    try:
        factory = Factory.forProtocol(ClientProtocol)
        factory.noisy = False
        protocol = await UNIXClientEndpoint(reactor, address, timeout=timeout_seconds).connect(factory)
    finally:
        if directory >= 0:
            os.close(directory)
    return RemoteAdministration(cast("ClientProtocol", protocol))
