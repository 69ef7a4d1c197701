r"""A connection as Thunderbird has one: over TLS and then compressed; and how it begins.

Nothing of it runs here; its commands are those of its source (nsImapProtocol.cpp), which capability by capability decides what is said.
"""

from __future__ import annotations

import base64
import re
import socket
import zlib
from typing import Any

from .live import ACCOUNT, CLIENT_SECONDS, IMAPS, PASSWORD, LiveTestCase, unverified

HEADERS = "From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To"


class Connection:
    """A TLS connection that can be compressed."""

    def __init__(self, ip: str) -> None:
        plain = socket.create_connection((ip, IMAPS), timeout=CLIENT_SECONDS)
        self.socket = unverified().wrap_socket(plain)
        self.buffer = b""
        self.inflater: Any = None
        self.deflater: Any = None
        self.count = 0

    def compress(self) -> None:
        """From now on, both ways."""
        self.inflater = zlib.decompressobj(-15)
        self.deflater = zlib.compressobj(6, zlib.DEFLATED, -15)

    def send(self, octets: bytes) -> None:
        if self.deflater is not None:
            octets = self.deflater.compress(octets) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        self.socket.sendall(octets)

    def line(self) -> bytes:
        """A response, with its literals."""
        response = self._until()
        while found := re.search(rb"\{(\d+)\}\r\n\Z", response):
            size = int(found[1])
            while len(self.buffer) < size:
                self._more()
            response += self.buffer[:size]
            self.buffer = self.buffer[size:]
            response += self._until()
        return response

    def _until(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self._more()
        found, _, self.buffer = self.buffer.partition(b"\r\n")
        return found + b"\r\n"

    def _more(self) -> None:
        octets = self.socket.recv(65536)
        if not octets:
            raise EOFError(self.buffer)
        self.buffer += octets if self.inflater is None else self.inflater.decompress(octets)

    def say(self, command: str, octets: bytes | None = None) -> str:
        """A command with Thunderbird's kind of tag, and what is behind its literal. @return: all responses."""
        self.count += 1
        tag = f"{self.count} "
        self.send(tag.encode() + command.encode() + b"\r\n")
        said = [b""]
        while not said[-1].startswith(tag.encode()):
            if said[-1].startswith(b"+") and octets is not None:
                self.send(octets)
                octets = None
            said.append(self.line())
        return b"".join(said).decode()


class ThunderbirdTestCase(LiveTestCase):
    """Its commands, and what it expects."""

    def connect(self) -> Connection:
        """A connection that was greeted."""
        connection = Connection(self.server.ip)
        self.addCleanup(connection.socket.close)
        self.assertIn(b"* OK", connection.line())
        return connection

    def said(self, connection: Connection, command: str, *expected: str, octets: bytes | None = None) -> str:
        """A command that is answered OK, and with each of these patterns."""
        answer = connection.say(command, octets)
        self.assertRegex(answer, r"(?m)^\d+ OK ", command)
        for pattern in expected:
            self.assertRegex(answer, pattern, command)
        return answer

    def log_in(self, connection: Connection) -> None:
        """Up to the list of folders."""
        self.said(connection, "capability", r"AUTH=PLAIN", r"IMAP4rev1")
        secret = base64.b64encode(f"\0{ACCOUNT}\0{PASSWORD}".encode())
        self.said(connection, "authenticate PLAIN", octets=secret + b"\r\n")
        has = self.said(connection, "capability")
        for name in (
            "IDLE NAMESPACE ID UIDPLUS QUOTA CONDSTORE ENABLE MOVE ESEARCH LIST-EXTENDED STATUS=SIZE".split()
        ):
            self.assertIn(f" {name}", has)
        self.said(connection, "COMPRESS DEFLATE")
        connection.compress()
        self.said(connection, 'ID ("name" "Thunderbird" "version" "128.5.0esr")', r'\* ID \("name" ')
        self.said(connection, "ENABLE CONDSTORE", r"\* ENABLED CONDSTORE")
        self.said(connection, "namespace", r'\* NAMESPACE \(\("" "/"\)\)')
