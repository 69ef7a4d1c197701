"""ClamAV: ``clamd`` looks for malware in a message, which is streamed to it (``INSTREAM``, clamd(8)).

::

    C: zINSTREAM\\0
    C: <four octets: length><octets> ... <four octets 0>
    S: stream: Eicar-Test-Signature FOUND\\0
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any, Final

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IPushProducer, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.server.judgement.interfaces import Incoming, Opinion
from moxtwisted.server.scanners.asking import NotExaminedError, ScannerUnavailableError
from moxtwisted.smtp.replies import Reply
from moxtwisted.transport.agent import SoleFactory, hang_up, in_time

__all__ = ["Clamd"]

_LENGTH: Final = struct.Struct("!I")
_PIECE: Final = 65536
_ANSWER_OCTETS: Final = 4096
_FOUND: Final = re.compile(r"stream: (?P<name>.{1,200}) FOUND", re.DOTALL)


@implementer(IPushProducer)
class _Stream(Protocol):
    """One message to one clamd."""

    def __init__(self, pieces: Iterator[bytes], done: Deferred[bytes]) -> None:
        self._pieces = pieces
        self._done: Deferred[bytes] | None = done
        self._answer = b""
        self._paused = False
        self._sent = False

    def connectionMade(self) -> None:
        """Send as it takes."""
        transport: Any = self.transport
        transport.write(b"zINSTREAM\0")
        transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """There is room."""
        self._paused = False
        transport: Any = self.transport
        while not self._paused and not self._sent:
            try:
                piece = next(self._pieces, b"")
            except Exception:  # noqa: BLE001  a boundary: whoever waits is told
                self._finish(Failure())
                hang_up(transport)
                return
            self._sent = not piece
            transport.write(_LENGTH.pack(len(piece)) + piece)
        if self._sent:
            transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """There is none."""
        self._paused = True

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._paused = True

    def dataReceived(self, data: bytes) -> None:
        """The answer, whole when an octet 0 ends it; it may come before all was sent."""
        self._answer += data
        if len(self._answer) > _ANSWER_OCTETS:
            self._finish(Failure(NotExaminedError("clamd's answer does not end")))
        elif self._answer.endswith(b"\0"):
            self._finish(self._answer.rstrip(b"\0"))
        else:
            return
        hang_up(self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It ended."""
        self._paused = self._sent = True
        self._finish(Failure(NotExaminedError("clamd closed the connection without an answer")))

    def stop(self) -> None:
        """Nobody waits any more."""
        self._done = None
        hang_up(self.transport)

    def _finish(self, result: bytes | Failure) -> None:
        done, self._done = self._done, None
        if done is not None:
            done.callback(result)


@define(eq=False)
class Clamd:
    """Asks a clamd.

    :ivar seconds: for all of it.
    """

    endpoint: IStreamClientEndpoint
    clock: IReactorTime
    seconds: float = 60.0

    async def examine(self, incoming: Incoming) -> Opinion | None:
        """A refusal when it found malware. :raises ScannerUnavailableError:"""
        return judge_answer(await self._scan(_pieces(incoming)))

    async def _scan(self, pieces: Iterator[bytes]) -> str:
        done: Deferred[bytes] = Deferred()
        stream = _Stream(pieces, done)
        answered = False

        async def talk(factory: SoleFactory) -> bytes:
            await self.endpoint.connect(factory)
            return await done

        try:
            with SoleFactory(stream) as factory:
                answer = await in_time(self.clock, Deferred.fromCoroutine(talk(factory)), self.seconds)
            answered = True
        except CancelledError:
            raise
        except TookTooLong:
            raise ScannerUnavailableError(f"clamd gave no answer within {self.seconds:g} s") from None
        except ScannerUnavailableError:
            raise
        except Exception as e:
            raise ScannerUnavailableError(f"clamd cannot be reached: {e}") from e
        finally:
            if not answered and stream.transport is not None:
                stream.stop()
        return answer.decode("utf-8", "replace")


def judge_answer(answer: str) -> Opinion | None:
    """What clamd's answer means. :raises NotExaminedError: when it is an error."""
    found = _FOUND.fullmatch(answer)
    if found is not None:
        name = "".join(c for c in found["name"] if c.isprintable())
        return Opinion(
            source="clamd",
            # RFC 3463 section 3.8: X.7.1, delivery not authorized, message refused.
            reply=Reply(
                550, "5.7.1", f"the message contains malware: {name.encode('ascii', 'replace').decode()}"
            ),
            explanation=f"clamd found {name}",
            values={"malware": name},
        )
    if answer == "stream: OK":
        return None
    # Such as that the message is larger than it takes.
    raise NotExaminedError(f"clamd says: {answer[:200]}")


def _pieces(incoming: Incoming) -> Iterator[bytes]:
    for chunk in incoming.staged.chunks():
        for start in range(0, len(chunk), _PIECE):
            yield chunk[start : start + _PIECE]
