"""What the README and the tutorial tell a newcomer to type does what they say."""

from __future__ import annotations

import re
import sys
import textwrap
import time

from .live import ROOT, LiveTestCase
from .peers import needs

BLOCK = re.compile(r"(?m)^\.\. code-block:: (\w+)\n\n((?:(?:   .*)?\n)+)")


class Typed(LiveTestCase):
    """Blocks of code from a page, with this process's server in the place of localhost."""

    def blocks(self, page: str, language: str, word: str) -> list[str]:
        """The blocks in that language that have the word in them; at least one."""
        found = [
            textwrap.dedent(text)
            for kind, text in BLOCK.findall((ROOT / page).read_text())
            if kind == language and word in text
        ]
        self.assertNotEqual(found, [], page)
        ip = self.server.ip
        return [re.sub(r'(://|"|--server )localhost(?=[":/]|$)', rf"\g<1>{ip}", text) for text in found]

    def unique(self, text: str, subject: str) -> tuple[str, str]:
        """The text with a subject that no other test uses, and that subject."""
        ours = f"{subject} {time.monotonic_ns()}"
        self.assertIn(subject, text)
        return text.replace(subject, ours), ours

    def subjects(self) -> bytes:
        """All subjects in the inbox."""
        connection = self.server.imap()
        connection.select("INBOX", readonly=True)
        fetched = connection.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
        connection.logout()
        return b"".join(part[1] for part in fetched if isinstance(part, tuple))


@needs("curl", "swaks")
class ReadmeShellTests(Typed):
    """The lines for a shell."""

    def test_first_mail(self) -> None:
        """The README's lines send a mail by curl and one by swaks, and show the newest and the mailboxes."""
        (text,) = self.blocks("README.rst", "sh", "imaps://")
        text, first = self.unique(text, "first light")
        text, second = self.unique(text, "and again")
        shown = self.succeeds("sh", "-e", "-c", text)
        self.assertIn(first.encode(), self.subjects())
        self.assertIn(second.encode(), shown)
        self.assertIn(b"Archive", shown)

    def test_tutorial(self) -> None:
        """The tutorial's lines send a mail and read it."""
        shown = b""
        name = ""
        for text in self.blocks("docs/tutorial/first-mail.rst", "sh", "localhost"):
            if "first light" in text:
                text, name = self.unique(text, "first light")  # noqa: PLW2901  # the block as it is run
            shown += self.succeeds("sh", "-e", "-c", text)
        self.assertIn(name.encode(), shown)
        self.assertIn(b"curl has failed, as it should", shown)


class ReadmePythonTests(Typed):
    """The lines for Python."""

    def test_python(self) -> None:
        """The README's Python lines send a mail and print it."""
        (text,) = self.blocks("README.rst", "python", "imaplib")
        text, subject = self.unique(text, "from Python")
        self.assertIn(subject.encode(), self.succeeds(sys.executable, "-c", text))
