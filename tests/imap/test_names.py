"""What a client of IMAP4rev2 is told of names that it writes in another way than they are kept (RFC 9051 section 6.3.9.7)."""

from __future__ import annotations

import unicodedata

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.rights import parse_modification
from moxtwisted.imap.testing import Driver
from tests.imap.test_sharing import BOX, House

KEPT = "Entwürfe"
WRITTEN = unicodedata.normalize("NFD", KEPT)


def listed(name: str, attributes: str, old: str = "") -> bytes:
    """A LIST response."""
    shown = name if name.isascii() else f'"{name}"'
    written = old if old.isascii() else f'"{old}"'
    return f'* LIST ({attributes}) "/" {shown}{f" ({chr(34)}OLDNAME{chr(34)} ({written}))" if old else ""}'.encode()


class NameTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.mail = MemoryMail()
        self.mail.make("Sent", ("\\Sent",))
        self.mail.make("Work/Old")
        self.driver = self.client("IMAP4rev2")

    def client(self, enabled: str) -> Driver:
        """One that is logged in and has something enabled."""
        made = Driver.of(self.mail)
        made.login()
        made.command(f"ENABLE {enabled}")
        return made

    def told(self, line: str, driver: Driver | None = None) -> list[bytes]:
        """The LIST responses to a command, which is OK."""
        answers = (driver or self.driver).command(line)
        self.assertIn(b" OK ", answers[-1], line)
        return [answer for answer in answers if answer.startswith(b"* LIST ")]

    def test_attributes_of_the_selected(self) -> None:
        """RFC 9051 section 6.3.2: the mailbox's attributes are those that LIST tells."""
        self.mail.subscribed().discard("Work")
        for word in ("SELECT", "EXAMINE"):
            self.assertEqual(
                self.told(f"{word} Sent"), [listed("Sent", "\\Subscribed \\HasNoChildren \\Sent")]
            )
            self.assertEqual(self.told(f"{word} Work"), [listed("Work", "\\HasChildren")])

    def test_select(self) -> None:
        """SELECT and EXAMINE must tell; INBOX in another case is such a name (the example of section 8)."""
        self.mail.make(KEPT)
        attributes = "\\Subscribed \\HasNoChildren"
        for word in ("SELECT", "EXAMINE"):
            self.assertEqual(self.told(f'{word} "{WRITTEN}"'), [listed(KEPT, attributes, WRITTEN)])
            self.assertEqual(self.told(f'{word} "{KEPT}"'), [listed(KEPT, attributes)])
            self.assertEqual(self.told(f"{word} inbox"), [listed("INBOX", attributes, "inbox")])

    def test_create(self) -> None:
        """CREATE tells; a separator at the end is no other name."""
        attributes = "\\Subscribed \\HasNoChildren"
        self.assertEqual(self.told(f'CREATE "{WRITTEN}"'), [listed(KEPT, attributes, WRITTEN)])
        self.assertEqual(self.told("CREATE New/"), [])
        self.assertEqual(self.told(f'CREATE "New/{KEPT}"'), [])

    def test_delete(self) -> None:
        r"""DELETE tells, with \NonExistent."""
        self.mail.make(KEPT)
        self.mail.subscribed().discard(KEPT)
        gone = "\\NonExistent \\HasNoChildren"
        self.assertEqual(self.told(f'DELETE "{WRITTEN}"'), [listed(KEPT, gone, WRITTEN)])
        self.assertEqual(self.told("DELETE Sent"), [])

    def test_rename(self) -> None:
        """Section 6.3.6: RENAME tells the old name as it was written, when either came out different."""
        self.mail.make(KEPT)
        attributes = "\\Subscribed \\HasNoChildren"
        self.assertEqual(self.told(f'RENAME "{WRITTEN}" Plain'), [listed("Plain", attributes, WRITTEN)])
        self.assertEqual(self.told(f'RENAME Plain "{WRITTEN}"'), [listed(KEPT, attributes, "Plain")])
        self.assertEqual(self.told(f'RENAME "{KEPT}" Plain'), [])
        # INBOX stays.
        self.assertEqual(self.told("RENAME inbox Moved"), [])

    def test_append(self) -> None:
        """APPEND tells, whether or not a literal is in it."""
        self.mail.make(KEPT)
        self.mail.add("INBOX", b"Subject: x\r\n\r\n")
        attributes = "\\Subscribed \\HasNoChildren"
        for message in ("{4+}\r\na: b", 'CATENATE (URL "/INBOX/;UID=1")'):
            self.assertEqual(self.told(f'APPEND "{WRITTEN}" {message}'), [listed(KEPT, attributes, WRITTEN)])
            self.assertEqual(self.told(f'APPEND "{KEPT}" {message}'), [])

    def test_not_listed(self) -> None:
        """RFC 4314: what others share without the right to list it is there all the same."""
        house = House()
        house.alice.put(house.alice.find("Box"), "bob", parse_modification("r"))
        bob = house.clients["bob"]
        bob.command("ENABLE IMAP4rev2")
        self.assertEqual(
            self.told(f"SELECT {BOX}", bob), [b'* LIST (\\HasNoChildren) "/" "Other Users/alice/Box"']
        )

    def test_refused(self) -> None:
        """Nothing is told of what did not happen."""
        for line in ("SELECT", "DELETE"):
            answers = self.driver.command(f'{line} "{WRITTEN}"')
            self.assertEqual([answer for answer in answers if answer.startswith(b"* LIST ")], [])
            self.assertIn(b" NO ", answers[-1])

    def test_others(self) -> None:
        """Who did not enable IMAP4rev2 is told nothing."""
        driver = self.client("UTF8=ACCEPT")
        for line in (f'CREATE "{WRITTEN}"', f'SELECT "{WRITTEN}"', f'DELETE "{WRITTEN}"', "SELECT inbox"):
            self.assertEqual(self.told(line, driver), [], line)
