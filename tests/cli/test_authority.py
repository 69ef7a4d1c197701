"""A real server that asks a Nauthilus: what it offers, who gets in."""

from __future__ import annotations

import imaplib
import json
import smtplib
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.cli.test_live import IP, LiveTestCase
from tests.server.nauthilus import answer

USER, LOCAL, THEIRS = "mox@localhost", "moxmoxmox", "their own secret"
IMAPS, SUBMISSIONS = 1993, 1465


class _Handler(BaseHTTPRequestHandler):
    server: Any
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer as a Nauthilus."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.questions.append(json.loads(body))
        kind = self.headers["Content-Type"]
        code, headers, text = answer({USER: THEIRS}, self.headers.get("Authorization", ""), kind, body)
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: Any) -> None:
        """Be quiet."""


class AuthorityTests(LiveTestCase):
    def test_instead(self) -> None:
        """Only mechanisms that show the password are offered; the authority's password counts, the local one does not."""
        nauthilus: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        nauthilus.questions = []
        nauthilus.daemon_threads = True
        threading.Thread(target=nauthilus.serve_forever, daemon=True).start()
        self.addCleanup(nauthilus.server_close)
        self.addCleanup(nauthilus.shutdown)
        self.moxmail("localserve", "--dir", str(self.home), "--ip", IP, "--init-only")
        (self.home / "authority").write_text("moxmail:s3cret\n")
        table = (
            f'\n[authentication.authority]\nurl = "http://127.0.0.1:{nauthilus.server_port}"\n'
            'credentials_file = "authority"\n'
        )
        with (self.home / "mox.conf").open("a") as file:
            file.write(table)
        self.moxmail("config", "test")
        child = self.start("-m", "moxtwisted.cli", "serve", "-c", str(self.home / "mox.conf"))
        self.greeting(1143, child)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        with smtplib.SMTP_SSL(IP, SUBMISSIONS, context=context, timeout=20) as smtp:
            smtp.ehlo()
            self.assertEqual(smtp.esmtp_features["auth"].split(), ["PLAIN", "LOGIN"])
            self.assertRaises(smtplib.SMTPAuthenticationError, smtp.login, USER, LOCAL)
            smtp.login(USER, THEIRS)
        imap = imaplib.IMAP4_SSL(IP, IMAPS, ssl_context=context, timeout=20)
        mechanisms = [word for word in imap.capabilities if word.startswith("AUTH=")]
        self.assertEqual(mechanisms, ["AUTH=PLAIN"])
        imap.login(USER, THEIRS)
        imap.logout()
        self.assertEqual([q["protocol"] for q in nauthilus.questions], ["smtp", "smtp", "imap"])
        self.assertEqual({q["client_ip"] for q in nauthilus.questions}, {nauthilus.questions[0]["client_ip"]})
        self.assertEqual(nauthilus.questions[0]["ssl_protocol"], "TLSv1.3")
        output = self.end(child)
        self.assertIn("login badcreds for mox@localhost", output)
        self.assertNotIn(THEIRS, output)

    def test_configuration(self) -> None:
        """What is wrong with the table is said before the start."""
        self.moxmail("localserve", "--dir", str(self.home), "--ip", IP, "--init-only")
        path = self.home / "mox.conf"
        good = path.read_text()
        (self.home / "empty").write_text("\n")
        for lines, said in (
            ('url = "http://nauthilus.example:9080"', "https:// expected: passwords go there"),
            ('url = "https://n.example/api"', "https://host:port expected"),
            ('url = "https://me:secret@n.example"', "it belongs into credentials_file"),
            ('url = "ftp://n.example"', "url"),
            ('url = "https://n.example"\ncredentials_file = "missing"', "missing: cannot be read"),
            ('url = "https://n.example"\ncredentials_file = "empty"', "name:password or a token"),
            ('url = "https://n.example"\nca_file = "empty"', "certificates in PEM"),
        ):
            path.write_text(f"{good}\n[authentication.authority]\n{lines}\n")
            self.assertIn(said, self.moxmail("config", "test", status=78))
