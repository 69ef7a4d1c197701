"""What users send is signed, through the whole of submission, and verified by us and by dkimpy as it is stored and as it is queued."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from zope.interface import implementer

from moxtwisted.compose.signing import Signers
from moxtwisted.config.load import parse_domains
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.errors import ConfigurationError
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.dkim.sign import SigningRules
from moxtwisted.mailauth.dkim.verify import Risk, Status, Verification, verify
from moxtwisted.mailauth.inflow import MessageHasher
from moxtwisted.message.compose import Completion
from moxtwisted.server.directory import AccountEntry, DomainEntry
from moxtwisted.server.intake import Intake, Trouble
from moxtwisted.server.submission.header import SubmittedMessage
from moxtwisted.server.submission.signing import Author, ISigningWork, Selector, Signing, SigningPool
from moxtwisted.store.bodies import decode
from moxtwisted.store.interfaces import IStaging
from tests.mailauth.corpus.messages import plain_message
from tests.server.house import ACCOUNTS, DOMAINS, NOW
from tests.server.test_submission import ALICE, SubmissionCase, letter

try:
    import dkim
except ImportError:
    dkim = None

PEM = {"rsa": new_private_key("rsa"), "ed25519": new_private_key("ed25519")}
SIMPLE = SigningRules(
    header_form=Canonicalization.SIMPLE, body_form=BodyForm(Canonicalization.SIMPLE), lifetime_seconds=3600
)


def key(kind: str, domain: str = "example.org") -> SigningKey:
    return SigningKey.from_pem(domain, kind, PEM[kind], primes_checked=False)


RECORDS = {
    key(kind, domain).name: key(kind, domain).record_text().encode()
    for kind in PEM
    for domain in ("example.org", "xn--mnchen-3ya.example")
}


def ours(message: bytes) -> list[Verification]:
    """What we make of the signatures, from the top."""
    resolver = ZoneResolver({(name, "TXT"): [text] for name, text in RECORDS.items()})
    hasher = MessageHasher()
    hasher.feed(message)
    found: list[Any] = []
    Deferred.fromCoroutine(verify(hasher.finish(), resolver, now=NOW)).addBoth(found.append)
    return list(found[0])


def theirs(message: bytes, index: int) -> bool:
    """What dkimpy makes of one."""
    if dkim is None:
        raise SkipTest("dkimpy is not installed")
    with patch("time.time", lambda: NOW):
        found: bool = dkim.DKIM(message).verify(
            idx=index, dnsfunc=lambda name, timeout=5: RECORDS.get(name.decode().rstrip("."))
        )
    return found


@implementer(ISigningWork)
class WorkAtOnce:
    """Arithmetic without threads."""

    def sign(self, key: SigningKey, octets: bytes) -> Deferred[bytes]:
        done: Deferred[bytes] = Deferred()
        done.callback(key.sign_octets(octets))
        return done


@implementer(ISigningWork)
class BrokenWork:
    """Arithmetic that fails."""

    def sign(self, key: SigningKey, octets: bytes) -> Deferred[bytes]:
        raise RuntimeError("no entropy")


class SigningCase(SubmissionCase):
    rules = SigningRules()

    def setUp(self) -> None:
        super().setUp()
        selectors = [Selector(key(kind), self.rules) for kind in ("rsa", "ed25519")]
        self.house.signing = Signing({"example.org": selectors}, WorkAtOnce())

    def received(self, *recipients: str, message: bytes, sender: str = ALICE) -> list[bytes]:
        """Send it, to bob and elsewhere; the copies that come out."""
        answer = self.send(message, *(recipients or ("bob@example.org", "eve@far.example")), sender=sender)
        self.assertTrue(answer.startswith("250"), answer)
        return [self.house.messages("bob")[-1], self.last_queued()]

    def last_queued(self) -> bytes:
        """The newest message of the queue."""
        reader = self.house.queue._database.reader
        ident, prefix = next(reader.execute("SELECT id, prefix FROM submission ORDER BY id DESC LIMIT 1"))
        rows = reader.execute("SELECT codec, data FROM chunk WHERE id >> 16 = ? ORDER BY id", (ident,))
        return bytes(prefix) + b"".join(decode(*row) for row in rows)

    def verified(self, message: bytes, signatures: int = 2) -> list[Verification]:
        """All signatures of all copies hold, for us and for dkimpy."""
        for copy in self.received(message=message):
            found = ours(copy)
            self.assertEqual([one.status for one in found], [Status.PASS] * signatures, f"{found} {copy!r}")
            for index in range(signatures):
                self.assertTrue(theirs(copy, index), copy)
        return found


class SubmittedTests(SigningCase):
    def test_signed(self) -> None:
        """A message is signed with both keys, RSA first, From and the other fields sealed, and holds for a while."""
        rsa, ed25519 = self.verified(letter())
        for found, kind, algorithm in ((rsa, "rsa", "rsa-sha256"), (ed25519, "ed25519", "ed25519-sha256")):
            signature = found.signature
            assert signature is not None
            self.assertEqual(
                (signature.algorithm, signature.selector, signature.domain, signature.identity),
                (algorithm, kind, "example.org", ALICE),
            )
            self.assertEqual(signature.signed_headers.count(b"from"), 2)
            self.assertIn(b"message-id", signature.signed_headers)
            self.assertEqual(signature.signed_at, int(NOW))
            self.assertNotIn(Risk.FROM_NOT_SEALED, found.risks)

    def test_place(self) -> None:
        """The signatures stand on top of what is queued; in a mailbox only what is said of the delivery is above them."""
        stored, queued = self.received(message=letter())
        self.assertTrue(queued.startswith(b"DKIM-Signature: v=1; d=example.org; s=rsa;"), queued[:200])
        self.assertLess(queued.index(b"\r\nDKIM-Signature:"), queued.index(b"\r\nReceived:"))
        names = [
            line.partition(b":")[0]
            for line in stored.split(b"\r\n\r\n")[0].split(b"\r\n")
            if line[:1] not in b" \t"
        ]
        self.assertEqual(
            names[:5],
            [
                b"Return-Path",
                b"Delivered-To",
                b"DKIM-Signature",
                b"DKIM-Signature",
                b"Authentication-Results",
            ],
        )

    def test_what_is_added_and_removed(self) -> None:
        """What is signed is the header as it goes out: with Message-ID and Date, without Bcc."""
        stored, _ = self.received(message=letter(more="Bcc: x@y.example\r\nReturn-Path: <a@b.example>\r\n"))
        self.assertNotIn(b"x@y.example", stored)
        self.assertEqual([one.status for one in ours(stored)], [Status.PASS] * 2)
        for added in (b"Bcc: x@y.example\r\n", b"From: eve@far.example\r\n"):
            at = stored.index(b"From: ")
            forged = stored[:at] + added + stored[at:]
            self.assertEqual([one.status for one in ours(forged)], [Status.FAIL] * 2, added)

    def test_bodies(self) -> None:
        """Bodies of all kinds verify: empty, without a line end, with empty lines and white space at the end, long lines, 8 bits."""
        for body in (
            b"",
            b"\r\n",
            b"\r\n\r\n\r\n",
            b"a",
            b"a \t \r\n b\t\tc  \r\n\r\n\r\n",
            b".\r\n..\r\n",
            b"x" * 20000 + b"\r\n" + b"y z " * 20000,
            "Grüße, 日本\r\n".encode(),
            b"\xff\xfe\x80 not UTF-8\r\n",
            os.urandom(3000).replace(b"\r", b"").replace(b"\n", b"\r\n").replace(b"\0", b"") + b"\r\n",
        ):
            self.verified(letter().partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body)

    def test_headers(self) -> None:
        """Headers of all kinds verify: folded, in UTF-8, with fields several times, with odd white space."""
        for more in (
            "Subject: again\r\nTo: a@b.example,\r\n\tc@d.example\r\n",
            "To:a@b.example\r\nCc:  x@y.example  \r\n",
            "References: " + "\r\n ".join(f"<{n}@{'x' * 60}.example>" for n in range(50)) + "\r\n",
            "Comments: Grüße an\r\n alle\r\n",
            "Content-Type: text/plain;\r\n\t charset=utf-8\r\nMIME-Version: 1.0\r\n",
            "To: " + "a" * 900 + "@b.example\r\n",
        ):
            self.verified(letter(more=more))

    def test_pieces(self) -> None:
        """However the octets arrive, the signature is the same."""
        message = letter(body="one\r\n two  \r\n\r\n").replace(b"\r\n.", b"\r\n..")
        for size in (1, 7):
            line = self.line()
            line.begin(ALICE, "bob@example.org")
            line.say("DATA")
            for start in range(0, len(message), size):
                line.protocol.dataReceived(message[start : start + size])
            self.assertIn("250 2.", line.say("."))
            self.assertEqual([one.status for one in ours(self.house.messages("bob")[-1])], [Status.PASS] * 2)

    def test_chunks(self) -> None:
        """By BDAT, with BODY=BINARYMIME too, a message is signed as it is: whoever changes it for a relay breaks the signature."""
        line = self.line()
        line.say(f"MAIL FROM:<{ALICE}> BODY=BINARYMIME")
        line.say("RCPT TO:<bob@example.org>")
        octets = letter() + b"\x00\x01\r\x02\n\xff"
        answer = ""
        for piece, last in ((octets[:50], ""), (octets[50:], " LAST")):
            line.protocol.dataReceived(f"BDAT {len(piece)}{last}\r\n".encode() + piece)
            answer = line.heard()
        self.assertIn("250", answer)
        stored = self.house.messages("bob")[-1]
        self.assertTrue(stored.endswith(octets[-6:]))
        self.assertEqual([one.status for one in ours(stored)], [Status.PASS] * 2)

    def test_who(self) -> None:
        """An alias and an address with a suffix are signed for by their domain, i= without the suffix; others' domains are not."""
        stored, _ = self.received(message=letter("Inner <inner@example.org>"))
        self.assertEqual(
            [one.signature.identity for one in ours(stored) if one.signature], ["inner@example.org"] * 2
        )
        stored, _ = self.received(message=letter("ALICE+shop@Example.ORG"))
        self.assertEqual([one.signature.identity for one in ours(stored) if one.signature], [ALICE] * 2)
        stored, _ = self.received(
            message=letter(f"{ALICE}, inner@example.org", "Sender: alice@example.org\r\n")
        )
        self.assertEqual(
            [one.signature.identity for one in ours(stored) if one.signature], ["@example.org"] * 2
        )
        stored, _ = self.received(message=letter("alice@off.example"))
        self.assertEqual(ours(stored), [])

    def test_receipts(self) -> None:
        """A message from the null sender is signed for the domain of its From."""
        self.received(message=letter(), sender="")
        self.assertEqual([one.status for one in ours(self.house.messages("bob")[-1])], [Status.PASS] * 2)

    def test_idn(self) -> None:
        """RFC 8616 section 5: the domain is signed for in A-labels, whichever form From has; i= may have UTF-8 before the @."""
        name, ascii_name = "münchen.example", "xn--mnchen-3ya.example"
        self.house.holder.current = self.house.directory(
            domains=(*DOMAINS, DomainEntry(name)),
            accounts=(
                *ACCOUNTS[1:],
                AccountEntry("alice", addresses={ALICE: "INBOX", f"jürgen@{name}": "INBOX"}),
            ),
        )
        selectors = [Selector(key(kind, ascii_name), self.rules) for kind in ("rsa", "ed25519")]
        self.house.signing = Signing({ascii_name: selectors}, WorkAtOnce())
        line = self.line()
        line.say(f"MAIL FROM:<{ALICE}> SMTPUTF8 BODY=8BITMIME")
        line.say("RCPT TO:<bob@example.org>")
        self.assertIn("250", line.send(letter(f"Jürgen <jürgen@{name}>", "Subject: Grüße\r\n")))
        stored = self.house.messages("bob")[-1]
        found = ours(stored)
        self.assertEqual([one.status for one in found], [Status.PASS] * 2)
        for one in found:
            assert one.signature is not None
            self.assertEqual(
                (one.signature.domain, one.signature.identity), (ascii_name, f"jürgen@{ascii_name}")
            )

    def test_trouble(self) -> None:
        """When a key fails, the message goes out without its signature, and the log says so."""
        selectors = [Selector(key("ed25519"), self.rules)]
        self.house.signing = Signing({"example.org": selectors}, BrokenWork())
        stored, _ = self.received(message=letter())
        self.assertEqual(ours(stored), [])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_refused(self) -> None:
        """A message whose header is refused is not signed."""
        self.assertIn("550", self.send(letter("bob@example.org")))


