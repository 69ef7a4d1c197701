"""Which command may be given in which state: one table.

The states between commands::

    GREETED --EHLO/HELO/LHLO--> READY --MAIL--> MAIL --RCPT--> RCPT --DATA--> (body) --> READY
                                  ^                              '----BDAT--> CHUNKS --BDAT LAST--> READY
                                  '--- RSET, EHLO, a refused message -----------'

and those in which what comes is no command: AUTH (SASL messages), BODY (after DATA), CHUNK (octets of a BDAT), TLS (handshake).
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType

__all__ = ["ALLOWED", "COMMAND_STATES", "State"]


class State(Enum):
    """Where a connection is."""

    CONNECTED = "connected"  # the greeting is not out yet
    GREETED = "greeted"  # no EHLO yet
    READY = "ready"  # after EHLO, between transactions
    MAIL = "mail"  # a transaction without accepted recipient
    RCPT = "rcpt"  # a transaction with at least one
    CHUNKS = "chunks"  # between two BDAT commands of a message
    AUTH = "auth"
    BODY = "body"
    CHUNK = "chunk"
    TLS = "tls"
    CLOSED = "closed"

    __hash__ = object.__hash__  # Enum's is written in Python


#: The states in which commands are read.
COMMAND_STATES = (State.GREETED, State.READY, State.MAIL, State.RCPT, State.CHUNKS)

_ANY = frozenset(COMMAND_STATES)

#: Verb to the states that allow it. Everything else is answered 503 5.5.1 (RFC 5321 section 4.1.4).
ALLOWED = MappingProxyType(
    {
        # RFC 5321 section 4.1.4: EHLO may come at any time and resets; so may NOOP, HELP, EXPN, VRFY, RSET, QUIT.
        "EHLO": _ANY,
        "HELO": _ANY,
        "LHLO": _ANY,
        "NOOP": _ANY,
        "HELP": _ANY,
        "VRFY": _ANY,
        "EXPN": _ANY,
        "RSET": _ANY,
        "QUIT": _ANY,
        # RFC 3207 section 4 leaves the state before STARTTLS open; within a transaction it would only lose it.
        "STARTTLS": frozenset({State.GREETED, State.READY}),
        # RFC 4954 section 4: no AUTH during a transaction. It needs EHLO, which offers it.
        "AUTH": frozenset({State.READY}),
        # RFC 5321 section 4.1.4: no MAIL when a transaction is open.
        "MAIL": frozenset({State.READY}),
        "RCPT": frozenset({State.MAIL, State.RCPT}),
        "DATA": frozenset({State.RCPT}),
        # RFC 3030 section 2: BDAT and DATA are not mixed in one transaction.
        "BDAT": frozenset({State.RCPT, State.CHUNKS}),
    }
)
