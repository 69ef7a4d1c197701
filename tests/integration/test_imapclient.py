"""IMAPClient, the library: what a Python program does with a mailbox, the extensions that it knows included."""

from __future__ import annotations

import datetime as dt
from typing import Any

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from .live import ACCOUNT, CLIENT_SECONDS, IMAP, IMAPS, PASSWORD, LiveTestCase, unverified


class IMAPClientTests(LiveTestCase):
    """A mailbox of its own for each test."""

    def setUp(self) -> None:
        """Log in and make the mailbox."""
        super().setUp()
        self.client = self.connect()
        self.mailbox = f"imapclient-{self._testMethodName}"
        self.client.create_folder(self.mailbox)

    def connect(self) -> Any:
        """A client that is logged in."""
        client: Any = IMAPClient(
            self.server.ip, IMAPS, ssl_context=unverified(), timeout=CLIENT_SECONDS, use_uid=True
        )
        client.login(ACCOUNT, PASSWORD)
        self.addCleanup(client.shutdown)
        return client

    def add(self, count: int) -> list[bytes]:
        """Append messages."""
        letters = [self.letter(b"%d\r\n" % n) for n in range(count)]
        for letter in letters:
            answer = self.client.append(
                self.mailbox, letter, (b"\\Seen",), dt.datetime(2024, 2, 29, 12, 0, tzinfo=dt.UTC)
            )
            self.assertIn(b"APPENDUID", answer)
        return letters

    def test_round(self) -> None:
        """What is appended is found, fetched with its octets, date and structure, flagged, copied, moved and expunged."""
        letters = self.add(5)
        selected = self.client.select_folder(self.mailbox)
        self.assertEqual((selected[b"EXISTS"], selected[b"UIDNEXT"]), (5, 6))
        uids = self.client.search(["SEEN", "SUBJECT", "integration"])
        self.assertEqual(uids, [1, 2, 3, 4, 5])
        self.assertEqual(self.client.search("UNSEEN"), [])
        fetched = self.client.fetch(
            uids, ["BODY.PEEK[]", "FLAGS", "INTERNALDATE", "ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE"]
        )
        self.assertEqual([fetched[uid][b"BODY[]"] for uid in uids], letters)
        one = fetched[3]
        self.assertEqual(one[b"INTERNALDATE"].timestamp(), 1709208000)
        self.assertEqual(one[b"ENVELOPE"].subject, b"integration")
        self.assertEqual(one[b"ENVELOPE"].from_[0].mailbox, b"sender")
        self.assertFalse(one[b"BODYSTRUCTURE"].is_multipart)
        flags = self.client.add_flags(3, [b"\\Flagged", b"$Work"])[3]
        # Mail that a user puts away is $NotJunk by the account's own rules.
        self.assertEqual(sorted(flags), [b"$NotJunk", b"$Work", b"\\Flagged", b"\\Seen"])
        self.client.create_folder(self.mailbox + "/below")
        self.client.copy([1, 2], self.mailbox + "/below")
        self.client.move([4, 5], self.mailbox + "/below")
        self.client.delete_messages([1])
        self.client.expunge([1])
        self.assertEqual(self.client.search(), [2, 3])
        status = self.client.folder_status(self.mailbox + "/below", ["MESSAGES", "UNSEEN"])
        self.assertEqual(status, {b"MESSAGES": 4, b"UNSEEN": 0})

    def test_sort_and_threads(self) -> None:
        """SORT and THREAD are understood as it understands them."""
        first = self.letter(headers=b"X-Number: 1\r\n")
        name = first.partition(b"Message-ID: ")[2].partition(b"\r\n")[0]
        self.client.append(self.mailbox, first)
        self.client.append(
            self.mailbox, self.letter(b"longer\r\n" * 100, headers=b"In-Reply-To: " + name + b"\r\n")
        )
        self.client.append(
            self.mailbox,
            self.letter(headers=b"Subject: another\r\n").replace(b"Subject: integration\r\n", b""),
        )
        self.client.select_folder(self.mailbox)
        self.assertEqual(self.client.sort("REVERSE SIZE")[0], 2)
        self.assertEqual(self.client.sort(["SUBJECT"], ["NOT", "DELETED"]), [3, 1, 2])
        self.assertEqual(self.client.thread("REFERENCES"), ((1, 2), (3,)))

    def test_idle(self) -> None:
        """While it idles it hears of a message that another session appends, and of one that is expunged."""
        self.add(1)
        self.client.select_folder(self.mailbox)
        self.client.idle()
        other = self.connect()
        other.append(self.mailbox, self.letter())
        self.assertIn((2, b"EXISTS"), self.client.idle_check(timeout=CLIENT_SECONDS))
        other.select_folder(self.mailbox)
        other.delete_messages([1])
        other.expunge([1])
        heard: list[Any] = []
        while (1, b"EXPUNGE") not in heard:
            news = self.client.idle_check(timeout=CLIENT_SECONDS)
            self.assertTrue(news)
            heard += news
        self.assertEqual(self.client.idle_done()[0], b"IDLE completed")

    def test_modseq_and_enable(self) -> None:
        """CONDSTORE as it speaks it: ENABLE, the modseq of SELECT, FETCH of what changed since."""
        self.add(3)
        self.assertEqual(self.client.enable("CONDSTORE"), [b"CONDSTORE"])
        modseq = self.client.select_folder(self.mailbox)[b"HIGHESTMODSEQ"]
        self.client.add_flags([2], [b"\\Flagged"])
        changed = self.client.fetch([1, 2, 3], ["FLAGS"], [f"CHANGEDSINCE {modseq}"])
        self.assertEqual([*changed], [2])
        self.assertGreater(changed[2][b"MODSEQ"][0], modseq)

    def test_names(self) -> None:
        """Namespace, special-use mailboxes, names in other scripts, quotas: as lists of Python values."""
        self.assertEqual(self.client.namespace().personal, (("", "/"),))
        name = f"{self.mailbox}/Entwürfe & 日本語"
        self.client.create_folder(name)
        self.assertIn(name, [found for _, _, found in self.client.list_folders()])
        self.client.subscribe_folder(name)
        self.assertIn(name, [found for _, _, found in self.client.list_sub_folders()])
        self.assertEqual(self.client.find_special_folder(b"\\Sent"), "Sent")
        self.client.rename_folder(name, f"{self.mailbox}/Später")
        self.client.delete_folder(f"{self.mailbox}/Später")
        self.assertIsNotNone(self.client.get_quota_root(self.mailbox))
        with self.assertRaises(IMAPClientError):
            self.client.select_folder(name)

    def test_starttls(self) -> None:
        """STARTTLS, then SASL PLAIN."""
        client: Any = IMAPClient(self.server.ip, IMAP, ssl=False, timeout=CLIENT_SECONDS)
        self.addCleanup(client.shutdown)
        client.starttls(unverified())
        client.plain_login(ACCOUNT, PASSWORD)
        self.assertTrue(client.folder_exists("INBOX"))
