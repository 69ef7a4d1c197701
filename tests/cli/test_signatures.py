"""``moxmail dkim`` and ``arc``, with files and a resolver of ours."""

from __future__ import annotations

import contextlib
import io
import json
import stat
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.cli import lookup
from moxtwisted.cli.main import main
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.arc import Chain, ChainStatus, seal
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.keys import SigningKey
from moxtwisted.mailauth.inflow import MessageHasher

MESSAGE = "From: a@example.org\nSubject: x\n\nHello\n"
NAME = ("2026a._domainkey.example.org", "TXT")


class SignatureCommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.resolver = ZoneResolver()
        self.patch(lookup, "with_resolver", self.with_resolver)

    def with_resolver(self, arguments: Any, work: Any) -> Any:
        """In place of the network."""
        return self.successResultOf(Deferred.fromCoroutine(work(self.resolver)))

    def moxmail(self, *words: str, status: int = 0) -> str:
        """Run a command; what it prints."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.assertEqual(main(list(words)), status, out.getvalue() + err.getvalue())
        return out.getvalue() + err.getvalue()

    def path(self, name: str, text: str | None = None) -> str:
        """A file in our folder."""
        if text is not None:
            (self.folder / name).write_text(text)
        return str(self.folder / name)

    def publish(self, key: str) -> str:
        """Put a key's record into the DNS."""
        record = "".join(self.moxmail("dkim", "txt", key).strip().strip('"').split('" "'))
        self.resolver.set(*NAME, [record.encode()])
        return record

    def test_from_key_to_verdict(self) -> None:
        """A key is made, its record printed, a message signed and verified; a changed one is refused, and why is said."""
        for kind in ("rsa", "ed25519"):
            with self.subTest(kind):
                key = self.path(f"{kind}.pem")
                self.moxmail("dkim", f"gen{kind}", key)
                self.assertEqual(stat.S_IMODE(Path(key).stat().st_mode), 0o600)
                self.assertIn("File exists", self.moxmail("dkim", f"gen{kind}", key, status=1))
                self.assertIn(f"k={kind};", self.publish(key))
                place = (
                    "--domain",
                    "example.org",
                    "--selector",
                    "2026a",
                    "--key",
                    key,
                    "--expires-hours",
                    "72",
                )
                field = self.moxmail("dkim", "sign", self.path("message", MESSAGE), *place)
                said = self.moxmail("dkim", "verify", self.path("signed", field + MESSAGE))
                self.assertIn(f"pass: example.org, selector 2026a, {kind}-sha256 with ", said)
                said = self.moxmail(
                    "dkim", "verify", self.path("changed", field + MESSAGE + "more\n"), status=1
                )
                self.assertIn(
                    "fail: example.org, selector 2026a, " + kind + "-sha256: body was changed", said
                )
                report = json.loads(self.moxmail("dkim", "verify", self.path("signed"), "--json"))
                self.assertEqual(report["signatures"][0]["verdict"], "pass")

    def test_lookup(self) -> None:
        """A record is shown with what it comes to; without a usable one the exit status is 1."""
        key = self.path("key.pem")
        self.moxmail("dkim", "gened25519", key)
        self.publish(key)
        self.assertIn("ed25519, 256 bits", self.moxmail("dkim", "lookup", "2026a", "example.org"))
        for record, text in (
            (b"v=DKIM1; p=", "revoked"),
            (b"v=spf1", "cannot be used"),
            (b"p=Zm9v", "cannot be used"),
        ):
            self.resolver.set(*NAME, [record])
            self.assertIn(text, self.moxmail("dkim", "lookup", "2026a", "example.org", status=1))
        self.assertIn("no records", self.moxmail("dkim", "lookup", "2026b", "example.org", status=1))

    def test_unsigned(self) -> None:
        """A message without a signature, or a chain, is said to have none."""
        message = self.path("message", MESSAGE)
        self.assertIn("none", self.moxmail("dkim", "verify", message, status=1))
        self.assertIn("none", self.moxmail("arc", "verify", message, status=1))
        self.assertIn("No such file", self.moxmail("dkim", "verify", self.path("nothing"), status=1))

    def test_standard_streams(self) -> None:
        """``-`` is standard input, or output."""
        pem = self.moxmail("dkim", "gened25519", "-")
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(pem.encode())))
        self.assertIn('"v=DKIM1;', self.moxmail("dkim", "txt", "-"))

    def test_chain(self) -> None:
        """A chain is shown set by set."""
        pem = self.moxmail("dkim", "gened25519", "-").encode()
        key = SigningKey.from_pem("example.org", "2026a", pem)
        self.resolver.set(*NAME, [key.record_text().encode()])
        hasher = MessageHasher(also=[BodyForm(Canonicalization.RELAXED)])
        hasher.feed(MESSAGE.replace("\n", "\r\n").encode())
        fields = seal(hasher.finish(), Chain(ChainStatus.NONE), b"mx.example.org; dmarc=pass", key, now=1)
        message = fields.decode().replace("\r\n", "\n") + MESSAGE
        said = self.moxmail("arc", "verify", self.path("sealed", message))
        self.assertIn("pass\n  1. example.org, cv=none: mx.example.org; dmarc=pass", said)
        said = self.moxmail("arc", "verify", self.path("changed", message + "more\n"), status=1)
        self.assertIn("fail: body was changed after the last seal at instance 1", said)
