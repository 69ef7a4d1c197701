"""What all of them have in common: a time limit, a fuse, and what happens when nobody answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal

from attrs import Factory, define, field
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.server.fuse import Fuse
from moxtwisted.server.judgement.interfaces import IExternalJudge, Incoming, Opinion
from moxtwisted.smtp.replies import Reply

__all__ = ["FIELD_OCTETS", "NotExaminedError", "Scanner", "ScannerUnavailableError", "safe_field"]

_log = Logger()

# RFC 3463 section 3.4: X.3.0, other mail system status.
_LATER: Final = Reply(451, "4.3.0", "the message cannot be examined now, try again later")
#: Of the value of a field that another program gives.
FIELD_OCTETS: Final = 8192


class ScannerUnavailableError(MailError):
    """It does not answer; ``detail`` says how."""


class NotExaminedError(ScannerUnavailableError):
    """It is there, and makes nothing of this message; ``detail`` says how. That tells nothing of the next one."""


@implementer(IExternalJudge)
@define(eq=False)
class Scanner:
    """Asks one program, and knows what to do when it does not answer.

    :ivar name: for the log and the explanation.
    :ivar examine: asks it; raises a MailError when that comes to nothing; has its own time limit.
    :ivar key: what those who do without it call it.
    :ivar when_unavailable: take the message as if there were no such program, or have the sender try again.
    """

    name: str
    examine: Callable[[Incoming], Awaitable[Opinion | None]]
    clock: IReactorTime
    when_unavailable: Literal["accept", "defer"] = "accept"
    key: str = Factory(lambda self: self.name, takes_self=True)
    _fuse: Fuse = field(default=Factory(lambda self: Fuse(self.clock), takes_self=True), init=False)

    async def look(self, incoming: Incoming) -> Opinion | None:
        """See ``IExternalJudge``."""
        if self._fuse.blown:
            return self._unavailable("it did not answer some seconds ago")
        try:
            opinion = await self.examine(incoming)
        except CancelledError:
            raise  # nobody waits any more, which tells nothing of the program
        except MailError as e:
            why = e.detail or e.public_text
            # What is wrong with one message must not keep it from looking at the others: a stranger could send three of that kind first.
            blown = not isinstance(e, NotExaminedError) and self._fuse.failed()
            _log.warn(
                "{scanner} did not look at a message: {why}",
                scanner=self.name,
                why=why,
                session=incoming.session,
                left_alone_seconds=self._fuse.pause_seconds if blown else 0,
            )
            return self._unavailable(why)
        except Exception:  # noqa: BLE001  a boundary: mail does not get lost for it
            _log.failure("{scanner} could not be asked", scanner=self.name, session=incoming.session)
            return self._unavailable("it could not be asked")
        self._fuse.worked()
        return opinion

    def _unavailable(self, why: str) -> Opinion:
        reply = _LATER if self.when_unavailable == "defer" else None
        return Opinion(source=self.name, reply=reply, explanation=f"{self.name} did not look at it: {why}")


def safe_field(name: bytes, value: bytes, octets: int = FIELD_OCTETS) -> bytes:
    """A header field that another program gave, with its CRLF; empty when it is none.

    RFC 5322 section 2.2: a name is printable ASCII without colon; lines of the value that do not begin with white space
    would be fields of their own, so they are folded.

    :param octets: of the value at most; the rest is cut off.
    """
    if not name or len(name) > 100 or any(not 33 <= octet <= 126 or octet == 58 for octet in name):
        return b""
    lines = [
        line.strip(b" \t") for line in value[:octets].replace(b"\0", b"").replace(b"\r", b" ").split(b"\n")
    ]
    return name + b": " + b"\r\n\t".join([line for line in lines if line]) + b"\r\n"
