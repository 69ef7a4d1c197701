r"""REPLACE and UID REPLACE (RFC 8508): a new message comes and an old one goes, both or neither.

::

    C: a1 UID REPLACE 2000 Drafts (\Seen \Draft) {350}
    S: + go ahead
    C: (350 octets)
    S: * OK [APPENDUID 1 2001] the replacement is there
    S: * 4 EXPUNGE
    S: * 4 EXISTS
    S: a1 OK REPLACE completed
"""

from __future__ import annotations

from typing import cast

from attrs import define

from moxtwisted.errors import MailError
from moxtwisted.imap.backend import IAppendSink
from moxtwisted.imap.commands.append import Appending
from moxtwisted.imap.commands.copymove import tell_gone, with_modseq
from moxtwisted.imap.connection import Answer, Connection, RefusalError, mailbox_name, refused
from moxtwisted.imap.replacement import IReplacingSession
from moxtwisted.imap.wire.commands import AppendMessage, Replace
from moxtwisted.imap.wire.sequence import STAR, compact

__all__ = ["Replacing", "replace"]


@define(eq=False)
class Replacing(Appending):
    """The message that comes in, and the UID of the one that it replaces."""

    uid: int = 0

    @classmethod
    def of(cls, connection: Connection, message: AppendMessage) -> Replacing:
        """For a message that was announced.

        :raise RefusalError: when there is nothing to be replaced.
        """
        box = connection.writable()
        uids, number = box.view.uids, message.replaces or STAR
        if connection.uidonly and not message.uid:
            # RFC 9586 section 3.2
            raise RefusalError("no sequence numbers after ENABLE UIDONLY", "UIDREQUIRED", "BAD")
        if number == STAR and uids:
            return cls(mailbox_name(message.mailbox), uid=uids[-1])
        if message.uid:
            if box.view.position(number) is None:
                raise RefusalError("no message has that UID")
            return cls(mailbox_name(message.mailbox), uid=number)
        if not 0 < number <= len(uids):
            # RFC 9051 section 9, seq-number
            raise RefusalError("no message has that sequence number", kind="BAD")
        return cls(mailbox_name(message.mailbox), uid=uids[number - 1])

    def sink(self, connection: Connection, size_octets: int) -> IAppendSink:
        """See ``Appending``."""
        session = cast("IReplacingSession", connection.mail)
        return session.replacement_sink(connection.box.mailbox, self.uid, self.mailbox, size_octets)


async def replace(connection: Connection, command: Replace) -> Answer:
    """REPLACE after its last octet: commit."""
    replacing, connection.appending = connection.appending, None
    if not isinstance(replacing, Replacing):
        message = AppendMessage(command.tag, command.mailbox, 0, replaces=command.number, uid=command.uid)
        replacing = Replacing.of(connection, message)
    if replacing.failure is not None:
        raise replacing.failure
    session = cast("IReplacingSession", connection.mail)
    try:
        await replacing.carry_out(connection, command.steps)
        done = await session.replace(
            connection.box.mailbox, replacing.uid, replacing.mailbox, replacing.messages[0]
        )
    except MailError as e:
        replacing.abort()
        if not connection.box.view.live.exists:
            raise RefusalError("the mailbox of the message was removed", "EXPUNGEISSUED") from e
        raise refused(e, trycreate=True) from e
    except BaseException:
        replacing.abort()
        raise
    connection.caused(replacing.mailbox, done.uids)
    if connection.tells_uids(replacing.mailbox):
        # RFC 8508 section 4.3: told before the EXPUNGE, so that the client can follow what became of the message.
        code = b"APPENDUID %d %b" % (done.uidvalidity, compact(done.uids))
        connection.out.append(b"* OK [%b] the replacement is there\r\n" % code)
    await tell_gone(connection, 1)
    # RFC 8508 section 4.5: as after UID EXPUNGE.
    return with_modseq(connection, b"REPLACE completed")
