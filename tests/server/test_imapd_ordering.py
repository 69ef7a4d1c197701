"""SORT, THREAD, PARTIAL, SAVEDATE and the collation of searches, over the real store."""

from __future__ import annotations

from tests.server.house import Line
from tests.server.test_imapd import IMAPCase

HEADS = (
    "From: Zoe <a@x.example>\r\nSubject: =?utf-8?q?=C3=84pfel?=\r\nDate: Tue, 1 Feb 2022 10:00:00 +0000\r\nMessage-ID: <1@x>\r\n",
    "From: Anna <z@x.example>\r\nSubject: Re: birnen\r\nDate: 1 Feb 2022 09:00 -0300\r\nMessage-ID: <2@x>\r\nReferences: <0@x> <1@x>\r\n",
    "From: Änne <m@x.example>\r\nSubject: Apfel\r\nDate: nonsense\r\nMessage-ID: <3@x>\r\nIn-Reply-To: <2@x>\r\n",
    "From: m@y.example\r\nSubject: [list] Re: BIRNEN (fwd)\r\nDate: Tue, 1 Feb 2022 11:00:00 +0000\r\nMessage-ID: <4@x>\r\n",
)


class OrderingTests(IMAPCase):
    def four(self) -> Line:
        """A client that put four messages into INBOX and selected it."""
        line = self.log_in()
        for head in HEADS:
            octets = (head + "\r\nMüllers Kühe\r\n").encode()
            self.ask(line, f"APPEND INBOX {{{len(octets)}+}}\r\n" + octets.decode())
        self.ask(line, "SELECT INBOX")
        return line

    def found(self, line: Line, command: str) -> str:
        """The untagged response."""
        return self.ask(line, command).partition("\r\n")[0]

    def test_sort(self) -> None:
        """Sort keys come from what the store keeps: encoded words decoded, dates in UTC, INTERNALDATE for a broken one."""
        line = self.four()
        for criteria, order in {
            "SUBJECT": "3 1 2 4",
            "REVERSE SUBJECT": "2 4 1 3",
            "DATE": "1 4 2 3",
            "FROM": "1 3 4 2",
            "DISPLAYFROM": "2 3 4 1",
            "TO REVERSE DATE": "3 2 4 1",
        }.items():
            self.assertEqual(
                self.found(line, f"UID SORT ({criteria}) UTF-8 ALL"), f"* SORT {order}", criteria
            )
        self.assertEqual(
            self.found(line, "SORT RETURN (PARTIAL -1:-2 COUNT) (DATE) UTF-8 SUBJECT apfel"),
            '* ESEARCH (TAG "t") PARTIAL (-1:-2 3) COUNT 1',
        )

    def test_sort_kept_up_to_date(self) -> None:
        """A result in an order that is not the mailbox's is kept up to date: nobody leaves it, and newcomers find their place."""
        for criteria, position in {
            "REVERSE SUBJECT": 4,
            "REVERSE SIZE": 5,
            "FROM": 4,
            "REVERSE ARRIVAL": 1,
        }.items():
            line = self.four()
            self.ask(line, f"UID SORT RETURN (UPDATE COUNT) ({criteria}) UTF-8 UID 1:4 UNSEEN")
            before = self.found(line, f"UID SORT RETURN (ALL) ({criteria}) UTF-8 UID 1:4").rpartition(" ")[2]
            answer = self.ask(line, "STORE 1 +FLAGS.SILENT (\\Seen)")
            self.assertIn(" REMOVEFROM (", answer, (criteria, before))
            answer = self.ask(line, "STORE 1 -FLAGS.SILENT (\\Seen)")
            self.assertIn(" ADDTO (", answer, (criteria, position))

    def test_thread(self) -> None:
        """Threads follow references, and subjects for those without."""
        line = self.four()
        self.assertEqual(self.found(line, "THREAD REFERENCES UTF-8 ALL"), "* THREAD (1 2 3)(4)")
        self.assertEqual(self.found(line, "THREAD ORDEREDSUBJECT UTF-8 ALL"), "* THREAD (1)(4 2)(3)")
        self.assertEqual(self.found(line, "UID FETCH 1:* (UID) (PARTIAL -1:-1)"), "* 4 FETCH (UID 4)")

    def test_savedate(self) -> None:
        """RFC 8514 section 3: a copy gets the time of copying and keeps its INTERNALDATE; the original keeps both."""
        line = self.four()
        self.ask(line, "CREATE Trash")
        before = self.found(line, "FETCH 2 (SAVEDATE INTERNALDATE)")
        saved, _, arrived = before.partition("SAVEDATE ")[2].rstrip(")").partition(" INTERNALDATE ")
        self.assertEqual(saved, arrived)
        self.house.clock.advance(3 * 86400)
        line = self.log_in()
        for command, mailbox in (("COPY 2 Trash", "Trash"), ("MOVE 2 Trash", "Trash")):
            self.ask(line, "SELECT INBOX")
            self.assertEqual(self.found(line, "FETCH 2 (SAVEDATE INTERNALDATE)"), before)
            self.ask(line, command)
            self.ask(line, f"SELECT {mailbox}")
            copy = self.found(line, "FETCH * (SAVEDATE INTERNALDATE)")
            self.assertIn(f"INTERNALDATE {arrived})", copy)
            self.assertNotIn(f"SAVEDATE {saved}", copy)
        self.assertEqual(self.found(line, "SEARCH YOUNGER 86400"), "* SEARCH")
        self.assertEqual(self.found(line, "SEARCH SAVEDATESUPPORTED OLDER 259200"), "* SEARCH 1 2")

    def test_collation(self) -> None:
        """RFC 5255 section 4.2: text is compared without case and as it is composed, indexed or not."""
        line = self.four()
        account = self.house.store.account("alice")
        for indexed in (False, True):
            if indexed:
                self.successResultOf(account.index.complete())
            for needle, found in {
                "müllers": " 1 2 3 4",
                "MU\u0308LLERS": " 1 2 3 4",
                "mu": " 1 2 3 4",
                "muller": "",
                "ＫÜＨＥ": " 1 2 3 4",
            }.items():
                octets = needle.encode()
                answer = self.ask(line, f"SEARCH CHARSET UTF-8 BODY {{{len(octets)}+}}\r\n{needle}")
                self.assertEqual(answer.partition("\r\n")[0], f"* SEARCH{found}", needle)
