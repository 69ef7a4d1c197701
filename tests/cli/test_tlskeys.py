"""Keys of TLS clients: the commands, and what a client that has such a key is greeted with."""

from __future__ import annotations

import imaplib
import json
import ssl
import stat

from tests.cli.test_live import IP, LiveTestCase


class TLSKeyTests(LiveTestCase):
    def connect(self, stem: str) -> imaplib.IMAP4_SSL:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(str(self.directory / f"{stem}.key-certificate.pem"))
        client = imaplib.IMAP4_SSL(IP, 1993, ssl_context=context, timeout=20)
        self.addCleanup(client.shutdown)
        return client

    def test_a_key_logs_in(self) -> None:
        """A key is made, added, greeted with PREAUTH or taken by EXTERNAL, and removed; unknown keys are nobody's."""
        self.serve()
        for stem in ("laptop", "phone", "other"):
            self.moxmail("config", "tlspubkey", "gen", str(self.directory / stem))
        self.assertEqual(stat.S_IMODE((self.directory / "laptop.key.pem").stat().st_mode), 0o600)
        self.assertIn(
            "File exists", self.moxmail("config", "tlspubkey", "gen", str(self.directory / "phone"), status=1)
        )
        certificate = str(self.directory / "laptop.certificate.pem")
        add = ("config", "tlspubkey", "add", "mox@localhost")
        fingerprint = self.moxmail(*add, certificate, "--name", "my laptop").split()[0]
        self.assertIn("there already", self.moxmail(*add, certificate, status=1))
        self.moxmail(*add, str(self.directory / "phone.certificate.pem"), "--no-imap-preauth")
        rows = json.loads(self.moxmail("config", "tlspubkey", "list", "mox", "--json"))
        self.assertEqual([row["imap_preauth"] for row in rows], [True, False])
        self.assertIn("my laptop", self.moxmail("config", "tlspubkey", "get", fingerprint.upper()))

        client = self.connect("laptop")
        self.assertTrue(client.welcome.startswith(b"* PREAUTH [CAPABILITY "), client.welcome)
        self.assertIn(b"mox@localhost", client.welcome)
        self.assertEqual(client.select("INBOX")[0], "OK")

        client = self.connect("phone")
        self.assertTrue(client.welcome.startswith(b"* OK "), client.welcome)
        self.assertIn("AUTH=EXTERNAL", client.capabilities)
        self.assertEqual(client.authenticate("EXTERNAL", lambda _: b"")[0], "OK")

        client = self.connect("other")
        self.assertTrue(client.welcome.startswith(b"* OK "), client.welcome)
        self.assertRaises(imaplib.IMAP4.error, client.authenticate, "EXTERNAL", lambda _: b"")

        self.moxmail("config", "tlspubkey", "rm", fingerprint)
        self.assertTrue(self.connect("laptop").welcome.startswith(b"* OK "))
        self.assertIn(
            "no account has the key", self.moxmail("config", "tlspubkey", "rm", fingerprint, status=1)
        )

    def test_what_is_no_certificate(self) -> None:
        """Files that are not there, or hold no certificate, are a sentence."""
        self.moxmail("localserve", "--dir", str(self.home), "--init-only")
        (self.directory / "x").write_text("nothing")
        add = ("config", "tlspubkey", "add", "mox@localhost")
        self.assertIn("no certificate", self.moxmail(*add, str(self.directory / "x"), status=1))
        self.assertIn("No such file", self.moxmail(*add, str(self.directory / "y"), status=1))
        self.assertIn("no fingerprint", self.moxmail("config", "tlspubkey", "rm", "abc", status=1))
