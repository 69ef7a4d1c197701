"""Which recipients a client was refused, in the log: the first of each connection.

::

    refusals = Refusals(session)
    return refusals.note(reverse_path, forward_path, Reply(550, "5.1.1", "no such user here"))      # the reply

Whoever guesses addresses fills no disk: after twenty lines there is one that says that the connection gets no more.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field
from twisted.logger import Logger

from moxtwisted.address import Path
from moxtwisted.server.trace import TracedSession
from moxtwisted.smtp.replies import Reply

__all__ = ["Refusals"]

_log = Logger()

#: Lines of one connection.
_MOST: Final = 20


@define(eq=False)
class Refusals:
    """Those of one connection.

    :ivar count: how many there were.
    """

    _session: TracedSession
    count: int = field(default=0, init=False)

    def note(self, reverse_path: Path, forward_path: Path, reply: Reply) -> Reply:
        """Log a refused recipient.

        :returns: the reply that refuses it.
        """
        self.count += 1
        if self.count <= _MOST:
            _log.info(
                "recipient {recipient} of mail from {sender} refused: {reply_code} {enhanced_code} {problem}",
                session=self._session.id,
                peer=self._session.peer.ip_text,
                sender=str(reverse_path) or "<>",
                recipient=str(forward_path),
                reply_code=reply.code,
                enhanced_code=reply.enhanced,
                problem=reply.text,
            )
        elif self.count == _MOST + 1:
            _log.info(
                "more recipients of {peer} are refused; no more of this connection are written",
                session=self._session.id,
                peer=self._session.peer.ip_text,
            )
        return reply
