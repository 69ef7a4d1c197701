"""TLS connections that behave badly: they stall, talk nonsense, hang up.

Twisted's TLS layer asks an OpenSSL connection for everything that it sends. What stands here is put between the two::

    bent(Behaviour.STALL, connection, protocol)      # takes what the client says and never answers

The faults that happen before the handshake, in clear, are here, too, as far as they only need the transport.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

__all__ = ["Behaviour", "bent"]


class Behaviour(Enum):
    """What goes wrong, besides certificates and ciphers."""

    NONE = "nothing"
    STALL = "the handshake is not answered"
    GARBAGE = "nonsense for an answer"
    PLAINTEXT = "words in clear for an answer"
    CLOSE = "closed at once"
    HALF = "closed in the middle"
    HALF_STALL = "silent in the middle"
    NO_CLOSE_NOTIFY = "closed without a farewell"
    INJECTED_REPLY = "a reply in clear behind that to STARTTLS"
    PIPELINED = "commands in clear behind STARTTLS count"
    REFUSED = "STARTTLS is refused"
    STRIPPED = "STARTTLS is not offered"


#: The reply to an EHLO that was not said yet: without STARTTLS, with log-in, from somebody in between.
INJECTED: Final = b"250-injected.badsmtp.test\r\n250-AUTH PLAIN LOGIN\r\n250 INJECTED\r\n"
_PLAIN: Final = b"220 badsmtp.test ESMTP in clear\r\n"
# Neither a record of TLS nor a line of text.
_GARBAGE: Final = bytes((0x16, 0x03, 0x03, 0x00, 0x10)) + bytes(range(0x80, 0x90)) + b"\xff\x00\xfe\r\n"


class _Layer:
    """An OpenSSL connection with other manners; what is not written here is the connection's own."""

    def __init__(self, connection: Any, protocol: Any) -> None:
        self._connection = connection
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class _Silent(_Layer):
    """Takes everything and answers nothing, but what a subclass says once, in clear."""

    words = b""

    def do_handshake(self) -> None:
        """Never done."""
        from OpenSSL.SSL import WantReadError

        raise WantReadError

    def bio_read(self, size: int) -> bytes:
        """What goes to the client."""
        from OpenSSL.SSL import WantReadError

        words, self.words = self.words, b""
        if not words:
            raise WantReadError
        return words

    def bio_write(self, octets: bytes) -> int:
        """What the client says is not looked at, so nothing piles up."""
        return len(octets)

    def shutdown(self) -> bool:
        """There is nothing to say farewell to."""
        return True


class _Words(_Silent):
    """Answers the client's first words of the handshake, and nothing more."""

    answer = b""

    def bio_write(self, octets: bytes) -> int:
        """Not before: it would be taken for a part of the reply to STARTTLS."""
        self.words, self.answer = self.words or self.answer, b""
        return len(octets)


class _Garbage(_Words):
    answer = _GARBAGE


class _Plaintext(_Words):
    answer = _PLAIN


class _Close(_Silent):
    def do_handshake(self) -> None:
        """Hang up, once what was written (the 220) is out."""
        self._protocol.transport.loseConnection()
        super().do_handshake()


class _Half(_Layer):
    """Says its first words of the handshake, then hangs up."""

    stay = False
    _said = False

    def do_handshake(self) -> None:
        """One step of it."""
        from OpenSSL.SSL import WantReadError

        if self._said:
            raise WantReadError
        self._connection.do_handshake()

    def bio_read(self, size: int) -> bytes:
        """Half of what OpenSSL wants to say at first, and nothing more."""
        from OpenSSL.SSL import WantReadError

        if self._said:
            raise WantReadError
        octets: bytes = self._connection.bio_read(size)
        self._said = True
        if not self.stay:
            # Twisted writes what this returns; what is written before the end goes out.
            self._protocol.transport.write(octets[: len(octets) // 2])
            self._protocol.transport.loseConnection()
            raise WantReadError
        return octets[: len(octets) // 2]

    def bio_write(self, octets: bytes) -> int:
        """What the client says to half an answer is not looked at."""
        return len(octets) if self._said else int(self._connection.bio_write(octets))

    def shutdown(self) -> bool:
        """No farewell."""
        return True


class _HalfStall(_Half):
    stay = True


class _NoCloseNotify(_Layer):
    def shutdown(self) -> bool:
        """Done, without a word, where an alert belongs."""
        return True


class _InjectedReply(_Layer):
    _told = False

    def do_handshake(self) -> None:
        """Before anything else, words in clear; they leave in one segment with the 220."""
        if not self._told:
            self._told = True
            self._protocol.transport.write(INJECTED)
        self._connection.do_handshake()


_LAYERS: Final[dict[Behaviour, type[_Layer]]] = {
    Behaviour.STALL: _Silent,
    Behaviour.GARBAGE: _Garbage,
    Behaviour.PLAINTEXT: _Plaintext,
    Behaviour.CLOSE: _Close,
    Behaviour.HALF: _Half,
    Behaviour.HALF_STALL: _HalfStall,
    Behaviour.NO_CLOSE_NOTIFY: _NoCloseNotify,
    Behaviour.INJECTED_REPLY: _InjectedReply,
}


def bent(behaviour: Behaviour, connection: Any, protocol: Any) -> Any:
    """The connection, or something in its place that behaves so.

    :param protocol: the TLS protocol that will use it; its ``transport`` is the layer below, once it is connected.
    """
    layer = _LAYERS.get(behaviour)
    return connection if layer is None else layer(connection, protocol)
