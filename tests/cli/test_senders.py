"""``moxmail spf``, ``dmarc``, ``dnsbl`` and ``iprev``: what they print, and their exit status."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.cli import lookup
from moxtwisted.cli.main import main
from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.dns.testing import ZoneResolver

ZONE: dict[tuple[str, str], Any] = {
    ("example.com", "TXT"): [b"v=spf1 ip4:192.0.2.0/24 -all exp=why.example.com", b"other"],
    ("why.example.com", "TXT"): [b"no\x1b %{i}"],
    ("slow.example", "TXT"): NoAnswerError("slow.example", "TXT", "time-out"),
    ("b.example", "TXT"): [b"v=spf1 ip4:192.0.2 -all"],
    ("_dmarc.example.com", "TXT"): [
        b"v=DMARC1; p=reject; pct=x; rua=mailto:a@example.com,mailto:a@x.example"
    ],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["c.example.com"],
    ("c.example.com", "A"): ["192.0.2.1"],
    ("2.0.0.127.bl.example", "A"): ["127.0.0.2"],
    ("1.2.0.192.bl.example", "A"): ["127.0.0.2"],
    ("1.2.0.192.bl.example", "TXT"): [b"spam"],
}


class SenderTests(SynchronousTestCase):
    def run_with(self, *arguments: str, message: bytes = b"") -> tuple[int, str, str]:
        """Run a command over the zone; its status and both outputs."""

        def with_resolver(parsed: object, work: Any) -> Any:
            coroutine = work(ZoneResolver(ZONE))
            try:
                coroutine.send(None)
            except StopIteration as e:
                return e.value
            raise RuntimeError("the coroutine waits")

        self.patch(lookup, "with_resolver", with_resolver)
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(message)))
        output, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            status = main(arguments)
        return status, output.getvalue(), errors.getvalue()

    def test_spf_check(self) -> None:
        """The command ``spf check`` prints the verdict, the term and the records; the status is 0 for pass alone."""
        status, output, _ = self.run_with("spf", "check", "example.com", "192.0.2.1")
        self.assertEqual(status, 0)
        self.assertEqual(
            output,
            "pass: ip4:192.0.2.0/24\n  example.com: v=spf1 ip4:192.0.2.0/24 -all exp=why.example.com\n",
        )
        status, output, _ = self.run_with("spf", "check", "joe@example.com", "198.51.100.1", "--json")
        report = json.loads(output)
        self.assertEqual((status, report["verdict"], report["mechanism"]), (1, "fail", "all"))
        self.assertEqual(
            self.run_with("spf", "check", "nothing.example", "192.0.2.1")[1], "none: no record\n"
        )
        first, second = self.run_with("spf", "check", "slow.example", "192.0.2.1")[1].splitlines()
        self.assertRegex(first, "^temperror: .*time-out")
        self.assertEqual(second, "  slow.example: no answer")

    def test_spf_records(self) -> None:
        """The command ``spf parse`` takes a record apart, ``spf lookup`` the one of a domain; errors say where they are."""
        self.assertEqual(
            self.run_with("spf", "parse", "v=spf1 a -all x=%{l}"), (0, "+ a\n- all\nx=%{l}\n", "")
        )
        status, output, errors = self.run_with("spf", "parse", "v=spf1 moo")
        self.assertEqual(
            (status, output, errors), (1, "", "moxmail: 'moo' at character 8: an unknown mechanism\n")
        )
        status, output, _ = self.run_with("spf", "lookup", "example.com")
        self.assertEqual(status, 0)
        self.assertTrue(
            output.startswith("v=spf1 ip4:192.0.2.0/24 -all exp=why.example.com\n+ ip4:192.0.2.0/24\n")
        )
        self.assertEqual(self.run_with("spf", "lookup", "b.example")[0], 1)
        self.assertIn("has no SPF records", self.run_with("spf", "lookup", "c.example")[2])

    def test_dmarc_lookup(self) -> None:
        """The command ``dmarc lookup`` prints the record that holds, and what in it is ignored."""
        status, output, _ = self.run_with("dmarc", "lookup", "news.example.com")
        self.assertEqual(status, 0)
        self.assertIn("_dmarc.example.com, insecure: v=DMARC1; p=reject", output)
        self.assertIn("  pct= has a value", output)
        status, output, _ = self.run_with("dmarc", "lookup", "example.net", "--tree-walk", "--json")
        self.assertEqual((status, json.loads(output)["record"]), (1, ""))

    def test_dmarc_verify(self) -> None:
        """The command ``dmarc verify`` judges a message by its sender, its signatures and its From."""
        message = b"From: joe@example.com\nSubject: x\n\ntext\n"
        arguments = ("dmarc", "verify", "192.0.2.1", "joe@example.com", "c.example.com")
        status, output, _ = self.run_with(*arguments, message=message)
        self.assertEqual(status, 0)
        self.assertIn("pass: SPF passed for example.com, which is aligned\n  spf pass", output)
        status, output, _ = self.run_with(
            "dmarc", "verify", "198.51.100.1", "", "c.example.com", message=message
        )
        self.assertEqual(status, 1)
        self.assertIn(
            "fail: neither SPF nor DKIM passed; the policy of example.com is reject\n  to be done: reject",
            output,
        )
        self.assertIn("no From fields", self.run_with(*arguments, message=b"Subject: x\n\n")[2])

    def test_dmarc_checkreportaddrs(self) -> None:
        """The command ``dmarc checkreportaddrs`` says who may be sent reports."""
        status, output, _ = self.run_with("dmarc", "checkreportaddrs", "example.com")
        self.assertEqual(status, 1)
        self.assertIn("rua mailto:a@example.com: allowed, the domain's own\n", output)
        self.assertIn("rua mailto:a@x.example: not allowed, no DMARC record at", output)
        self.assertEqual(self.run_with("dmarc", "checkreportaddrs", "x.example")[0], 1)

    def test_dnsbl(self) -> None:
        """The command ``dnsbl`` asks one list, or looks at its health."""
        self.assertEqual(
            self.run_with("dnsbl", "check", "bl.example", "192.0.2.1"),
            (1, "bl.example lists 192.0.2.1: 127.0.0.2 spam\n", ""),
        )
        self.assertEqual(self.run_with("dnsbl", "check", "bl.example", "192.0.2.2")[0], 0)
        self.assertEqual(
            self.run_with("dnsbl", "checkhealth", "bl.example"), (0, "bl.example: can be used\n", "")
        )
        self.assertEqual(self.run_with("dnsbl", "checkhealth", "no.example")[0], 1)

    def test_iprev(self) -> None:
        """The command ``iprev`` prints the name that leads back."""
        self.assertEqual(self.run_with("iprev", "192.0.2.1"), (0, "pass: c.example.com\n", ""))
        self.assertEqual(self.run_with("iprev", "192.0.2.2"), (1, "permerror: 192.0.2.2 has no name\n", ""))
        self.assertIn("not an IP address", self.run_with("iprev", "example")[2])

    def test_what_a_terminal_would_act_on(self) -> None:
        """Control characters of strangers are not printed."""
        output = self.run_with("spf", "check", "example.com", "198.51.100.1")[1]
        self.assertNotIn("\x1b", output)
