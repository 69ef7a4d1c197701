"""IDLE (RFC 2177, RFC 9051 section 6.3.13).

::

    C: a1 IDLE
    S: + idling
    S: * 4 EXISTS
    C: DONE
    S: a1 OK IDLE completed
"""

from __future__ import annotations

from moxtwisted.imap.connection import Answer, Connection
from moxtwisted.imap.states import State
from moxtwisted.imap.wire.commands import Done, Idle

__all__ = ["done", "idle"]


def idle(connection: Connection, command: Idle) -> Answer:
    """IDLE: what happened until now is told at once, what happens later when it does."""
    connection.out.append(b"+ idling\r\n")
    connection.state = State.IDLING
    connection.reader.expect_done(command.tag)
    connection.attend()
    # RFC 9051 section 7.5.1: EXPUNGE may be sent during IDLE.
    connection.sync(allow_expunge=True)
    connection.tell_news()
    return b""


def done(connection: Connection, command: Done) -> Answer:
    """DONE."""
    connection.state = State.AUTHENTICATED if connection.selected is None else State.SELECTED
    connection.unattend()
    return b"OK IDLE completed"