class SimpleTests(SigningCase):
    """With the canonicalization that lets nothing change."""

    rules = SIMPLE

    def test_simple(self) -> None:
        """Simple signatures hold for every copy as well, and say when they end."""
        for found in self.verified(letter(more="To:  a@b.example \r\n", body="a  b\r\n\r\n")):
            assert found.signature is not None
            self.assertEqual(found.signature.expires_at, int(NOW) + 3600)
            self.assertIs(found.signature.header_form, Canonicalization.SIMPLE)


class AnyMessageTests(SynchronousTestCase):
    def test_any_message(self) -> None:
        """Whatever a header and a body are made of, and however they are cut, what goes out verifies, for dkimpy too."""
        for number in range(400):
            random = Random(number)
            rules = SigningRules(
                seal=random.random() < 0.8,
                header_form=random.choice(tuple(Canonicalization)),
                body_form=BodyForm(random.choice(tuple(Canonicalization))),
            )
            selectors = [Selector(key(kind), rules) for kind in ("rsa", "ed25519")]
            signing = Signing({"example.org": selectors}, WorkAtOnce())
            sent = Sent()
            sink = SubmittedMessage(
                Intake(sent, Trouble(Clock().seconds)),
                lambda values: None,
                Completion(int(NOW), "example.org", os.urandom),
                lambda header, signing=signing: signing.begin(header, [Author("alice", "example.org")]),  # type: ignore[misc]
            )
            octets = plain_message(random)
            while octets:
                size = random.randrange(1, 200)
                sink.write(octets[:size])
                octets = octets[size:]
            sink.finish()
            fields: list[bytes] = []
            assert sink.signer is not None
            Deferred.fromCoroutine(sink.signer.sign(NOW)).addCallback(fields.append)
            message = fields[0] + b"Received: by us\r\n" + b"".join(sent.pieces)
            with self.subTest(number):
                self.assertEqual([one.status for one in ours(message)], [Status.PASS] * 2, message)
                # dkimpy keeps white space at the end of a last line without a line end (RFC 6376 section 3.4.4).
                if message.endswith(b"\n"):
                    self.assertTrue(theirs(message, 0) and theirs(message, 1), message)


