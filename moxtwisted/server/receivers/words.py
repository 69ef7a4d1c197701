"""What a receiver and the owner say to each other: the words that frames begin with (``moxtwisted.server.processes.link``)."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Word"]


class Word(IntEnum):
    """What a frame says. In brackets what follows."""

    # The owner's.
    SET_UP = 1
    """Begin (configuration; see ``settings``)."""
    CONNECTION = 2
    """A client (number, listener), with its connection."""
    ANSWER = 3
    """To TAKE or ROOM (number, answer, remarks)."""
    END = 4
    """End a connection (number): the client is banned."""
    USE = 5
    """Another configuration of domains is in force."""
    CERTIFICATES = 6
    """Other certificates are in use (for each listener)."""
    LEVELS = 7
    """Other levels of the log are."""
    SPLITTING = 8
    """Whether recipients are remembered that have to come apart (bool)."""
    SHUT_DOWN = 9
    """Take no more, finish what is under way."""
    ASK = 10
    """Is there anybody?"""
    LIST = 11
    """A list of senders is there or has changed (its path), with the file; or is not there (path, False)."""

    # The receiver's.
    READY = 20
    """It has begun."""
    TAKE = 21
    """A message (number, message, octets), perhaps with its file."""
    GONE = 22
    """The client of a message is gone (number)."""
    ROOM = 23
    """May this recipient be taken (number, question)?"""
    CLOSED = 24
    """A connection is gone (number, whether it made too many errors)."""
    EVENT = 25
    """Of the log."""
    HERE = 26
    """To ASK."""
