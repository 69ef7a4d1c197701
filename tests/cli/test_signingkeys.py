"""``moxmail dkim gen|list|records|rotate|state|rm`` and ``domain add``, on files, with a resolver of ours."""

from __future__ import annotations

import contextlib
import io
import json
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.cli import accounts, lookup, session, signingkeys
from moxtwisted.cli.main import main
from moxtwisted.config.edit import ConfigurationEditor
from moxtwisted.config.editsigning import SigningEdits
from moxtwisted.config.load import load
from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dkim.keys import new_private_key
from tests.config.test_load import DOMAINS, STATIC

PEM = {kind: new_private_key(kind) for kind in ("rsa", "ed25519")}
YEAR = time.gmtime().tm_year


class SigningKeyCommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.folder / "mox.conf").write_text(STATIC)
        (self.folder / "domains.conf").write_text(DOMAINS)
        self.resolver = ZoneResolver()
        self.patch(SigningEdits, "make_key", staticmethod(PEM.__getitem__))
        self.patch(lookup, "own_resolver", lambda arguments: self.resolver)
        for module in (session, accounts, signingkeys):
            self.patch(module, "call", self.call)

    def call(self, arguments: Any, operation: Any, *, running: bool = False) -> Any:
        """On the closed files, without a reactor."""
        editor = ConfigurationEditor(self.folder / "mox.conf")
        results: list[Any] = []
        ensureDeferred(operation(editor, None)).addBoth(results.append)
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    def moxmail(self, words: str, status: int = 0) -> str:
        """Run a command; what it prints."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.assertEqual(main(words.split()), status, out.getvalue() + err.getvalue())
        return out.getvalue() + err.getvalue()

    def states(self) -> list[str]:
        domain = load(self.folder / "mox.conf").domains.domains["example.org"]
        return [settings.state for settings in domain.dkim.values()]

    def test_way_of_a_key(self) -> None:
        """Keys are made, published, put into use when their records are there, retired and removed."""
        lines = self.moxmail("dkim gen example.org").splitlines()
        self.assertTrue(
            lines[0].startswith(f'{YEAR}a._domainkey.example.org. IN TXT "v=DKIM1;h=sha256;k=rsa;p=')
        )
        self.assertTrue(all(len(text) <= 255 for text in lines[0].split('"')[1::2]))
        self.assertIn("at once", lines[2])
        self.assertIn(
            "moxmail dkim rotate example.org", self.moxmail("dkim gen example.org --algorithm ed25519")
        )
        self.assertIn("no records found, one expected", self.moxmail("dkim rotate example.org", status=1))
        self.assertEqual(self.states(), ["active", "active", "standby"])
        rows = json.loads(self.moxmail("dkim list example.org --json"))
        name = (f"{YEAR}c._domainkey.example.org", "TXT")
        for found, problem in (
            (NoAnswerError(*name, "time-out"), "no answer from the DNS"),
            ([rows[0]["record"].encode()], "that of another key"),
            ([b"v=DKIM1; p=*"], "cannot be read"),
            ([rows[2]["record"].encode() + b";s=other"], "does not allow"),
            ([rows[2]["record"].encode()] * 2, "2 records found"),
        ):
            self.resolver.set(*name, found)
            self.assertIn(problem, self.moxmail("dkim rotate example.org", status=1))
        self.resolver.set(*name, [b" k=ed25519; p=" + rows[2]["record"].partition("p=")[2].encode()])
        out = self.moxmail("dkim rotate example.org")
        self.assertIn(f"{YEAR}c signs now", out)
        self.assertEqual(self.states(), ["active", "retired", "active"])
        records = self.moxmail("dkim records example.org")
        self.assertEqual(
            [line for line in records.splitlines() if line.startswith(";")], ["; active", "; retired"]
        )
        self.assertIn("its key is still in", self.moxmail(f"dkim rm example.org {YEAR}b --yes"))
        self.moxmail(f"dkim state example.org {YEAR}a retired")
        self.assertEqual(self.states(), ["retired", "active"])
        self.assertIn(f"{YEAR}a", self.moxmail("dkim list"))

    def test_unchecked(self) -> None:
        """The DNS is not asked by who does not want it; without keys in standby there is nothing to rotate."""
        self.moxmail("dkim gen example.org --standby")
        self.moxmail("dkim rotate example.org --unchecked")
        self.assertEqual(self.states(), ["active", "active"])
        self.assertEqual(self.resolver.asked, [])
        self.assertIn("no key in standby", self.moxmail("dkim rotate example.org", status=1))

    def test_domain_add(self) -> None:
        """A new domain gets two keys that sign, and their records are printed; or none, if nobody wants them."""
        out = self.moxmail("domain add example.net")
        self.assertIn(f"{YEAR}a._domainkey.example.net. IN TXT", out)
        self.assertEqual(out.count("v=DKIM1"), 2)
        self.assertIn("rua=mailto:dmarcreports@example.net!10m", out)
        out = self.moxmail("domain add b.example --no-dkim --no-reports")
        self.assertNotIn("signed", out)
        self.assertIn('_dmarc.b.example. IN TXT "v=DMARC1;p=reject"\n', out)
        self.assertNotIn("_smtp._tls.b.example", out)
        out = self.moxmail("domain reports b.example")
        self.assertIn("dmarc_reports: dmarcreports@b.example, for account", out)
        self.assertIn("_smtp._tls.b.example", out)
        domains = load(self.folder / "mox.conf").domains.domains
        self.assertEqual([s.state for s in domains["example.net"].dkim.values()], ["active"] * 2)
        self.assertEqual(domains["b.example"].dkim, {})
        self.assertIn("has no keys", self.moxmail("dkim records b.example", status=1))
