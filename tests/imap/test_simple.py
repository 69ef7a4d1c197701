"""A backend of a program's own by ``SimpleMailbox``: what clients are told, and what the program is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import LimitError
from moxtwisted.imap import backend
from moxtwisted.imap.simple import SimpleAuthenticator, SimpleMail, SimpleMailbox
from moxtwisted.imap.testing import Driver, counted_entropy
from moxtwisted.message.flags import FLAGGED, MessageFlags


def _missing(key: str) -> Any:
    raise FileNotFoundError(key)


class Read(SimpleMailbox):
    """A dictionary, which can only be read."""

    def __init__(self, **texts: str) -> None:
        super().__init__(77)
        self.texts: dict[str, str] = dict(texts)

    def keys(self) -> list[str]:
        """In the order in which they came."""
        return list(self.texts)

    def octets(self, key: str) -> bytes | None:
        """A message; none for what is gone, or was never more than a name."""
        text = self.texts.get(key, "")
        return f"Subject: {key}\r\n\r\n{text}\r\n".encode() if text else None

    def date(self, key: str) -> int:
        """Always the same."""
        return 1_700_000_000


class Removed(Read):
    """Its messages can go."""

    def remove(self, key: str) -> None:
        """Forget one."""
        self.texts.pop(key, None)


class Full(Removed):
    """Everything; there is room for four messages."""

    def __init__(self, **texts: str) -> None:
        super().__init__(**texts)
        self.kept: dict[str, MessageFlags] = {}
        self.dates: list[int] = []

    def add(self, octets: bytes, flags: MessageFlags, date: int) -> str:
        """Keep one, under its subject."""
        if len(self.texts) == 4:
            raise LimitError("four", public_text="there is room for four")
        header, _, body = octets.decode().partition("\r\n\r\n")
        key = header.removeprefix("Subject: ")
        self.texts[key] = body.removesuffix("\r\n")
        self.dates.append(date)
        return key

    def flags(self, key: str) -> MessageFlags:
        """Those that were kept."""
        return self.kept.get(key, super().flags(key))

    def keep_flags(self, key: str, flags: MessageFlags) -> None:
        """Keep them."""
        self.kept[key] = flags


class Signalling(Full):
    """Calls ``look`` whenever something happens."""

    def __init__(self, **texts: str) -> None:
        super().__init__(**texts)
        self.look: Callable[[], None] = lambda: None

    def add(self, octets: bytes, flags: MessageFlags, date: int) -> str:
        """Keep one."""
        key = super().add(octets, flags, date)
        self.look()
        return key

    def remove(self, key: str) -> None:
        """Forget one."""
        super().remove(key)
        self.look()


class Failing(Read):
    """Of which one message went: the method called so raises."""

    failing = ""

    def octets(self, key: str) -> bytes | None:
        """A message."""
        self._check("octets", key)
        return super().octets(key)

    def date(self, key: str) -> int:
        """When it came."""
        self._check("date", key)
        return super().date(key)

    def size(self, key: str) -> int:
        """Its octets."""
        self._check("size", key)
        return super().size(key)

    def _check(self, method: str, key: str) -> None:
        if self.failing == method and key == "two":
            raise FileNotFoundError(key)


class Stuck(Removed):
    """Of which one message does not go."""

    def remove(self, key: str) -> None:
        """Forget one."""
        if key == "two":
            raise LimitError("two", public_text="it is wanted")
        super().remove(key)


class Unkept(Removed):
    """Of which flags of one message cannot be kept, nor another be read."""

    def keep_flags(self, key: str, flags: MessageFlags) -> None:
        """No room for this one."""
        if key == "two":
            raise LimitError("two", public_text="no room for flags")

    def octets(self, key: str) -> bytes | None:
        """A message."""
        if key == "three":
            raise LimitError("three", public_text="it cannot be read")
        return super().octets(key)


class SimpleMailboxTests(SynchronousTestCase):
    """One or two mailboxes, and a client that has the first one open."""

    def driver(self, inbox: SimpleMailbox, **others: SimpleMailbox) -> Driver:
        """A client of them."""
        self.mail = SimpleMail({"INBOX": inbox, **others}, lambda: 1_600_000_000.5)
        authenticator = SimpleAuthenticator({"alice": ("secret", self.mail)}, counted_entropy())
        driver = Driver.of(authenticator=authenticator)
        driver.login()
        self.selected = b"\n".join(driver.command("SELECT INBOX"))
        return driver

    def says(self, driver: Driver, command: str, *expected: str) -> None:
        """The responses to a command, without tags."""
        found = [line.decode().partition(" ")[2] for line in driver.command(command)]
        self.assertEqual(found, list(expected), command)

    def test_read(self) -> None:
        """Messages are listed, fetched whole and in parts, and found by what is in them."""
        driver = self.driver(Read(one="first", two="zweite, größer"))
        self.assertIn(b"* 2 EXISTS", self.selected)
        self.assertIn(b"[UIDVALIDITY 77]", self.selected)
        size = len("Subject: two\r\n\r\nzweite, größer\r\n".encode())
        self.says(
            driver, "FETCH 2 (UID RFC822.SIZE)", f"2 FETCH (UID 2 RFC822.SIZE {size})", "OK FETCH completed"
        )
        (response, _) = driver.command("FETCH 1 (INTERNALDATE ENVELOPE BODYSTRUCTURE BODY.PEEK[])")
        self.assertIn(b'INTERNALDATE "14-Nov-2023 22:13:20 +0000"', response)
        self.assertIn(b'ENVELOPE (NIL "one" NIL', response)
        self.assertIn(b'BODYSTRUCTURE ("TEXT" "PLAIN"', response.upper())
        self.assertTrue(response.endswith(b"BODY[] {23}\r\nSubject: one\r\n\r\nfirst\r\n)"), response)
        driver.command("ENABLE UTF8=ACCEPT")
        self.says(driver, 'SEARCH TEXT "GRÖßER"', "SEARCH 2", "OK SEARCH completed")
        self.says(driver, "SEARCH SUBJECT one", "SEARCH 1", "OK SEARCH completed")
        sizes = 23 + size
        self.says(
            driver,
            "STATUS INBOX (MESSAGES UIDNEXT UNSEEN SIZE DELETED)",
            f"STATUS INBOX (MESSAGES 2 UIDNEXT 3 UNSEEN 2 SIZE {sizes} DELETED 0)",
            "OK STATUS completed",
        )

    def test_only_read(self) -> None:
        r"""What a mailbox cannot do is refused, and is not among the flags that it offers; marks are taken."""
        driver = self.driver(Read(one="first"), Other=Full())
        offered = self.selected.partition(b"PERMANENTFLAGS")[2].partition(b")")[0]
        self.assertIn(b"\\Seen", offered)
        self.assertNotIn(b"\\Deleted", offered)
        for command in (
            "STORE 1 +FLAGS (\\Deleted)",
            "MOVE 1 Other",
            "APPEND INBOX {5+}\r\nhello",
            "CREATE x",
            "DELETE Other",
            "RENAME Other x",
        ):
            self.assertRegex(driver.command(command)[-1], rb"a\d+ NO \[NOPERM\] ", command)
        self.says(
            driver,
            "STORE 1 FLAGS (\\Seen \\Deleted $Mine)",
            "1 FETCH (FLAGS (\\Seen $Mine))",
            "OK STORE completed",
        )
        self.says(driver, "EXPUNGE", "OK EXPUNGE completed")

    def test_nothing_at_all(self) -> None:
        """With the rights l and r it is opened READ-ONLY."""
        mailbox = Read(one="first")
        mailbox.rights = frozenset("lr")
        driver = self.driver(mailbox)
        self.assertIn(b"OK [READ-ONLY] SELECT completed", self.selected)
        self.assertIn(b"NO", driver.command("STORE 1 +FLAGS (\\Seen)")[-1])

    def test_replacing_some_flags(self) -> None:
        """RFC 4314 section 4: STORE leaves alone what the rights do not let it change, whatever it replaces."""
        mailbox = Read(one="first", two="second", three="third")
        driver = self.driver(mailbox)
        driver.command("STORE 1:2 +FLAGS.SILENT (\\Flagged $Mine)")
        mailbox.rights = frozenset("lrs")
        driver.command("NOOP")
        self.assertEqual(
            driver.command("STORE 1:3 FLAGS (\\Seen \\Draft)")[:3],
            [
                b"* 1 FETCH (FLAGS (\\Seen \\Flagged $Mine))",
                b"* 2 FETCH (FLAGS (\\Seen \\Flagged $Mine))",
                b"* 3 FETCH (FLAGS (\\Seen))",
            ],
        )
        mailbox.rights = frozenset("lrw")
        self.assertEqual(driver.command("STORE 2 FLAGS ()")[0], b"* 2 FETCH (FLAGS (\\Seen))")
        self.assertEqual(driver.command("FETCH 1 FLAGS")[0], b"* 1 FETCH (FLAGS (\\Seen \\Flagged $Mine))")

    def test_removing(self) -> None:
        """EXPUNGE removes from the program what a client has marked, and QRESYNC tells of it later."""
        mailbox = Removed(one="first", two="second", three="third")
        driver = self.driver(mailbox)
        driver.command("STORE 1,3 +FLAGS.SILENT (\\Deleted)")
        self.says(driver, "UID EXPUNGE 2:3", "3 EXPUNGE", "OK UID EXPUNGE completed")
        self.assertEqual(list(mailbox.texts), ["one", "two"])
        self.says(driver, "EXPUNGE", "1 EXPUNGE", "OK EXPUNGE completed")
        self.assertEqual(list(mailbox.texts), ["two"])
        driver.command("UNSELECT")
        driver.command("ENABLE QRESYNC")
        self.assertIn(b"* VANISHED (EARLIER) 1,3", driver.command("SELECT INBOX (QRESYNC (77 2))"))

    def test_adding(self) -> None:
        """APPEND gives the program a message with its date, and the client its UID."""
        mailbox = Full(one="first")
        driver = self.driver(mailbox)
        answer = driver.command(
            'APPEND INBOX (\\Flagged) "14-Nov-2023 22:13:20 +0000" {14+}\r\nSubject: a\r\n\r\n {15+}\r\nSubject: b\r\n\r\nx'
        )
        self.assertIn(b"* 3 EXISTS", answer)
        self.assertIn(b"[APPENDUID 77 2:3]", answer[-1])
        self.assertEqual(mailbox.texts, {"one": "first", "a": "", "b": "x"})
        self.assertEqual(mailbox.dates, [1_700_000_000, 1_600_000_000])
        self.says(driver, "SEARCH FLAGGED", "SEARCH 2", "OK SEARCH completed")

    def test_all_or_none(self) -> None:
        """When the second message cannot be kept, the first is removed again."""
        mailbox = Full(one="first", two="second", three="third")
        driver = self.driver(mailbox)
        answer = driver.command("APPEND INBOX {14+}\r\nSubject: a\r\n\r\n {14+}\r\nSubject: b\r\n\r\n")
        self.assertIn(b"NO [LIMIT] there is room for four", answer[-1])
        self.assertEqual(list(mailbox.texts), ["one", "two", "three"])

    def test_copying_and_moving(self) -> None:
        """Messages go to another mailbox with their flags and dates."""
        mailbox, other = Removed(one="first", two="second"), Full(old="there")
        driver = self.driver(mailbox, Other=other)
        driver.command("STORE 2 +FLAGS.SILENT ($Mine)")
        self.assertIn(b"[COPYUID 77 1 2]", driver.command("COPY 1 Other")[-1])
        moved = driver.command("MOVE 2 Other")
        self.assertEqual(moved[:2], [b"* OK [COPYUID 77 2 3] moved", b"* 2 EXPUNGE"])
        self.assertEqual(list(mailbox.texts), ["one"])
        self.assertEqual(other.texts, {"old": "there", "one": "first", "two": "second"})
        self.assertIn(b"NO [TRYCREATE]", driver.command("COPY 1 Nowhere")[-1])
        driver.command("SELECT Other")
        self.says(driver, "SEARCH KEYWORD $Mine", "SEARCH 3", "OK SEARCH completed")

    def test_flags(self) -> None:
        """Flags come from the program, and it hears of those that change."""
        mailbox = Full(one="first", two="second")
        mailbox.kept["two"] = MessageFlags.of(FLAGGED)
        driver = self.driver(mailbox)
        self.says(driver, "SEARCH FLAGGED", "SEARCH 2", "OK SEARCH completed")
        driver.command("STORE 1:2 +FLAGS (\\Flagged)")
        self.assertEqual(mailbox.kept, dict.fromkeys(("one", "two"), MessageFlags.of(FLAGGED)))

    def test_what_happens_in_the_program(self) -> None:
        """Who waits in IDLE is told after ``refresh`` of what came and went; UIDs are given once."""
        mailbox = Read(one="first", two="second")
        driver = self.driver(mailbox)
        driver.send(b"i IDLE\r\n")
        driver.received()
        del mailbox.texts["one"]
        mailbox.texts.update(three="third", four="fourth")
        self.mail.refresh()
        driver.flush()
        self.assertEqual(driver.received(), b"* 1 EXPUNGE\r\n* 3 EXISTS\r\n")
        driver.send(b"DONE\r\n")
        self.says(driver, "UID SEARCH ALL", "SEARCH 2 3 4", "OK SEARCH completed")
        before = mailbox.view.version
        self.mail.refresh()
        self.assertEqual(mailbox.view.version, before)

    def test_gone_before_it_is_noticed(self) -> None:
        """A message that is gone is left out, whatever is asked of it."""
        mailbox = Read(one="first", two="second", never="")
        driver = self.driver(mailbox, Other=Full())
        del mailbox.texts["two"]
        for command in ("FETCH 1:* (BODY.PEEK[])", "FETCH 1:* (ENVELOPE)"):
            self.assertEqual(sum(b" FETCH (" in line for line in driver.command(command)), 1, command)
        self.says(driver, "SEARCH TEXT s", "SEARCH 1", "OK SEARCH completed")
        self.assertIn(b"[COPYUID 77 1 1]", driver.command("COPY 1:* Other")[-1])

    def test_gone_by_its_date(self) -> None:
        """It is the date or the size that says so."""
        for gone in (lambda key: None, _missing):
            mail = Read(a="one")
            mail.refresh()
            with mock.patch.object(mail, "size", _missing):
                self.assertEqual(mail.rows([1], backend.SIZE), [])
            with mock.patch.object(mail, "date", gone):
                self.assertEqual(mail.rows([1], backend.INTERNALDATE), [])
            self.assertEqual(len(mail.rows([1], backend.INTERNALDATE)), 1)

    def test_subscriptions(self) -> None:
        """At first all mailboxes are subscribed."""
        driver = self.driver(Read(), Other=Full())
        line: Callable[[str], str] = 'LIST (\\Subscribed \\HasNoChildren) "/" {}'.format
        told: list[Any] = [line("INBOX"), line("Other")]
        self.says(driver, 'LIST (SUBSCRIBED) "" *', *told, "OK LIST completed")
        driver.command("UNSUBSCRIBE Other")
        self.says(driver, 'LIST (SUBSCRIBED) "" *', told[0], "OK LIST completed")
        driver.command("SUBSCRIBE Other")
        self.says(driver, 'LIST (SUBSCRIBED) "" *', *told, "OK LIST completed")

    def test_keys_that_are_taken(self) -> None:
        """A program that gives a new message the key of another one loses neither: the client is refused."""
        mailbox, other = Full(one="first", two="second"), Full(one="first")
        driver = self.driver(mailbox, Other=other)
        for command in (
            "MOVE 1 INBOX",
            "COPY 2,1 Other",
            "APPEND INBOX {14+}\r\nSubject: a\r\n\r\n {14+}\r\nSubject: a\r\n\r\n",
        ):
            self.assertIn(b"NO [CANNOT] this message is there already", driver.command(command)[-1], command)
        self.assertEqual(mailbox.texts, {"one": "first", "two": "second"})
        self.assertEqual(other.texts, {"one": "first"})
        self.assertEqual((list(mailbox.view.uids), list(other.view.uids)), ([1, 2], [1]))

    def test_a_program_that_looks_at_once(self) -> None:
        """``refresh`` may be called by what adds or removes: the message has one UID, and the client's flags."""
        mailbox, other = Signalling(one="first", two="second", gone="x"), Signalling()
        driver = self.driver(mailbox, Other=other)
        mailbox.look = other.look = self.mail.refresh
        del mailbox.texts["gone"]
        driver.command("STORE 1 +FLAGS.SILENT (\\Flagged)")
        answer = driver.command("MOVE 1:3 Other")
        self.assertIn(b"* OK [COPYUID 77 1:2 1:2] moved", answer)
        self.assertTrue(answer[-1].endswith(b"OK MOVE completed"), answer)
        self.assertEqual((mailbox.texts, other.texts), ({}, {"one": "first", "two": "second"}))
        driver.command("SELECT Other")
        self.says(driver, "SEARCH FLAGGED", "SEARCH 1", "OK SEARCH completed")
        driver.command("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
        self.says(driver, "EXPUNGE", "2 EXPUNGE", "1 EXPUNGE", "OK EXPUNGE completed")

    def test_methods_that_do_not_find_it(self) -> None:
        """What a program's methods raise for a message that went is no error of the server."""
        mailbox = Failing(one="first", two="second", three="third")
        driver = self.driver(mailbox, Other=Full())
        for method in ("size", "octets", "date"):
            mailbox.failing = method
            for message in mailbox.view.messages.values():
                message.size = message.rendered = None
            for command in (
                "FETCH 1:* (RFC822.SIZE ENVELOPE INTERNALDATE)",
                "SEARCH TEXT s",
                "STATUS INBOX (SIZE)",
            ):
                self.assertRegex(
                    driver.command(command)[-1], rb"^a\d+ (OK|NO \[EXPUNGEISSUED\])", (method, command)
                )
            answer = driver.command("COPY 2 Other")[-1]
            self.assertEqual(b"COPYUID" in answer, method == "size", (method, answer))

    def test_removing_fails(self) -> None:
        """When one cannot be removed, those before it are told to be gone."""
        mailbox = Stuck(one="first", two="second", three="third")
        driver = self.driver(mailbox)
        driver.command("STORE 1:3 +FLAGS.SILENT (\\Deleted)")
        self.says(driver, "EXPUNGE", "1 EXPUNGE", "NO [LIMIT] it is wanted")
        self.assertEqual(list(mailbox.texts), ["two", "three"])
        self.assertEqual(list(mailbox.view.uids), [2, 3])

    def test_flags_that_cannot_be_kept(self) -> None:
        """Flags that the program could not keep are those of before, for all who look; those before them are kept."""
        mailbox = Unkept(one="first", two="second")
        driver = self.driver(mailbox)
        before = mailbox.view.highestmodseq
        answer = driver.command("STORE 1:2 +FLAGS (\\Flagged)")
        self.assertEqual(answer[-1], b"a3 NO [LIMIT] no room for flags")
        self.assertEqual([flags.names for flags in mailbox.view.flags], [("\\Flagged",), ()])
        self.says(driver, "SEARCH FLAGGED", "SEARCH 1", "OK SEARCH completed")
        self.assertGreater(mailbox.view.modseqs[1], before)

    def test_seen_that_cannot_be_kept(self) -> None:
        """A message can be read also when the program cannot keep that it was."""
        driver = self.driver(Unkept(two="second"))
        answer = driver.command("FETCH 1 BODY[TEXT]")
        self.assertEqual(answer[0], b"* 1 FETCH (BODY[TEXT] {8}\r\nsecond\r\n)")
        self.assertEqual(answer[-1], b"a3 OK FETCH completed")
        self.says(driver, "FETCH 1 FLAGS", "1 FETCH (FLAGS ())", "OK FETCH completed")

    def test_one_that_cannot_be_read(self) -> None:
        """A message that cannot be read is no reason not to open the mailbox."""
        driver = self.driver(Unkept(one="first", three="third"))
        self.assertIn(b"2 EXISTS", self.selected)
        self.says(driver, "FETCH 2 BODY.PEEK[]", "NO [LIMIT] it cannot be read")
        self.assertIn(b"OK", driver.command("FETCH 1 BODY.PEEK[]")[-1])
        self.assertIn(b"OK", driver.command('LIST "" * RETURN (STATUS (SIZE))')[-1])

    def test_many_subscriptions(self) -> None:
        """There is an end to what can be subscribed."""
        driver = self.driver(Read())
        self.mail.subscribed.update(f"x{n}" for n in range(20_000))
        self.assertIn(b"NO [LIMIT] too many subscriptions", driver.command("SUBSCRIBE more")[-1])
        driver.command("UNSUBSCRIBE x1")
        driver.command("UNSUBSCRIBE x2")
        self.assertIn(b" OK ", driver.command("SUBSCRIBE more")[-1])
