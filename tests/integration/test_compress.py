"""COMPRESS=DEFLATE over TLS with the standard library's client, whose octets pass through the standard library's zlib."""

from __future__ import annotations

import imaplib
import random
import ssl
import zlib

from .live import ACCOUNT, IMAPS, PASSWORD, LiveTestCase


class CompressedClient(imaplib.IMAP4_SSL):
    """imaplib, which has no COMPRESS, with a layer between it and TLS."""

    sent = received = 0

    def compress(self) -> None:
        """Begin."""
        status, answer = self._simple_command("COMPRESS", "DEFLATE")
        if status != "OK":
            raise self.error(answer)
        self._deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        self._inflate = zlib.decompressobj(-15)
        self._ready = b""
        self.send = self._send_compressed  # type: ignore[method-assign,assignment]
        self.read = self._read_compressed  # type: ignore[method-assign]
        self.readline = self._readline_compressed  # type: ignore[method-assign]

    def _send_compressed(self, data: bytes) -> None:
        octets = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self.sent += len(octets)
        self.sock.sendall(octets)

    def _fill(self) -> None:
        octets = self.sock.recv(65536)
        if not octets:
            raise self.abort("gone")
        self.received += len(octets)
        self._ready += self._inflate.decompress(octets)

    def _read_compressed(self, size: int) -> bytes:
        while len(self._ready) < size:
            self._fill()
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def _readline_compressed(self) -> bytes:
        while b"\n" not in self._ready:
            self._fill()
        return self._read_compressed(self._ready.index(b"\n") + 1)


imaplib.Commands["COMPRESS"] = ("AUTH", "SELECTED")


class CompressTests(LiveTestCase):
    def client(self) -> CompressedClient:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        made = CompressedClient(self.server.ip, IMAPS, ssl_context=context, timeout=30)
        self.addCleanup(made.sock.close)
        self.assertNotIn("COMPRESS=DEFLATE", made.capabilities)
        made.login(ACCOUNT, PASSWORD)
        made.compress()
        return made

    def test_both_ways(self) -> None:
        """Letters of all kinds go in and come out as they were, in fewer octets where that is possible."""
        client = self.client()
        client.create("compressed")
        dice = random.Random(4978)
        letters = [
            self.letter(b"the same line again and again\r\n" * 20_000),
            self.letter(dice.randbytes(400_000).hex().encode()),
            *(self.letter(b"Dear all,\r\n%d\r\n" % n) for n in range(200)),
        ]
        for letter in letters:
            self.assertEqual(client.append("compressed", "", "", letter)[0], "OK")
        self.assertEqual(client.select("compressed")[1], [b"%d" % len(letters)])
        plain = sum(map(len, letters))
        self.assertLess(client.sent, plain * 0.6)
        before = client.received
        status, parts = client.fetch("1:*", "(BODY.PEEK[])")
        self.assertEqual(status, "OK")
        self.assertEqual([part[1] for part in parts if isinstance(part, tuple)], letters)
        self.assertLess(client.received - before, plain * 0.6)
        status, _ = client.fetch("1:*", "(FLAGS UID ENVELOPE BODYSTRUCTURE)")
        self.assertEqual(status, "OK")

    def test_several(self) -> None:
        """Several clients take turns."""
        clients = [self.client() for _ in range(12)]
        for n in range(3):
            for client in clients:
                self.assertEqual(client.select("INBOX")[0], "OK", n)
        for client in clients:
            self.assertEqual(client.logout()[0], "BYE")
