"""Fields that only we may write, and those that we write, whatever strangers say."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.authres import parse_results
from moxtwisted.message.headers import Header
from moxtwisted.server.verification.fields import cleaned
from tests.fuzz.fuzz_arrival import one
from tests.server.verification.test_verifier import VerifierCase

NAMES = frozenset({"mx.example.org"})
PIECES = (
    b"Authentication-Results", b"AUTHENTICATION-RESULTS ", b"X-Moxtwisted-Reason", b"X-Spam", b"From", b":", b": ", b" mx.example.org",
    b"\tMX.example.org/1", b"; none", b'"mx.example.org"', b"(comment)", b"(", b"\r\n", b"\r\n ", b"\r\n\r\n", b"\n", b"\r", b"x",
    b"other.example;",
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=a.example; s=s; h=from; bh=AAAA; b=AAAA\r\n",
)  # fmt: skip


class CleanedTests(SynchronousTestCase):
    def left(self, *fields: bytes) -> bytes:
        """What stays of a header."""
        return cleaned(Header.parse(b"".join(field + b"\r\n" for field in fields)), NAMES)

    def test_ours(self) -> None:
        """A field that names us goes, however the name is written."""
        for value in (
            b"mx.example.org; none", b" MX.EXAMPLE.ORG 1; none", b'"mx.example.org"; none', b"(hi) mx.example.org; none",
            b"\r\n mx.example.org\r\n ;dkim=pass", b"mx.example.org.; none", b"mx.example.org/1; none",
        ):  # fmt: skip
            self.assertEqual(self.left(b"Authentication-Results:" + value, b"A: b"), b"A: b\r\n", value)

    def test_others(self) -> None:
        """A field that names somebody else stays; the header is the same object then."""
        for value in (
            b"mail.example.org; none",
            b"mx.example.orgs; none",
            b"mx.example.net (mx.example.org); none",
        ):
            header = Header.parse(b"Authentication-Results: " + value + b"\r\n")
            self.assertIs(cleaned(header, NAMES), header.octets)

    def test_our_judgement(self) -> None:
        """All fields of our judgement go, in any case."""
        self.assertEqual(
            self.left(b"x-moxtwisted-REASON: no-bad-signals", b"X-Moxtwisted-Anything:", b"A: b"), b"A: b\r\n"
        )

    def test_scanners(self) -> None:
        """Fields that begin as those of scanners go, in any case, with their folds; others that only look alike stay."""
        fields = (
            b"A: b",
            b"X-Spam: no",
            b"x-spamd-Result: default\r\n\t[0.0]",
            b"X-RSPAMD-Score: 0",
            b"Not-X-Spam: x",
        )
        header = Header.parse(b"".join(field + b"\r\n" for field in fields))
        self.assertEqual(cleaned(header, NAMES, (b"x-spam", b"x-rspamd-")), b"A: b\r\nNot-X-Spam: x\r\n")
        self.assertIs(cleaned(header, NAMES), header.octets)

    @settings(max_examples=200)
    @given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=5)), max_size=30).map(b"".join))
    def test_any_octets(self, octets: bytes) -> None:
        """Whatever comes, and in whatever pieces, nothing that claims to be ours is left, and nothing else is lost."""
        one(octets)


class WrittenTests(VerifierCase):
    @settings(max_examples=60)
    @given(st.text(max_size=80))
    def test_any_text(self, hello: str) -> None:
        """Whatever a client says of itself, the fields are whole, and other programs read our results."""
        found = self.verified(hello=hello)
        for line in found.trace.split(b"\r\n")[:-1]:
            self.assertRegex(line, rb"\A(Authentication-Results:|Received-SPF:|[ \t])[^\r\n\0]*\Z")
        results = parse_results(found.trace.partition(b"\r\nReceived-SPF: ")[0].partition(b":")[2])
        assert results is not None
        self.assertEqual([r.result for r in results.of("dkim")], ["none"])