@implementer(IStaging)
@define
class Sent:
    """Keeps what comes."""

    pieces: list[bytes] = field(factory=list)

    def write(self, octets: bytes) -> None:
        self.pieces.append(octets)

    def finish(self) -> Any:
        return None

    def abort(self) -> None:
        pass


class PoolTests(TestCase):
    async def test_threads(self) -> None:
        """RSA is done by threads and comes back to the reactor; before the start and after the end it is done at once."""
        from twisted.internet import reactor

        pool = SigningPool(reactor, max_pending=2)  # type: ignore[arg-type]  # what the module is, is not typed
        octets = b"x"
        expected = key("rsa").sign_octets(octets)
        self.assertEqual(self.successResultOf(pool.sign(key("rsa"), octets)), expected)
        pool.start()
        pool.start()
        waiting = [pool.sign(key("rsa"), octets) for _ in range(4)]
        self.assertEqual([deferred.called for deferred in waiting], [False, False, True, True])
        self.assertEqual([await deferred for deferred in waiting], [expected] * 4)
        pool.stop()
        pool.stop()
        self.assertEqual(self.successResultOf(pool.sign(key("rsa"), octets)), expected)

    async def test_failure(self) -> None:
        """What goes wrong in a thread is told."""
        from twisted.internet import reactor

        pool = SigningPool(reactor)  # type: ignore[arg-type]
        pool.start()
        self.addCleanup(pool.stop)
        with self.assertRaises(TypeError):
            await pool.sign(key("rsa"), None)  # type: ignore[arg-type]


