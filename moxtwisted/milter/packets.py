"""Packets of the milter protocol: four octets of length, one for the command, data.

::

    encode(b"H", b"mail.example.org\\0")            # b"\\x00\\x00\\x00\\x12Hmail.example.org\\x00"
    reader = PacketReader(limit=65536)
    reader.feed(octets)                              # [(b"c", b"")]: the filter says "continue"
"""

from __future__ import annotations

import struct
from enum import IntFlag
from typing import Final

from moxtwisted.errors import MailError

__all__ = ["VERSION", "Action", "MilterProtocolError", "PacketReader", "Step", "encode"]

#: The newest that we speak; 2 is what old filters know.
VERSION: Final = 6
OLDEST_VERSION: Final = 2
_LENGTH: Final = struct.Struct("!I")


class MilterProtocolError(MailError):
    """A filter said what the protocol does not have there."""


class Action(IntFlag):
    """What a filter may do to a message (``SMFIF_…``)."""

    ADD_HEADERS = 0x01
    CHANGE_BODY = 0x02
    ADD_RECIPIENTS = 0x04
    DELETE_RECIPIENTS = 0x08
    CHANGE_HEADERS = 0x10
    QUARANTINE = 0x20


class Step(IntFlag):
    """What a filter does not want to be told, or does not answer (``SMFIP_…``)."""

    NO_CONNECT = 0x01
    NO_HELLO = 0x02
    NO_MAIL = 0x04
    NO_RECIPIENT = 0x08
    NO_BODY = 0x10
    NO_HEADERS = 0x20
    NO_END_OF_HEADER = 0x40
    SILENT_HEADERS = 0x80
    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    SKIP = 0x400
    REJECTED_RECIPIENTS = 0x800
    SILENT_CONNECT = 0x1000
    SILENT_HELLO = 0x2000
    SILENT_MAIL = 0x4000
    SILENT_RECIPIENT = 0x8000
    SILENT_DATA = 0x10000
    SILENT_UNKNOWN = 0x20000
    SILENT_END_OF_HEADER = 0x40000
    SILENT_BODY = 0x80000
    LEADING_SPACE = 0x100000


def encode(command: bytes, data: bytes = b"") -> bytes:
    """One packet."""
    return _LENGTH.pack(len(data) + 1) + command + data


class PacketReader:
    """Cuts what comes into packets.

    :param limit: octets of one packet at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = b""

    def feed(self, octets: bytes) -> list[tuple[bytes, bytes]]:
        """(command, data) of those that are whole now. :raises MilterProtocolError: for one that is too long, or empty."""
        held = self._held + octets if self._held else octets
        packets = []
        start = 0
        while len(held) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(held, start)
            if not 0 < length <= self._limit:
                raise MilterProtocolError(f"the filter sent a packet of {length} octets")
            end = start + _LENGTH.size + length
            if len(held) < end:
                break
            packets.append((held[start + 4 : start + 5], held[start + 5 : end]))
            start = end
        self._held = held[start:]
        return packets
