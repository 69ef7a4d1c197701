"""What the owner of the accounts and a keeper say to each other (``moxtwisted.server.processes.link``)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["LOCK_DESCRIPTOR", "Word"]

#: Where a keeper finds the lock of the store.
LOCK_DESCRIPTOR: Final = 4


class Word(IntEnum):
    """What a frame says. In brackets what follows."""

    # The owner's.
    SET_UP = 1
    """Begin (configuration; see ``moxtwisted.compose.keeping``)."""
    LENT = 2
    """An account is the keeper's from now on (its name)."""
    RECALL = 3
    """It is wanted back (its name): end its sessions, finish what is under way, close it."""
    CONNECTION = 4
    """A client that logged in (number, its departure and the listener's settings), with its connection."""
    DO = 5
    """An operation (number, account, what and with what, count of files), with the files of messages."""
    DONE = 6
    """To SHARES (number, error or nothing)."""
    END = 7
    """End a connection (number)."""
    END_ALL = 8
    """End all connections: the server stops. Operations are still done."""
    USE = 9
    """Another configuration of domains is in force."""
    LEVELS = 10
    """Other levels of the log are."""
    SHUT_DOWN = 11
    """Close everything, and end."""
    ASK = 12
    """Is there anybody?"""

    # The keeper's.
    READY = 20
    """It has begun."""
    RETURNED = 21
    """An account is closed (its name)."""
    CLOSED = 22
    """A connection is gone (number, whether it made too many errors)."""
    ANSWER = 23
    """To DO (number, what came of it)."""
    SHARES = 24
    """Whom the lists of an account name, or are about to (number, its name, identifiers)."""
    EVENT = 25
    """Of the log."""
    HERE = 26
    """To ASK."""
