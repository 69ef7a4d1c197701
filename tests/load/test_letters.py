"""Letters: made up, and of files."""

from __future__ import annotations

import email
import email.policy
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailError
from moxtwisted.load.letters import FileLetters, Numbering, message_files
from moxtwisted.load.numbers import Mark, find_mark
from moxtwisted.smtp.body import BodyReader, BodyWriter
from moxtwisted.smtp.settings import BareLineEnds
from tests.load.wire import RUN, letters


class MadeUpTests(SynchronousTestCase):
    """Letters of words."""

    @settings(max_examples=60)
    @given(st.integers(0, 5000), st.booleans())
    def test_size_and_lines(self, octets: int, eight_bit: bool) -> None:
        """A payload is as long as it should be, made of whole lines that are not too long, and has nothing to be stuffed."""
        letter = letters(octets=(octets, octets), eight_bit=eight_bit).letter(1)
        self.assertEqual(len(letter.body), octets if octets > 1 else 0)
        whole = letter.head + letter.body
        writer = BodyWriter()
        self.assertEqual(writer.feed(whole) + writer.finish(), letter.head + letter.stuffed + b".\r\n")
        self.assertLess(max(map(len, whole.split(b"\r\n"))), 200)
        whole.decode("utf-8" if eight_bit else "ascii")
        self.assertEqual(letter.octets, len(whole))

    def test_header(self) -> None:
        """A letter says which it is in its Message-ID and its subject, and is a message that others can read."""
        letter = letters(1000).letter(17)
        self.assertEqual(find_mark(letter.head), Mark(RUN, 17, 1000))
        message = email.message_from_bytes(letter.head + letter.body, policy=email.policy.default)
        self.assertEqual(message["Subject"], f"load {RUN} 17 of 1000")
        self.assertEqual((message["From"], message.defects), ("me@client.example", []))
        self.assertEqual(
            letters().letter(3).head.split(b"Subject: ")[1].split(b"\r\n")[0], b"load 1f2e3d4c 3"
        )

    def test_range(self) -> None:
        """Sizes of a range are all between its ends."""
        maker = letters(octets=(100, 120))
        sizes = {len(maker.letter(number).body) for number in range(10)}
        self.assertGreater(len(sizes), 1)
        self.assertTrue(all(100 <= size <= 120 for size in sizes), sizes)

    def test_same_body(self) -> None:
        """Letters of one size share their body, so that each costs only its head."""
        maker = letters()
        self.assertIs(maker.letter(1).body, maker.letter(2).stuffed)


class FileTests(SynchronousTestCase):
    """Letters of files."""

    def folder(self, **files: bytes) -> Path:
        """A new folder with files."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for name, octets in files.items():
            (folder / name).write_bytes(octets)
        return folder

    def test_in_turn(self) -> None:
        """The files of a folder are sent one after the other, again and again, with CRLF and their dots stuffed."""
        folder = self.folder(a=b"Subject: a\n\n.dot\n..\nend", b=b"Subject: b\r\n\r\n")
        (folder / ".hidden").write_bytes(b"no")
        maker = FileLetters(message_files(folder))
        first, second, third = (maker.letter(number) for number in (1, 2, 3))
        self.assertEqual(first.stuffed, b"Subject: a\r\n\r\n..dot\r\n...\r\nend\r\n")
        self.assertEqual(first.body, b"Subject: a\r\n\r\n.dot\r\n..\r\nend\r\n")
        self.assertEqual((second.body, third), (b"Subject: b\r\n\r\n", first))
        self.assertEqual((first.head, first.eight_bit), (b"", False))

    def test_maildir_and_one_file(self) -> None:
        """A Maildir is its read and unread messages; a file is one message; an empty folder is an error."""
        folder = self.folder()
        self.assertRaises(MailError, message_files, folder)
        for name in ("cur", "new", "tmp"):
            (folder / name).mkdir()
            (folder / name / "m").write_bytes(name.encode())
        self.assertEqual([file.read_bytes() for file in message_files(folder)], [b"cur", b"new"])
        self.assertEqual(message_files(folder / "cur" / "m"), [folder / "cur" / "m"])

    def test_renumbered(self) -> None:
        """With numbering, a message has one Message-ID, ours, and else stays as it is."""
        octets = b"From: x\nmessage-id:\n <old@x.example>\nSubject: \xc3\xa4\n\nMessage-ID: <body>\n"
        folder = self.folder(a=octets)
        letter = FileLetters(message_files(folder), Numbering("ab", 0, "client.example")).letter(9)
        whole = letter.head + letter.body
        self.assertEqual(find_mark(whole), Mark("ab", 9, 0))
        self.assertTrue(
            whole.endswith(b">\r\nFrom: x\r\nSubject: \xc3\xa4\r\n\r\nMessage-ID: <body>\r\n"), whole
        )
        self.assertTrue(letter.eight_bit)

    @settings(max_examples=60)
    @given(st.lists(st.sampled_from([b"a", b".", b"\r\n", b"\n", b"\r", b"\xff"]), max_size=12).map(b"".join))
    def test_what_is_stuffed_is_what_is_read(self, octets: bytes) -> None:
        """Whatever is in a file: a server that unstuffs what goes out after DATA has what would go out in a chunk."""
        folder = self.folder(a=octets)
        letter = FileLetters(message_files(folder)).letter(1)
        reader = BodyReader(BareLineEnds.REFUSE)
        self.assertEqual(reader.feed(letter.stuffed + b".\r\n"), letter.body)
        self.assertTrue(reader.done)