class SignersTests(SynchronousTestCase):
    """Keys of a configuration."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        for kind, pem in PEM.items():
            self.write(kind, pem)

    def write(self, name: str, pem: bytes) -> None:
        path = self.directory / name
        path.write_bytes(pem)
        path.chmod(0o600)

    def signers(self, text: str) -> Signers:
        return Signers(self.directory, parse_domains(text.encode()), Clock())

    @staticmethod
    def names(signers: Signers) -> dict[str, list[str]]:
        return {domain: [s.key.selector for s in found] for domain, found in signers.signing.current.items()}

    def test_states(self) -> None:
        """Active keys sign, RSA first; others do not; a domain without active keys does not sign."""
        signers = self.signers(
            '[domains."münchen.example".dkim]\n'
            '2026a = {private_key_file = "ed25519"}\n2026b = {private_key_file = "rsa", expiration_seconds = "1 h"}\n'
            '2026c = {private_key_file = "rsa", state = "standby"}\n2025a = {private_key_file = "rsa", state = "retired"}\n'
            '[domains."b.example".dkim]\nx = {private_key_file = "rsa", state = "standby"}\n[domains."c.example"]\n'
        )
        signers.load()
        self.assertEqual(self.names(signers), {"xn--mnchen-3ya.example": ["2026b", "2026a"]})
        first = signers.signing.current["xn--mnchen-3ya.example"][0]
        self.assertEqual(first.rules.lifetime_seconds, 3600)
        self.assertEqual(first.key.domain, "xn--mnchen-3ya.example")

    def test_missing(self) -> None:
        """At start every key that cannot be used is told, with its key path and file."""
        self.write("garbage", b"x")
        with self.assertRaises(ConfigurationError) as caught:
            self.signers(
                '[domains."a.example".dkim]\na = {private_key_file = "none"}\nb = {private_key_file = "garbage"}\n'
            ).load()
        missing, broken = caught.exception.problems
        self.assertIn('domains."a.example".dkim.a.private_key_file: ', missing)
        self.assertIn(f"{self.directory / 'none'}: cannot be read: No such file", missing)
        self.assertIn(f"{self.directory / 'garbage'}: no private key in PEM", broken)

    def test_mismatch(self) -> None:
        """A key whose numbers do not belong together is found by trying it."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        from moxtwisted.config.signingkeys import read_key_file
        from moxtwisted.errors import MailError

        good = serialization.load_pem_private_key(PEM["rsa"], None)
        assert isinstance(good, rsa.RSAPrivateKey)
        numbers = good.private_numbers()
        wrong = rsa.RSAPrivateNumbers(
            p=numbers.p, q=numbers.q, d=numbers.d + 2, dmp1=numbers.dmp1 + 2, dmq1=numbers.dmq1, iqmp=numbers.iqmp,
            public_numbers=numbers.public_numbers,
        ).private_key(unsafe_skip_rsa_key_validation=True)  # fmt: skip
        pem = wrong.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.write("wrong", pem)
        with self.assertRaisesRegex(MailError, "wrong: the key does not fit itself"):
            read_key_file(self.directory / "wrong", "a.example", "a")

    def test_changes(self) -> None:
        """New keys are taken when their files change; what cannot be read any more stays, and the log says so."""
        text = '[domains."a.example".dkim]\na = {private_key_file = "rsa"}\n'
        signers = self.signers(text)
        signers.load()
        signing = signers.signing
        before = signing.current["a.example"][0].key
        signers.check()
        self.assertIs(signing.current["a.example"][0].key, before)
        self.write("rsa", PEM["ed25519"] + b"\n")
        signers.check()
        self.assertEqual(signing.current["a.example"][0].key.kind, "ed25519")
        (self.directory / "rsa").unlink()
        signers.check()
        self.assertEqual(signing.current["a.example"][0].key.kind, "ed25519")
        signers.use(parse_domains(text.replace("= {", "= {state = 'retired', ").encode()))
        self.assertEqual(signing.current, {})
        signers.use(parse_domains(b""))
        signers.use(parse_domains(text.encode()))
        self.assertEqual(signing.current, {})
        self.assertIs(signers.signing, signing)

    def test_without_keys(self) -> None:
        """A server whose domains have no keys asks nobody to sign; with the first key it does, without a restart."""
        signers = self.signers('[domains."a.example"]\n')
        signers.load()
        self.assertIsNone(signers.current())
        signers.use(parse_domains(b'[domains."a.example".dkim]\na = {private_key_file = "rsa"}\n'))
        signing = signers.current()
        assert signing is not None
        self.assertEqual(list(signing.current), ["a.example"])
