"""Enemies: messages and zones that want us to work without end, to forget, to be fooled or to refuse others' mail.

Each goes the whole way, from SMTP into the store, with all checks. What is counted is questions and arithmetic, not seconds; what is
wrong with the DNS or with us is never a permanent refusal.
"""

from __future__ import annotations

import base64
import contextlib
import re
import sys
import tracemalloc
from types import FrameType
from typing import Any
from unittest.mock import patch

from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.dns.records import MX
from moxtwisted.mailauth.dkim.keys import PublicKey, SigningKey, new_private_key
from moxtwisted.mailauth.dkim.record import KeyRecord
from moxtwisted.mailauth.dkim.signature import Signature
from moxtwisted.mailauth.dkim.tags import TagListError
from moxtwisted.mailauth.inflow import MAX_SIGNATURES
from moxtwisted.message.headers import Header
from tests.server.verification.test_inbound import CheckedCase
from tests.server.verification.world import KEY, LETTER, SENDER, SlowResolver, signed

#: For a message: MX of the sender, two SPF evaluations with their limits, reverse names, ten keys, DMARC.
MAX_QUESTIONS = 1 + 2 * (1 + 10 + 10 * 10 + 2) + 21 + MAX_SIGNATURES + 6


class HostileCase(CheckedCase):
    def answer(self, message: bytes, sender: str = SENDER) -> str:
        """What the client hears at the end, or where it is turned away."""
        self.world.zones.asked.clear()
        line = self.house.inbound()
        answer = line.say(f"MAIL FROM:<{sender}>")
        if answer.startswith("250"):
            answer = line.say("RCPT TO:<alice@example.org>")
        if answer.startswith("250"):
            answer = line.send(message)
        for _ in range(8):
            if answer:
                break
            # Something waits for the DNS.
            self.house.clock.advance(10)
            answer = line.heard()
        line.drop()
        return answer

    def results(self) -> str:
        """Authentication-Results of the last message that came in."""
        header = Header.parse(self.house.messages("alice")[-1].partition(b"\r\n\r\n")[0] + b"\r\n")
        return header.unfolded(b"authentication-results").decode()


