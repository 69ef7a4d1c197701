"""``moxmail dns lookup``: what it prints of an answer, and whom it asks."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.cli import lookup
from moxtwisted.cli.arguments import build_parser
from moxtwisted.cli.main import main
from moxtwisted.dns.answers import Answer, BogusError, Security
from moxtwisted.dns.records import CAA, MX, NSEC, TLSA
from moxtwisted.dns.servers import ServerAddress


def found(*records: Any, **changes: Any) -> Answer:
    values = {
        "canonical_name": "example.org",
        "exists": True,
        "security": Security.SECURE,
        "ttl_seconds": 300,
    }
    return Answer("example.org", "MX", records, **{**values, **changes})


class LookupTests(SynchronousTestCase):
    def run_with(self, answer: Answer | Exception, *arguments: str) -> tuple[int, str, str]:
        """Run the command with a resolver that has this answer; its status and both outputs."""
        self.asked: list[tuple[str, str]] = []

        class Resolver:
            def lookup(_, name: str, rrtype: str) -> Any:
                self.asked.append((name, rrtype))
                if isinstance(answer, Exception):
                    raise answer
                return answer

        self.patch(lookup, "with_resolver", lambda _, work: work(Resolver()))
        output, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            status = main(["dns", "lookup", *arguments])
        return status, output.getvalue(), errors.getvalue()

    def test_records(self) -> None:
        """Records are sorted, behind the time that they hold and their state."""
        status, output, _ = self.run_with(
            found(MX(20, "b.example"), MX(10, "a.example")), "mx", "Example.org."
        )
        self.assertEqual(output, "example.org MX, 300 seconds, secure\n  10 a.example\n  20 b.example\n")
        self.assertEqual((status, self.asked), (0, [("example.org", "MX")]))

    def test_nothing(self) -> None:
        """A name that is not there and one without such records are told apart; the status is 1."""
        status, output, _ = self.run_with(found(exists=False), "MX", "example.org")
        self.assertIn("no such name", output)
        self.assertEqual(status, 1)
        self.assertIn("the name exists", self.run_with(found(), "MX", "example.org")[1])

    def test_kinds(self) -> None:
        """Octets are shown so that a terminal does nothing with them."""
        output = self.run_with(
            found(
                b'v=spf1 "\x1b[2J\xff',
                TLSA(3, 1, 1, b"\xab\xcd"),
                CAA(0, "issue", b"ca.example"),
                NSEC("b.example", frozenset({1, 46})),
                "192.0.2.1",
                canonical_name="c.example",
            ),
            "TXT",
            "example.org",
        )[1]
        for line in (
            '"v=spf1 \\"\\027[2J\\255"',
            "3 1 1 abcd",
            '0 issue "ca.example"',
            "b.example A RRSIG",
            "192.0.2.1",
            "is an alias of c.example",
        ):
            self.assertIn(f"  {line}\n", output)

    def test_json(self) -> None:
        """Programs get all of it."""
        answer = found(MX(10, "a.example"), TLSA(3, 1, 1, b"\xab"), b"text\xff")
        shown = json.loads(self.run_with(answer, "MX", "example.org", "--json")[1])
        self.assertEqual(shown["security"], "secure")
        self.assertEqual(
            shown["records"],
            [
                {"preference": 10, "exchange": "a.example"},
                {"usage": 3, "selector": 1, "matching_type": 1, "data": "ab"},
                "text\\xff",
            ],
        )

    def test_bogus(self) -> None:
        """What is not believed is said to be bogus, and why."""
        bogus = BogusError("example.org", "MX", "signature expired")
        status, _, errors = self.run_with(bogus, "MX", "example.org")
        self.assertEqual((status, errors), (1, "moxmail: example.org MX: bogus: signature expired\n"))
        shown = json.loads(self.run_with(bogus, "MX", "example.org", "--json")[1])
        self.assertEqual(shown["security"], "bogus")

    def test_address(self) -> None:
        """PTR of an address asks for its reverse name."""
        self.run_with(found(), "PTR", "192.0.2.1")
        self.assertEqual(self.asked, [("1.2.0.192.in-addr.arpa", "PTR")])

    def test_wrong_usage(self) -> None:
        """What is no type, no name or no address of a resolver is said so."""
        for arguments in (("NOSUCH", "example.org"), ("MX", "a..b"), ("PTR", "example.org")):
            status, _, errors = self.run_with(found(), *arguments)
            self.assertEqual((status, self.asked), (2, []))
            self.assertTrue(errors)

    def test_resolver(self) -> None:
        """--resolver names whom to ask; mox.conf that was named and is not there is an error."""
        parse = build_parser().parse_args
        settings = lookup.settings_for(parse(["dns", "lookup", "MX", "x", "--resolver", "127.0.0.1:5353"]))
        self.assertEqual(settings.servers, (ServerAddress("127.0.0.1", 5353),))
        errors = io.StringIO()
        with redirect_stderr(errors):
            self.assertEqual(main(["dns", "lookup", "MX", "x", "--resolver", "nonsense"]), 1)
            missing = str(Path(self.mktemp()))
            self.assertEqual(main(["dns", "lookup", "MX", "x", "-c", missing]), 78)
        self.assertIn("--resolver wants", errors.getvalue())
