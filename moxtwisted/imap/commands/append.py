r"""APPEND (RFC 9051 section 6.3.12, RFC 3502 MULTIAPPEND, RFC 4315 APPENDUID, RFC 7889 APPENDLIMIT).

A message is refused before the client sends it, if it can be; its octets go into the backend's sink as they come::

    C: a1 APPEND Sent (\Seen) {310}
    S: + go ahead
    C: (310 octets)
    S: a1 OK [APPENDUID 38505 3955] APPEND completed
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import define, field

from moxtwisted.errors import MailError
from moxtwisted.imap.backend import IAppendSink, Incoming
from moxtwisted.imap.commands.catenate import Catenation
from moxtwisted.imap.commands.listing import tell_name
from moxtwisted.imap.commands.messagelimit import refuse_more
from moxtwisted.imap.commands.store import check_keywords, parse_flags
from moxtwisted.imap.connection import Answer, Connection, RefusalError, mailbox_name, refused
from moxtwisted.imap.wire.appendgrammar import CatenateBegin, CatenateEnd, CatenateStep, CatenateURL
from moxtwisted.imap.wire.commands import Append, AppendMessage
from moxtwisted.imap.wire.sequence import compact
from moxtwisted.message.dates import bounded_instant

__all__ = ["Appending", "append"]


@define(eq=False)
class Appending:
    """The messages of one APPEND as they come in.

    :ivar failure: why one of them could not be taken; the command is answered with it at its end.
    :ivar octets: that were announced for all of them together.
    """

    mailbox: str
    messages: list[Incoming] = field(factory=list)
    failure: RefusalError | None = None
    octets: int = 0
    catenation: Catenation = field(factory=Catenation)

    async def carry_out(self, connection: Connection, steps: Sequence[CatenateStep]) -> None:
        """What stands between the literals.

        :raise RefusalError: when it cannot be had.
        """
        for step in steps:
            if self.catenation.given_up:
                # The command has failed, or its client has gone: what was begun now would be left behind.
                return
            match step:
                case CatenateBegin(flags, received):
                    if "CATENATE" not in connection.offered:
                        raise RefusalError("CATENATE is not available now", kind="BAD")
                    self.catenation.octets = 0
                    self._begin(connection, 0, flags, received)
                case CatenateURL(url) if self.messages:
                    await self.catenation.copy(connection, url, self.messages[-1].sink)
                case CatenateEnd() if not self.catenation.octets:
                    raise RefusalError("empty message")

    def announced(self, connection: Connection, message: AppendMessage) -> None:
        """A message is announced.

        :raise RefusalError: when it shall not be sent.
        """
        if message.binary and not message.utf8 and "BINARY" not in connection.offered:
            # RFC 3516 section 4.4; RFC 9755 has a literal8 of its own.
            raise RefusalError("BINARY is not available now", kind="BAD")
        if message.utf8 and "UTF8=ACCEPT" not in connection.offered:
            # RFC 9755 section 4: it is of that extension, though IMAP4rev2 has UTF-8 in names, too.
            raise RefusalError("UTF8=ACCEPT is not available now", kind="BAD")
        limit = min(connection.mail.append_limit, connection.settings.limits.append_octets)
        self.octets += message.size_octets
        if self.octets > limit and self.octets > message.size_octets:
            # They wait for the last of them, on disk for the most part.
            raise RefusalError("the messages of one APPEND are too large together", "TOOBIG")
        if self.failure is not None:
            # Of a command that has failed nothing is kept.
            return
        if message.is_part:
            self.catenation.grow(connection, message.size_octets)
            return
        if message.size_octets == 0:
            # RFC 3502 section 6.3.11: an empty message is how a client cancels.
            raise RefusalError("APPEND cancelled" if message.index else "empty message", kind="NO")
        if message.size_octets > limit:
            # RFC 7889 section 4
            raise RefusalError("message is too large", "TOOBIG")
        self._begin(connection, message.size_octets, message.flags, message.received)

    def _begin(
        self, connection: Connection, size_octets: int, names: Sequence[str], received: datetime | None
    ) -> None:
        flags = parse_flags(names)
        check_keywords(connection, flags)
        if self.messages:
            self._refuse_more(connection)
        try:
            sink = self.sink(connection, size_octets)
        except MailError as e:
            raise refused(e, trycreate=True) from e
        # Of a year that can be written in UTC as well: else no FETCH of the mailbox could tell INTERNALDATE any more.
        date = None if received is None else bounded_instant(int(received.timestamp()))
        self.messages.append(Incoming(sink, flags, date))

    def _refuse_more(self, connection: Connection) -> None:
        """Whether there may be another message."""
        if "MULTIAPPEND" not in connection.offered:
            raise RefusalError("MULTIAPPEND is not available now", kind="BAD")
        refuse_more(connection, len(self.messages) + 1)
        if len(self.messages) >= connection.settings.limits.append_messages:
            raise RefusalError("too many messages in one APPEND", "LIMIT")

    def sink(self, connection: Connection, size_octets: int) -> IAppendSink:
        """Where the octets go. :raises MailError:"""
        return connection.mail.append_sink(self.mailbox, size_octets)

    def write(self, data: bytes) -> None:
        """Octets of the message announced last."""
        if self.failure is not None or not data:
            return
        sink: IAppendSink = self.messages[-1].sink
        try:
            sink.write(data)
        except MailError as e:
            # The client is sending already: the rest is read and thrown away.
            self.failure = refused(e)
            self.abort()

    def abort(self) -> None:
        """Forget all of it."""
        self.catenation.given_up = True
        messages, self.messages = self.messages, []
        for message in messages:
            message.sink.abort()


async def append(connection: Connection, command: Append) -> Answer:
    """APPEND after its last octet: commit."""
    appending, connection.appending = connection.appending, None
    if appending is None:
        appending = Appending(mailbox_name(command.mailbox))
    if appending.failure is not None:
        raise appending.failure
    try:
        if command.steps:
            await appending.carry_out(connection, command.steps)
        done = await connection.mail.append(appending.mailbox, appending.messages)
    except MailError as e:
        appending.abort()
        raise refused(e, trycreate=True) from e
    except BaseException:
        appending.abort()
        raise
    connection.caused(appending.mailbox, done.uids)
    # RFC 9051 section 6.3.12
    tell_name(connection, appending.mailbox, command.mailbox)
    if not connection.tells_uids(appending.mailbox):
        return None
    return b"OK [APPENDUID %d %b] APPEND completed" % (done.uidvalidity, compact(done.uids))
