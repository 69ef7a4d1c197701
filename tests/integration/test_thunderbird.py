"""What Thunderbird says in a session, written down: in its order, its spelling and its case."""

from __future__ import annotations

import re

from .thunderbird import HEADERS, ThunderbirdTestCase


class ThunderbirdTests(ThunderbirdTestCase):
    """One session, from the log-in to the log-out."""

    def setUp(self) -> None:
        """Have a mailbox with five messages."""
        super().setUp()
        self.mailbox = "Thunderbird"
        other = self.server.imap()
        other.create(self.mailbox)
        other.subscribe(self.mailbox)
        self.letters = [self.letter(b"%d\r\n" % n) for n in range(5)]
        for letter in self.letters:
            other.append(self.mailbox, "", "", letter)
        self.other = other
        self.addCleanup(other.shutdown)
        self.connection = self.connect()

    def yes(self, command: str, *expected: str, octets: bytes | None = None) -> str:
        """A command that is answered OK, and with each of these patterns."""
        return self.said(self.connection, command, *expected, octets=octets)

    def list_folders(self) -> None:
        """What follows the log-in."""
        self.yes(
            'list (subscribed) "" "*" return (special-use)',
            r'\* LIST \([^)]*\\Subscribed[^)]*\) "/" "?Thunderbird"?\r',
        )
        self.yes('list "" "INBOX"', r'\* LIST \([^)]*\) "/" "?INBOX"?')
        self.yes(
            'LIST (SUBSCRIBED) "" ("Thunderbird" "Sent") RETURN (STATUS (UIDNEXT MESSAGES UNSEEN SIZE))',
            r"\* STATUS \"?Thunderbird\"? \(UIDNEXT 6 MESSAGES 5 UNSEEN 5 SIZE \d+\)",
        )

    def test_session(self) -> None:
        """Each of its commands is answered as it expects, and what it did is so for others."""
        self.log_in(self.connection)
        self.list_folders()
        said = self.yes(
            'select "Thunderbird" (CONDSTORE)',
            r"\* 5 EXISTS",
            r"\[UIDVALIDITY \d+\]",
            r"\[PERMANENTFLAGS \(.*\\\*\)\]",
        )
        modseq = int(re.findall(r"HIGHESTMODSEQ (\d+)", said)[0])
        self.yes('getquotaroot "Thunderbird"', r"\* QUOTAROOT ")
        said = self.yes("UID fetch 1:* (FLAGS)")
        self.assertEqual(
            # Mail in a folder that is not for junk is $NotJunk by the account's own rules.
            re.findall(r"\* (\d) FETCH \(UID (\d) FLAGS \(\$NotJunk\)\)", said),
            [(str(n), str(n)) for n in range(1, 6)],
        )
        said = self.yes(f"UID fetch 1:5 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS ({HEADERS})])")
        self.assertEqual(len(re.findall(r"BODY\[HEADER\.FIELDS \(From .*\)\] \{\d+\}\r\n", said)), 5)
        self.assertEqual(said.count("\r\nMessage-ID: <"), 5)
        said = self.yes("UID fetch 3 (UID RFC822.SIZE BODY[])", r"FLAGS \(\\Seen \$NotJunk\)")
        self.assertIn(self.letters[2].decode(), said)
        self.yes("uid store 4 +Flags (\\Seen $label1)", r"\* 4 FETCH .*FLAGS \(\\Seen \$label1 \$NotJunk\)")
        said = self.yes(f"UID fetch 1:* (FLAGS) (CHANGEDSINCE {modseq})")
        self.assertEqual(re.findall(r"\* \d FETCH \(UID (\d) ", said), ["3", "4"])
        self.yes(
            "UID SEARCH RETURN (MIN MAX COUNT) UNDELETED UNSEEN",
            r"\* ESEARCH \(TAG \"\d+\"\) UID MIN 1 MAX 5 COUNT 3",
        )
        self.yes('create "Thunderbird/2026"')
        self.yes('uid move 2 "Thunderbird/2026"', r"\[COPYUID \d+ 2 1\]", r"\* 2 EXPUNGE")
        self.yes('uid copy 5 "Thunderbird/2026"', r"\[COPYUID \d+ 5 2\]")
        self.yes("uid store 5 +Flags (\\Seen \\Deleted)")
        self.yes("uid expunge 5", r"\* 4 EXPUNGE")
        letter = self.letter(b"a draft\r\n")
        size = len(letter)
        self.yes(
            f'append "Thunderbird" (\\Seen \\Draft) "21-Nov-2026 12:00:00 +0000" {{{size}}}',
            r"\[APPENDUID \d+ 6\]",
            octets=letter + b"\r\n",
        )
        self.idle()
        self.yes("noop")
        self.yes("close")
        self.assertIn("* BYE", self.yes("logout"))
        self.other.select(self.mailbox, readonly=True)
        found = self.other.uid("FETCH", "1:*", "(UID FLAGS)")[1]
        self.assertEqual(len(found), 5)
        self.assertEqual(
            self.other.status(f"{self.mailbox}/2026", "(MESSAGES)")[1], [b"Thunderbird/2026 (MESSAGES 2)"]
        )

    def idle(self) -> None:
        """It hears of a new message while it waits, fetches its headers, and waits again."""
        connection = self.connection
        connection.send(b"900 IDLE\r\n")
        self.assertTrue(connection.line().startswith(b"+ "))
        letter = self.letter(b"new\r\n")
        self.other.append(self.mailbox, "", "", letter)
        self.assertEqual(connection.line(), b"* 5 EXISTS\r\n")
        connection.send(b"DONE\r\n")
        self.assertTrue(connection.line().startswith(b"900 OK"))
        self.yes(
            f"UID fetch 7:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS ({HEADERS})])",
            r"\* 5 FETCH \(UID 7 ",
        )
