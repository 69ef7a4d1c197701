"""SMTP smuggling: what other servers take for the end of a message must be the end here too, or refused."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.smtp.settings import BareLineEnds, ServerSettings
from moxtwisted.smtp.testing import MemoryHandlers, MemoryLink

BEGIN = b"EHLO client.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
INNER = b"MAIL FROM:<ceo@example.net>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nFrom: ceo\r\n\r\npay!\r\n.\r\n"

#: The published ones (SEC Consult 2023, Postfix and Sendmail notes, 2024 follow-ups), and the rest of their kind.
PUBLISHED = [
    b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r.\n", b"\n.\r",
    b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\n\x00.\n", b"\r\r\n.\r\r\n",
]  # fmt: skip


class SmugglingTests(SynchronousTestCase):
    """A second message must not come out of one."""

    def dialogue(
        self, ending: bytes, bare: BareLineEnds, size: int
    ) -> tuple[MemoryLink, MemoryHandlers, bytes]:
        link = MemoryLink(
            ServerSettings(hostname="mx.example", bare_line_ends=bare), handlers := MemoryHandlers()
        )
        octets = BEGIN + b"Subject: one\r\n\r\ntext" + ending + INNER + b"QUIT\r\n"
        said = link.say_each(octets[i : i + size] for i in range(0, len(octets), size))
        return link, handlers, said

    def test_published_variants(self) -> None:
        """Each is refused with 500, the connection is closed, and nothing was received."""
        for ending, bare, size in product(PUBLISHED, BareLineEnds, (1, 3, 4096)):
            link, handlers, said = self.dialogue(ending, bare, size)
            self.assertEqual(handlers.messages, [], ending)
            self.assertIn(
                b"\r\n500 5.5.2 bare carriage return or newline, may be smtp smuggling\r\n", said, ending
            )
            self.assertEqual(link.ended, "refused", ending)
            self.assertEqual(handlers.handlers[0].calls[-1], ("reset",))

    def test_every_short_ending(self) -> None:
        """Of all strings of up to five octets out of CR, LF, NUL and dot, only CRLF.CRLF ends a message."""
        for length in range(1, 6):
            for octets in product((b"\r", b"\n", b"\0", b"."), repeat=length):
                ending = b"".join(octets)
                _, handlers, _ = self.dialogue(ending, BareLineEnds.NORMALISE, 4096)
                # One message at most, unless the real end is in there, when the rest is a client's own command.
                received = len(handlers.messages)
                self.assertLessEqual(received, 2 if b"\r\n.\r\n" in ending else 1, ending)
                for message in handlers.messages:
                    self.check(message.octets)

    def check(self, octets: bytes) -> None:
        """What was accepted has proper line ends, and no lone dot that another server could stop at."""
        self.assertEqual(octets.replace(b"\r\n", b"").count(b"\n"), 0, octets)

    def test_lone_dot_at_the_begin(self) -> None:
        """A dot on the first line is seen as well: a proper one is an empty message, others are refused."""
        for first, ok in ((b".\r\n", True), (b".\n", False), (b".\r", False), (b"\0.\r\n", False)):
            link = MemoryLink(ServerSettings(hostname="mx.example"), handlers := MemoryHandlers())
            link.say(BEGIN + first + b"x\r\n.\r\n")
            self.assertEqual([m.octets for m in handlers.messages], [b""] if ok else [], first)

    def test_by_chunks(self) -> None:
        """BDAT ends by count, so a lone dot between CRLFs is content; between anything else it is refused."""
        for body, ok in (
            (b"a\r\n.\r\nb", True),
            (b"a\n.\nb", False),
            (b"a\r\n.\nb", False),
            (b"\r.\r", False),
        ):
            link = MemoryLink(ServerSettings(hostname="mx.example"), handlers := MemoryHandlers())
            said = link.say(BEGIN[: -len(b"DATA\r\n")] + b"BDAT %d LAST\r\n" % len(body) + body)
            self.assertEqual([m.octets for m in handlers.messages], [body] if ok else [], body)
            self.assertEqual(b"may be smtp smuggling" in said, not ok)

    def test_commands(self) -> None:
        """Lone CRs and LFs in commands end the connection too."""
        for line in (b"NOOP\n", b"NOOP\rRSET\r\n", b"NOOP\r\r\n", b"\n", b"MAIL FROM:<a@example.org>\nRCPT"):
            link = MemoryLink(ServerSettings(hostname="mx.example"), MemoryHandlers())
            link.say()
            said = link.say(line + b"\r\nQUIT\r\n")
            self.assertEqual(
                said, b"500 5.5.2 bare carriage return or newline, may be smtp smuggling\r\n", line
            )

    @settings(max_examples=200)
    @given(
        st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"\0", b"a", b"\r\n.\r\n"]), max_size=30),
        st.integers(1, 9),
    )
    def test_cuts_do_not_matter(self, parts: list[bytes], size: int) -> None:
        """Octets in pieces give what they give at once."""
        octets = BEGIN + b"".join(parts) + b"\r\n.\r\nQUIT\r\n"
        results = []
        for step in (len(octets), size):
            link = MemoryLink(ServerSettings(hostname="mx.example"), handlers := MemoryHandlers())
            said = link.say_each(octets[i : i + step] for i in range(0, len(octets), step))
            results.append((said, [m.octets for m in handlers.messages], link.ended))
        self.assertEqual(*results)
