"""Mail from strangers by way of receivers: the whole server, and real clients."""

from __future__ import annotations

import os
import signal
import ssl
import time
from pathlib import Path

from moxtwisted.server.certificates.selfsigned import self_signed
from tests.integration.peers import needs
from tests.integration.receivers import ReceiversCase, children, descriptors, fields, letter

__all__: list[str] = []


@needs("swaks")
class ReceiversTests(ReceiversCase):
    """One receiver."""

    def test_message(self) -> None:
        """A message by way of a receiver is kept with the same fields as without one, and its log line says who took it in; the receiver
        has nothing of the store, and no key."""
        key = (self.home / "store.key").read_text()
        self.edit("[receivers]", '[store]\nkey_environment = "MOX_KEY"\n\n[receivers]')
        os.environ["MOX_KEY"] = key
        self.addCleanup(os.environ.pop, "MOX_KEY")
        child = self.serve()
        self.swaks(letter("through"))
        self.assertEqual(self.took(), [1])
        pid = self.receiver()
        self.assertEqual(list(children(child.pid)), [pid])
        data = str(self.home / "data")
        self.assertEqual([name for name in descriptors(pid) if name.startswith(data)], [])
        for name in ("environ", "cmdline"):
            text = Path(f"/proc/{pid}/{name}").read_bytes()
            self.assertFalse(key.split()[-1].encode() in text, name)
        self.end(child)
        self.edit("processes = 1", "processes = 0")
        self.child = self.start()
        self.until(lambda: self.log.read_text().count("listening: imaps") == 2, "it does not listen")
        self.swaks(letter("without"))
        kept = self.kept()
        ours, theirs = fields(kept["through"][0]), fields(kept["without"][0])
        self.assertEqual(ours, theirs)
        self.assertEqual(
            {"Received", "Authentication-Results", "X-Moxtwisted-Reason"}
            - {line.partition(":")[0] for line in ours},
            set(),
        )

    def test_certificates(self) -> None:
        """A receiver does STARTTLS, and with a new certificate after SIGHUP."""
        child = self.serve()
        self.assertIn("TLS started with cipher TLSv1.3", self.swaks(letter("encrypted"), "--tls"))
        [kept] = self.kept()["encrypted"]
        self.assertIn(b"ESMTPS", kept)

        def shown() -> bytes:
            client, _ = self.client()
            client.smtp("EHLO out.sender.example")
            client.smtp("STARTTLS")
            return client.tls()

        first = shown()
        certificate, key = self_signed(["localhost"], now=time.time())
        (self.home / "tls" / "localhost.key").write_bytes(key)
        (self.home / "tls" / "localhost.crt").write_bytes(certificate)
        child.send_signal(signal.SIGHUP)
        self.until(lambda: shown() != first, "no new certificate")
        self.assertEqual(ssl.DER_cert_to_PEM_cert(shown()).split(), certificate.decode().split())
        # The owner did not serve them itself.
        self.assertEqual(self.took(), [1])


class TwoReceiversTests(ReceiversCase):
    processes = 2

    def test_both(self) -> None:
        """Of two receivers both get connections."""
        self.serve()
        busy = [self.begin() for _ in range(4)]
        for number, client in enumerate(busy):
            client.connection.sendall(letter(f"n{number}"))
            self.assertEqual(client.smtp(".")[:9], "250 2.6.0")
        self.assertEqual(len(self.kept()), 4)
        self.assertEqual(sorted(self.took()), [1, 1, 2, 2])