class ZoneTests(HostileCase):
    """What a sender can publish."""

    def taken(self, verdict: str, questions: int = MAX_QUESTIONS, message: bytes = LETTER) -> None:
        """The message comes in with this result of SPF, after no more questions."""
        answer = self.answer(message)
        self.assertTrue(answer.startswith("250 2."), answer)
        self.assertIn(f"spf={verdict}", self.results())
        self.assertLessEqual(self.world.zones.lookups, questions)

    def test_include_bomb(self) -> None:
        """Records that include ten others each, ten levels deep, end after ten terms, for MAIL FROM and for EHLO."""
        zones = self.world.zones
        names = ["sender.example", "out.sender.example"]
        for level in range(10):
            below = [f"i{n}.l{level}.sender.example" for n in range(10)]
            record = "v=spf1 " + " ".join(f"include:{name}" for name in below) + " -all"
            for name in names:
                zones.set(name, "TXT", [record.encode()])
            names = below
        # Two records with ten terms each, and all else.
        self.taken("permerror", 2 * 11 + 8)

    def test_loops(self) -> None:
        """Includes and redirections that go round end after ten terms."""
        for record in (
            b"v=spf1 include:sender.example -all",
            b"v=spf1 redirect=sender.example",
            b"v=spf1 include:a.sender.example redirect=a.sender.example",
        ):
            self.world.zones.set("sender.example", "TXT", [record])
            self.world.zones.set("a.sender.example", "TXT", [b"v=spf1 redirect=sender.example"])
            self.taken("permerror", 11 + 12)

    def test_many_hosts(self) -> None:
        """An mx with a thousand hosts is an error; of a client with a thousand names ten are looked at."""
        zones = self.world.zones
        zones.set("sender.example", "MX", [MX(n, f"h{n}.sender.example") for n in range(1000)])
        zones.set("sender.example", "TXT", [b"v=spf1 mx -all"])
        self.taken("permerror", 20)
        names = [f"n{n}.sender.example" for n in range(1000)]
        zones.set("7.100.51.198.in-addr.arpa", "PTR", names)
        zones.set("sender.example", "TXT", [b"v=spf1 " + b"ptr " * 9 + b"?all"])
        self.taken("neutral", 60)

    def test_void_lookups(self) -> None:
        """A record that makes us ask for names of others that are not there is given up after the second."""
        terms = " ".join(f"exists:%{{l}}.x{n}.victim.example" for n in range(10))
        self.world.zones.set("sender.example", "TXT", [f"v=spf1 {terms} -all".encode()])
        self.taken("permerror")
        victims = [name for name, _ in self.world.zones.asked if name.endswith("victim.example")]
        self.assertEqual(len(victims), 3)

    def test_long_records(self) -> None:
        """A record of 64 KB is read, and costs no more questions than its first ten terms."""
        for filler in (b"ip4:192.0.2.1 ", b"a ", b"x=y ", b"%{d}%{d}=1 ", b"exists:%{s}%{s}%{s}%{s} "):
            record = b"v=spf1 " + filler * (65000 // len(filler)) + b"-all"
            self.world.zones.set("sender.example", "TXT", [record])
            with self.subTest(filler):
                answer = self.answer(LETTER)
                self.assertTrue(answer.startswith("250 2."), answer)
                self.assertLessEqual(self.world.zones.lookups, 40)

    def test_many_records(self) -> None:
        """A thousand TXT records beside one of SPF change nothing; two of SPF are an error."""
        records = [b"x" * 200] * 1000
        self.world.zones.set("sender.example", "TXT", [*records, b"v=spf1 +all"])
        self.taken("pass")
        self.world.zones.set("sender.example", "TXT", [*records, b"v=spf1 +all", b"v=spf1 -all"])
        self.taken("permerror")
        self.world.zones.set("_dmarc.sender.example", "TXT", [b"v=DMARC1; p=reject"] * 1000)
        self.taken("permerror")

    def test_alias_loop(self) -> None:
        """Aliases that go round are trouble for now: of SPF, of the key, of the policy."""
        zones = self.world.zones
        for name in ("sender.example", KEY.name, "_dmarc.sender.example"):
            zones.remove(name, "TXT")
            zones.set(name, "CNAME", [f"a.{name}"])
            zones.set(f"a.{name}", "CNAME", [name])
        zones.set("sender.example", "MX", [MX(10, "out.sender.example")])
        answer = self.answer(signed(LETTER))
        self.assertTrue(answer.startswith("250 2."), answer)
        for method in ("spf", "dkim", "dmarc"):
            self.assertIn(f"{method}=temperror", self.results())


class NoAnswerTests(HostileCase):
    """A DNS that does not help."""

    def test_errors(self) -> None:
        """When every question fails at once, the client is to come again, or its mail is taken: never refused for good."""
        for name, rrtype in [*self.world.zones._records, ("sender.example", "A")]:
            self.world.zones.set(name, rrtype, NoAnswerError(name, rrtype, "SERVFAIL"))
        self.assertTrue(self.answer(signed(LETTER)).startswith("451 4.4.3"), "sender cannot be looked up")
        self.world.zones.set("sender.example", "MX", [MX(10, "out.sender.example")])
        answer = self.answer(signed(LETTER))
        self.assertTrue(answer.startswith("250 2."), answer)
        for result in ("iprev=temperror", "spf=temperror", "dkim=temperror", "dmarc=temperror"):
            self.assertIn(result, self.results())

    def test_silence(self) -> None:
        """When no question is ever answered, the same, within the time for all."""
        names = {name for name, _ in self.world.zones._records}
        self.world.resolver = SlowResolver(
            self.world.zones, *(names - {"sender.example"}), "_dmarc.sender.example"
        )
        before = self.house.clock.seconds()
        answer = self.answer(signed(LETTER))
        self.assertTrue(answer.startswith("250 2."), answer)
        self.assertLessEqual(self.house.clock.seconds() - before, 40)
        for result in ("iprev=temperror", "dkim=temperror", "dmarc=temperror"):
            self.assertIn(result, self.results())

    def test_our_trouble(self) -> None:
        """Whatever fails in our own code, the message is not refused for good, and the failure is logged."""
        for place in (
            "moxtwisted.mailauth.dkim.verify.header_octets",
            "moxtwisted.mailauth.spf.evaluation.Evaluator._check",
            "moxtwisted.server.verification.verifier.find_author",
            "moxtwisted.server.verification.verifier.trace_fields",
        ):
            with self.subTest(place), patch(place, side_effect=RuntimeError(place)):
                answer = self.answer(signed(LETTER))
            self.assertNotRegex(answer, "^5", place)
            self.assertNotEqual(answer, "", place)
            self.flushLoggedErrors(RuntimeError)


class KeyTests(HostileCase):
    """Signatures and keys."""

    def signatures(self, number: int, domain: str = "d%d.example") -> bytes:
        """Signatures of many domains, well made but for their value."""
        template = signed(LETTER)[: -len(LETTER)]
        return b"".join(
            template.replace(b"d=sender.example", b"d=" + (domain % n).encode()) for n in range(number)
        )

    def test_many_signatures(self) -> None:
        """Of five hundred signatures of other domains ten keys are asked for, and nothing else is computed."""
        for number in (20, 500):
            answer = self.answer(self.signatures(number) + LETTER)
            self.assertTrue(answer.startswith("250 2."), answer)
            keys = [name for name, _ in self.world.zones.asked if "_domainkey" in name]
            self.assertEqual(len(set(keys)), MAX_SIGNATURES)
            self.assertEqual(self.results().count("dkim="), MAX_SIGNATURES)

    def test_ten_thousand_signatures(self) -> None:
        """A header of ten thousand fields is refused before anything is asked about them."""
        answer = self.answer(b"DKIM-Signature: v=1; d=a.example\r\n" * 10_000 + LETTER)
        self.assertTrue(answer.startswith("552 5.3.4"), answer)
        self.assertEqual([name for name, _ in self.world.zones.asked if "_domainkey" in name], [])

    def test_huge_keys(self) -> None:
        """With RSA keys of more than 8192 bits, or with a long exponent, nothing is computed."""
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        for bits, exponent, computed in ((8192, 65537, 1), (16384, 65537, 0), (4096, (1 << 4000) + 1, 0)):
            modulus = (1 << bits) - 1
            public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
            octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            record = b"v=DKIM1; p=" + base64.b64encode(octets)
            self.world.zones.set(KEY.name, "TXT", [record])
            message = signed(LETTER, SigningKey.from_pem("sender.example", "s", new_private_key("rsa")))
            calls: list[int] = []

            def counting(key: PublicKey, *arguments: Any, calls: list[int] = calls) -> bool:
                calls.append(key.bits)
                return False

            with self.subTest(bits), patch.object(PublicKey, "verify", counting):
                answer = self.answer(message)
            self.assertTrue(answer.startswith("250 2."), answer)
            self.assertEqual(len(calls), computed)
            self.assertNotIn("dkim=pass", self.results())

    def test_long_records(self) -> None:
        """Key records of 64 KB are read in time that grows with them and no faster, or refused by their first octets."""
        public = base64.b64encode(KEY.public_octets())
        for filler in (b"x%d=y; ", b"n=%d", b" \t%d", b"t=y:%d; ", b"%d:"):
            steps = [
                _steps(
                    _read_record,
                    b"k=ed25519; p=" + public + b"; " + b"".join(filler % n for n in range(count)),
                )
                for count in (2000, 4000)
            ]
            self.assertLess(steps[1], 2.2 * steps[0] + 200, filler)
        for size, result in ((10_000, "pass"), (65_000, "permerror")):
            record = b"v=DKIM1; k=ed25519; n=" + b"x" * size + b"; p=" + public
            self.world.zones.set(KEY.name, "TXT", [record])
            self.assertTrue(self.answer(signed(LETTER)).startswith("250 2."))
            self.assertIn(f"dkim={result}", self.results())

    def test_many_key_records(self) -> None:
        """Of a thousand keys under one name three are tried."""
        other = SigningKey.from_pem("sender.example", "s", new_private_key("ed25519")).record_text().encode()
        self.world.zones.set(KEY.name, "TXT", [other + b"; n=%d" % n for n in range(1000)])
        calls: list[int] = []
        with patch.object(PublicKey, "verify", lambda key, *arguments: calls.append(key.bits)):
            self.answer(signed(LETTER))
        self.assertEqual(len(calls), 3)

    def test_signature_fields(self) -> None:
        """Signatures with thousands of tags, names or folds are read in time that grows with them and no faster."""
        for filler in (b"x%d=y; ", b"\r\n\t%d", b"h=from:%d; ", b";%d", b"=%d"):
            steps = [
                _steps(
                    _read_signature,
                    b"DKIM-Signature: v=1; a=rsa-sha256; "
                    + b"".join(filler % n for n in range(count))
                    + b"\r\n",
                )
                for count in (2000, 4000)
            ]
            self.assertLess(steps[1], 2.2 * steps[0] + 200, filler)


def _read_record(octets: bytes) -> None:
    with contextlib.suppress(TagListError):
        KeyRecord.parse(octets)


def _read_signature(octets: bytes) -> None:
    with contextlib.suppress(TagListError):
        Signature.parse(octets)


def _steps(function: Any, octets: bytes) -> int:
    """Lines of Python and calls that a function takes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(octets)
    finally:
        sys.settrace(before)
    return count


class HeaderTests(HostileCase):
    """Headers that may look different to different programs."""

    def shown(self) -> bytes:
        """The From that clients are shown."""
        header = self.house.messages("alice")[-1].partition(b"\r\n\r\n")[0]
        return b" ".join(re.findall(rb"(?im)^from[ \t]*:((?:.*\r\n[ \t])*.*)\r?$", header))

    def test_one_author(self) -> None:
        """Who is judged is who is shown, however From is folded, doubled or hidden."""
        author = b"From: A <a@sender.example>\r\n"
        for before, after in (
            (b"From:\r\n \r\n\t<a@sender.example>\r\n", b""),
            (b"From : a@sender.example\r\n", b""),
            (b"FROM:a@sender.example\r\n", b""),
            (b"From:" + b"\r\n " * 5000 + b"a@sender.example\r\n", b""),
            (b"From: " + b"(" * 50 + b")" * 50 + b" a@sender.example\r\n", b""),
            (b"X-A: b\r\n From: b@bank.example\r\n" + author, b""),
            (b"Subject: x\r\n\tFrom: b@bank.example\r\n" + author, b""),
        ):
            message = before + b"Subject: hello\r\n\r\nIt works.\r\n" + after
            with self.subTest(before[:40]):
                answer = self.answer(message)
                self.assertTrue(answer.startswith("250 2."), answer)
                self.assertIn("dmarc=pass (p=reject) header.from=sender.example", self.results())

    def test_several_authors(self) -> None:
        """With two From fields, none, or several domains in one, nobody is the author: nothing passes for anybody."""
        for header in (
            b"From: a@sender.example\r\nFrom: b@bank.example\r\n",
            b"From: b@bank.example\r\nFrom: a@sender.example\r\n",
            b"From: a@sender.example, b@bank.example\r\n",
            b"From: b@bank.example <a@sender.example>, c@bank.example\r\n",
            b"From: nobody\r\n",
            b"",
        ):
            with self.subTest(header):
                answer = self.answer(
                    signed(header + b"Subject: x\r\n\r\nIt works.\r\n")
                    if b"From" in header
                    else header + b"\r\nx\r\n"
                )
                self.assertNotEqual(answer, "")
                if answer.startswith("250"):
                    self.assertNotIn("dmarc=pass", self.results())

    def test_added_field(self) -> None:
        """A From that was put above a signed one is not covered by its signature: the message has two authors, so none."""
        message = signed(LETTER)
        forged = b"From: b@bank.example\r\n" + message
        answer = self.answer(forged)
        if answer.startswith("250"):
            self.assertNotIn("dkim=pass", self.results())
            self.assertNotIn("dmarc=pass", self.results())

    def test_header_octets(self) -> None:
        """A header of more than a megabyte is refused when it is too long, not when it ends."""
        line = self.house.inbound()
        line.begin(SENDER, "alice@example.org")
        line.say("DATA")
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(40):
            line.protocol.dataReceived(b"X-A: " + b"b" * 60 + b"\r\n" + b"X: " + b"y" * 100_000 + b"\r\n")
        _, peak = tracemalloc.get_traced_memory()
        self.assertLess(peak, 8 * 2**20)
        self.assertTrue(line.say(".").startswith("552 5.3.4"))


class LargeTests(HostileCase):
    def test_hundred_megabytes(self) -> None:
        """100 MB with l=0 and nine other lengths go through without being held, and the signatures prove nothing."""
        self.world.zones.set("sender.example", "TXT", [b"v=spf1 ?all"])
        one = signed(LETTER)[: -len(LETTER)]
        header = b"".join(one.replace(b" bh=", b" l=%d; bh=" % (10**n)) for n in range(9)) + one.replace(
            b" bh=", b" l=0; bh="
        )
        line = self.house.inbound()
        line.begin(SENDER, "alice@example.org")
        self.assertIn("354", line.say("DATA"))
        line.protocol.dataReceived(header + LETTER)
        piece = (b"x" * 74 + b"  \t\r\n") * 1000
        written: list[int] = []
        with patch(
            "moxtwisted.store.staging.Staging.write", lambda staging, octets: written.append(len(octets))
        ):
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            for _ in range(100 * 2**20 // len(piece)):
                line.protocol.dataReceived(piece)
            _, peak = tracemalloc.get_traced_memory()
        self.assertLess(peak, 4 * 2**20)
        self.assertGreater(sum(written), 99 * 2**20)
        self.assertTrue(line.say(".").startswith("250 2."))
        self.assertNotIn("dkim=pass", self.results())
