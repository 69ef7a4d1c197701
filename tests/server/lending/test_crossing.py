"""Values that cross to another process of the same program."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path as FilePath
from typing import Any, TypeVar
from unittest.mock import patch

from attrs import asdict, evolve
from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import ConfigurationError, ConsistencyError, MailError, OverQuotaError, StoreFullError
from moxtwisted.identifiers import DomainError
from moxtwisted.mailauth.reports.message import report_of
from moxtwisted.message.flags import SEEN, MessageFlags
from moxtwisted.message.headers import Header
from moxtwisted.server.delivery import Copy
from moxtwisted.server.inbound.room import Asked
from moxtwisted.server.judgement.interfaces import Decision, Incoming, Recipient
from moxtwisted.server.lending.crossing import read, write
from moxtwisted.server.verification.interfaces import Verified
from moxtwisted.smtp.replies import Reply
from moxtwisted.store.interfaces import IStagedMessage, Sender
from moxtwisted.store.staging import MEMORY_OCTETS, Staged, Staging
from tests.mailauth.reports.samples import dmarc_message, tls_message
from tests.message.test_corpus import CORPUS
from tests.server.judgement.samples import ALICE, GOOD, HEADER, NOW, path
from tests.server.receivers.crossing import VERIFIED, complete
from tests.server.receivers.test_parts import flat, words
from tests.server.receivers.test_shapes import PATHS, REPLIES

_T = TypeVar("_T")

SENDER = Sender(localpart="mary", domain="a.example", dkim_domains=("a.example",), ip="192.0.2.1")
MULTIPART = (
    b"Subject: parts\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n--a\r\n"
    b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext\r\n--a--\r\n"
)


def descriptors() -> int:
    """How many are open."""
    return len(list(FilePath("/proc/self/fd").iterdir()))


def across(value: _T) -> _T:
    """There and back; no message is in it."""
    octets, none = write(value)
    if none:
        raise AssertionError(none)
    there, messages = read(octets, none)
    if messages:
        raise AssertionError(messages)
    found: _T = there
    return found


class Values(SynchronousTestCase):
    """What is no message."""

    @given(REPLIES)
    @settings(max_examples=50, deadline=None)
    def test_replies(self, reply: Reply) -> None:
        """Replies are the same there, also those that were said already."""
        self.assertEqual(across(reply), reply)
        self.assertEqual(across(reply).wire(), reply.wire())

    @given(PATHS)
    @settings(max_examples=50, deadline=None)
    def test_paths(self, forward_path: Any) -> None:
        """So are addresses, which are found by their hash."""
        there = across(forward_path)
        self.assertEqual(there, forward_path)
        self.assertIn(there, {forward_path: None})
        self.assertEqual(across(evolve(ALICE, path=forward_path, alias=True)).path, forward_path)

    def test_recipients(self) -> None:
        """So is what is known of a recipient."""
        self.assertEqual(across(ALICE), ALICE)
        asked = Asked(
            accounts=("alice",), octets=1, reverse_path=path(""), forward_path=ALICE.path, others=(), judged=True,
            together=True, seconds=1.5,
        )  # fmt: skip
        self.assertEqual(across(asked), asked)

    def test_flags(self) -> None:
        """There is one object for each combination of flags, wherever it comes from."""
        flags = MessageFlags.of(SEEN, ("$Junk", "x"))
        self.assertIs(across(flags), flags)

    def test_decisions(self) -> None:
        """Decisions are the same there, with reports, flags and senders."""
        for octets in (dmarc_message(), tls_message()):
            decision = Decision(
                accept=False, reason="junk-content", explanation="it looks bad — ⟂", mailbox="Lists",
                reply=Reply(550, "5.7.1", ("no", "never")), keep_in_rejects=True, flags=MessageFlags.of(0, ("$Junk",)),
                delay_seconds=1.5, sender=SENDER, overridden="mailing_list", report=report_of(octets),
            )  # fmt: skip
            there = across(decision)
            self.assertEqual(there, decision)
            self.assertIs(there.flags, decision.flags)
        copy = Copy("alice", "INBOX", b"X: y\r\n", MessageFlags.of(SEEN), SENDER)
        self.assertEqual(across(copy), copy)

    @given(VERIFIED)
    @settings(max_examples=100, deadline=None)
    def test_findings(self, verified: Verified) -> None:
        """All that was found of where a message comes from is the same there."""
        there = across(verified)
        self.assertEqual(there, verified)
        self.assertEqual(asdict(there), asdict(verified))

    def test_scope(self) -> None:
        """An address of a link keeps the name of the link."""
        address = ip_address("fe80::1%eth0")
        self.assertEqual(str(across(address)), "fe80::1%eth0")
        self.assertEqual(across(ip_address("::1")), ip_address("::1"))

    def test_headers(self) -> None:
        """A header has its fields there."""
        header = Header.parse(HEADER)
        self.assertEqual(across(header), header)
        large = Header.parse(b"X: y\r\n" * 5000)
        self.assertEqual(across(large), large)


class Errors(SynchronousTestCase):
    """What goes wrong in one process is told in the other."""

    def test_all(self) -> None:
        """An error is the same there, whatever its class wants to be called with."""
        odd = StoreFullError("disk", public_text="not today")
        odd.enhanced_code = "4.7.0"
        for error in (
            MailError(),
            OverQuotaError("alice"),
            odd,
            ConfigurationError(("a", "b")),
            DomainError("x"),
        ):
            there = across(error)
            self.assertIs(type(there), type(error))
            self.assertEqual((there.args, vars(there)), (error.args, vars(error)))
            for name in ("reply_code", "enhanced_code", "public_text", "explanation", "temporary"):
                self.assertEqual(getattr(there, name), getattr(error, name))

    def test_causes(self) -> None:
        """What the system said crosses with it; other causes do not."""
        error = StoreFullError("disk")
        error.__cause__ = OSError(28, "No space left on device")
        cause = across(error).__cause__
        assert isinstance(cause, OSError)
        self.assertEqual((cause.errno, cause.strerror), (28, "No space left on device"))
        error.__cause__ = ValueError("x")
        self.assertIsNone(across(error).__cause__)


class Messages(SynchronousTestCase):
    """Messages and their octets."""

    def setUp(self) -> None:
        """Count what is open."""
        self.directory = FilePath(self.mktemp())
        self.directory.mkdir()
        before = descriptors()
        self.addCleanup(lambda: self.assertEqual(descriptors(), before))

    def stage(self, octets: bytes) -> Staged:
        """Octets that came in, closed at the end."""
        staging = Staging(self.directory, os.urandom)
        staging.write(octets)
        staged = staging.finish()
        self.addCleanup(staged.close)
        return staged

    def across(self, values: Any) -> tuple[Any, list[Staged]]:
        """What is there; closed at the end."""
        there, messages = read(*write(values))
        for message in messages:
            self.addCleanup(message.close)
        return there, messages

    def same(self, there: IStagedMessage, staged: IStagedMessage) -> None:
        """Nobody can tell them apart."""
        self.assertEqual(there.size, staged.size)
        self.assertEqual(b"".join(there.chunks()), b"".join(staged.chunks()))
        self.assertEqual(list(there.packed()), list(staged.packed()))
        self.assertEqual(there.read(3, 10), staged.read(3, 10))
        self.assertEqual(there.rendered, staged.rendered)
        self.assertEqual(there.scanned.header, staged.scanned.header)
        self.assertEqual(list(flat(there.scanned)), list(flat(staged.scanned)))
        self.assertEqual(words(there.scanned), words(staged.scanned))

    def test_small(self) -> None:
        """A message in memory needs no descriptor; it may be closed here when it was written."""
        for octets in (
            b"",
            b"x",
            HEADER,
            MULTIPART,
            HEADER + b"x" * 70_000 + b"\r\n",
            *(file.read_bytes() for file in sorted(CORPUS.glob("*.eml"))),
        ):
            staged, same = self.stage(octets), self.stage(octets)
            written, descriptors = write(staged)
            self.assertEqual(descriptors, [])
            staged.close()
            there, (message,) = read(written, descriptors)
            self.assertIs(there, message)
            self.same(there, same)
            message.close()
            kept: Any = message._octets
            self.assertEqual(kept._octets, [])

    def test_large(self) -> None:
        """A message in a file crosses by one descriptor, and outlives the one here; its structure is not looked for again."""
        octets = MULTIPART.replace(b"one", b"one\r\n" * MEMORY_OCTETS)
        staged, same = self.stage(octets), self.stage(octets)
        written, found = write((staged, [staged]))
        self.assertEqual(len(found), 1)
        self.assertLess(len(written), 10_000)
        staged.close()
        (there, _), messages = read(written, found)
        self.addCleanup(messages[0].close)
        with patch("moxtwisted.server.receivers.parts.Scanner", side_effect=AssertionError):
            self.same(there, same)

    def test_several(self) -> None:
        """Several cross at once, each once, whatever else names them."""
        small, large = self.stage(HEADER + b"x\r\n"), self.stage(HEADER + b"y" * 3_000_000 + b"\r\n")
        other = self.stage(b"Subject: other\r\n\r\n" + b"z" * 2_000_000)
        copies = [Copy("a", "b", b"", altered=m) for m in (large, small, other, large)]
        there, messages = self.across((small, copies, other))
        self.assertEqual(len(messages), 3)
        self.same(there[0], small)
        self.same(there[2], other)
        self.same(there[1][0].altered, large)
        self.assertIs(there[1][1].altered, there[0])
        self.assertIs(there[1][2].altered, there[2])
        self.assertIs(there[1][3].altered, there[1][0].altered)

    def test_on_and_on(self) -> None:
        """What came from another process goes on to a third."""
        for octets in (MULTIPART, b"", HEADER + b"y" * 3_000_000):
            staged = self.stage(octets)
            once, _ = self.across(staged)
            twice, _ = self.across(once)
            once.close()
            self.same(twice, staged)

    def test_incoming(self) -> None:
        """A message on its way in is the same there."""
        staged = self.stage(HEADER + b"hello\r\n")
        incoming = Incoming(
            reverse_path=path("mary@a.example"), recipients=(ALICE.path,), verified=GOOD, header=staged.scanned.header, staged=staged,
            hello="mx.a.example", tls=True, seconds=NOW + 0.5, session="s1",
        )  # fmt: skip
        (there, recipient), messages = self.across((incoming, ALICE))
        self.assertEqual(messages, [there.staged])
        self.assertEqual(evolve(there, staged=staged), incoming)
        self.assertIs(there.header, there.staged.scanned.header)
        self.assertEqual(recipient, ALICE)
        self.assertEqual(self.across(complete().incoming)[0].header, complete().incoming.header)

    def test_header_alone(self) -> None:
        """Who asks for no more than its header has a small message not scanned."""
        with patch("moxtwisted.server.receivers.parts.Scanner", side_effect=AssertionError):
            there, _ = self.across(self.stage(HEADER + b"hello\r\n"))
            self.assertEqual(there.scanned.header.text(b"subject"), "hello")
            self.assertEqual(there.scanned.header_size, len(HEADER))

    def test_what_cannot_cross(self) -> None:
        """When something cannot cross, or what came cannot be read, no descriptor is left."""
        large = self.stage(HEADER + b"y" * 3_000_000)
        self.assertRaises((AttributeError, pickle.PicklingError), write, (large, lambda: None))
        octets, found = write((large, self.stage(HEADER), large))
        self.assertRaises((EOFError, pickle.UnpicklingError), read, octets[:-20], found)
        with patch("moxtwisted.server.lending.crossing.read_tree", side_effect=ValueError):
            self.assertRaises(ValueError, read, *write(large))
        octets, found = write(large)
        os.close(found[0])
        found[0] = os.open("/dev/null", os.O_RDONLY)
        self.assertRaises(ConsistencyError, read, octets, found)
        read(write("no message")[0], [os.open("/dev/null", os.O_RDONLY)])

    def test_full(self) -> None:
        """A disk that is full is told as such."""
        large = self.stage(HEADER + b"y" * 3_000_000)
        with patch.object(type(large._octets), "hand_over", side_effect=OSError(28, "full")):
            self.assertRaises(StoreFullError, write, large)

    def test_where_methods_do_not_cross(self) -> None:
        """In a process that has imported Twisted's way of keeping methods, all crosses as well; and hashes are its own."""
        octets, _ = write((MessageFlags.of(SEEN), self.stage(HEADER), MailError("x"), ALICE))
        program = (
            "import sys, twisted.persisted.styles\n"
            "from moxtwisted.server.lending.crossing import read, write\n"
            "values, _ = read(sys.stdin.buffer.read(), ())\n"
            "{values[3].path: 1}[values[3].path]\n"
            "sys.stdout.buffer.write(write(values)[0])\n"
        )
        back = subprocess.run(
            [sys.executable, "-c", program], input=octets, capture_output=True, check=True, timeout=60
        )
        recipient: Recipient
        (flags, there, error, recipient), _ = read(back.stdout, ())
        self.assertIs(flags, MessageFlags.of(SEEN))
        self.assertEqual((there.scanned.header.octets, error.detail), (HEADER, "x"))
        self.assertIn(recipient.path, {ALICE.path})
