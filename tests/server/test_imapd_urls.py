"""URLAUTH over the real store."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from attrs import evolve

from moxtwisted.server.imapd.urlkeys import ACCOUNT_KEY, URLKeys
from tests.server.house import ACCOUNTS
from tests.server.test_imapd import ALICE, LETTER, IMAPCase

URL = "imap://alice%40example.org@mx.example.org/INBOX/;UID=1"


class URLTests(IMAPCase):
    def authorised(self, access: str = "user+bob%40example.org") -> str:
        line = self.log_in()
        answer = self.ask(line, f'GENURLAUTH "{URL};URLAUTH={access}" INTERNAL')
        self.assertIn("t OK", answer)
        line.drop()
        return answer.split('"')[1] if '"' in answer else answer.split()[2]

    def fetched(self, url: str, user: str = "bob@example.org") -> str:
        line = self.log_in(user)
        answer = self.ask(line, f'URLFETCH "{url}"')
        line.drop()
        return answer

    def test_round(self) -> None:
        """Bob reads what Alice lets him read, as long as she does; the key outlives sessions."""
        self.assertEqual(self.add(), 1)
        url = self.authorised()
        self.assertEqual(url, self.authorised())
        self.assertIn("It works.", self.fetched(url))
        self.assertIn("Return-Path", self.fetched(url))
        self.assertIn(" NIL", self.fetched(url, ALICE))
        self.assertIn(" NIL", self.fetched(self.authorised("submit+bob")))
        self.assertIn("It works.", self.fetched(self.authorised("anonymous"), ALICE))
        line = self.log_in()
        self.assertIn("t OK [URLMECH INTERNAL]", self.ask(line, "RESETKEY INBOX"))
        self.assertIn(" NIL", self.fetched(url))
        again = self.authorised()
        self.assertIn("It works.", self.fetched(again))
        self.assertIn("t OK all keys removed", self.ask(line, "RESETKEY"))
        self.assertIn(" NIL", self.fetched(again))
        line.drop()
        self.assertEqual(self.house.leaks(), [])

    def test_owner_disabled(self) -> None:
        """What belongs to an account that was disabled or is gone is not given out."""
        self.add()
        url = self.authorised()
        accounts = [evolve(ACCOUNTS[0], disabled="call us"), *ACCOUNTS[1:]]
        self.house.holder.current = self.house.directory(accounts=accounts)
        self.assertIn(" NIL", self.fetched(url))
        self.house.holder.current = self.house.directory(accounts=ACCOUNTS[1:])
        self.assertIn(" NIL", self.fetched(url))

    def test_no_key_for_others(self) -> None:
        """Nobody authorises the messages of somebody else, nor learns whether there is somebody."""
        self.add()
        line = self.log_in("bob@example.org")
        answers = {
            self.ask(line, f'GENURLAUTH "{URL.replace("alice", name)};URLAUTH=authuser" INTERNAL').strip()
            for name in ("alice", "nobody")
        }
        self.assertEqual(answers, {"t BAD URL is not one of yours on this server"})

    def test_asking_writes_nothing(self) -> None:
        """URLs of an account that never authorised any are looked at without a key being made for it, and take the same steps
        whether there are such an account and mailbox or not."""
        bob = self.log_in("bob@example.org")
        token = "internal:01" + "0" * 64
        steps: dict[str, list[tuple[str, str]]] = {}
        made = self.house.store.account("alice").secret
        original = URLKeys.mailbox_key
        for url in (URL, URL.replace("INBOX", "Nothing"), URL.replace("alice", "nobody")):
            asked = steps.setdefault(url, [])

            def mailbox_key(
                keys: Any, account: str, mailbox: str, *, make: bool = True, asked: Any = asked
            ) -> Any:
                asked.append((account, mailbox))
                return original(keys, account, mailbox, make=make)

            with patch.object(URLKeys, "mailbox_key", mailbox_key):
                answer = self.ask(bob, f'URLFETCH "{url};URLAUTH=anonymous:{token}"')
            self.assertIn(" NIL", answer)
            self.assertEqual(len(asked), 1, url)
        self.assertIsNone(made(ACCOUNT_KEY))
        self.assertIsNone(self.house.store.account("bob").secret(ACCOUNT_KEY))

    def test_letter(self) -> None:
        """The octets are those of the message."""
        self.add(LETTER * 1)
        self.assertIn("hello", self.fetched(self.authorised()))


class CatenateTests(IMAPCase):
    def test_over_the_store(self) -> None:
        """A message is put together of a stored one, large enough that others get their turns, and of texts."""
        large = LETTER + b"x" * 77 + b"\r\n" + b"y" * 3_000_000 + b"\r\n"
        self.add(large)
        line = self.log_in(append_limit=10_000_000)
        self.ask(line, "SELECT INBOX")
        answer = self.ask(
            line,
            "APPEND Drafts CATENATE (URL /INBOX/;UID=1 TEXT {6+}\r\nthe en URL /INBOX/;UID=1/;SECTION=TEXT)",
        )
        self.assertIn("TRYCREATE", answer)
        self.ask(line, "CREATE Drafts")
        line.protocol.dataReceived(b"u APPEND Drafts CATENATE (URL /INBOX/;UID=1 TEXT {6}\r\n")
        self.assertEqual(line.heard(), "")
        for _ in range(10):
            self.house.clock.advance(0)
        self.assertIn("+ go ahead", line.heard())
        line.protocol.dataReceived(b'the en URL ";UID=1/;SECTION=HEADER.FIELDS%20(Subject)")\r\n')
        for _ in range(10):
            self.house.clock.advance(0)
        self.assertIn("u OK [APPENDUID", line.heard())
        stored = self.house.store.account("alice")
        drafts = stored.mailbox("Drafts")
        assert drafts is not None
        state = stored.state(drafts.id)
        body = stored.open_body(state.id, state.uids[-1])
        assert body is not None
        octets = b"".join(body.read(at, 1 << 20) for at in range(0, body.size, 1 << 20))
        body.close()
        self.assertEqual(octets, b"Return-Path: <>\r\n" + large + b"the en" + b"Subject: hello\r\n\r\n")
        line.drop()
        self.assertEqual(self.house.leaks(), [])

    def test_gone_while_copying(self) -> None:
        """A client that goes while its message is put together leaves nothing behind."""
        self.add(LETTER + b"y" * 3_000_000)
        line = self.log_in(append_limit=10_000_000)
        line.protocol.dataReceived(b"u APPEND INBOX CATENATE (URL /INBOX/;UID=1 TEXT {6}\r\n")
        line.drop()
        for _ in range(10):
            self.house.clock.advance(0)
        self.assertEqual(self.house.leaks(), [])
