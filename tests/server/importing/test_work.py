"""Mail of another server comes in as it was, once."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.test import iosim
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailError, StoreUnavailableError
from moxtwisted.imap.agent import ClientSettings, IMAPClient, connect
from moxtwisted.imap.client.results import Message
from moxtwisted.imap.client.session import ConnectionFailedError
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.protocol import IMAPServerFactory
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.testing import run_now
from moxtwisted.message.flags import DELETED, FLAGGED, SEEN, MessageFlags
from moxtwisted.sasl.client import Credentials
from moxtwisted.server.importing.bodies import Batch
from moxtwisted.server.importing.remote import Options, Source
from moxtwisted.server.importing.work import Import
from moxtwisted.store.accounts import Account
from moxtwisted.store.consistency import check
from moxtwisted.store.foreign import Fetched
from moxtwisted.store.interfaces import Column
from moxtwisted.store.store import Store
from tests.imap.test_agent import Given

LARGE = b"Subject: large\r\n\r\n" + b"x" * 78 + b"\r\n" * 100_000


class OldServer:
    """Our own server as the other one: mail in memory, connections by strings.

    :ivar tamper: may change what it says.
    :ivar letters: how many messages went over each connection, in the order of these.
    """

    name = "alice@old.example:993"

    def __init__(
        self, clock: Any, limits: Limits | None = None, disabled: frozenset[str] = frozenset()
    ) -> None:
        self.clock = clock
        self.mail = MemoryMail(clock.seconds, disabled_capabilities=disabled)
        self.pumps: list[Any] = []
        self.limit = 99
        self.connections = 0
        self.letters: Counter[int] = Counter()
        self.tamper: Callable[[bytes], bytes] = lambda octets: octets
        settings = ServerSettings(
            hostname="old.example",
            allow_plain_without_tls=True,
            timeouts=Timeouts(login_failure_pause=0.0),
            limits=limits or Limits(),
        )
        authenticator = MemoryAuthenticator({"alice": ("secret", self.mail)}, os.urandom)
        self.factory = IMAPServerFactory(settings, authenticator, clock)

    async def connect(self, reactor: Any, password: str, options: Options) -> IMAPClient:
        """As ``Source``."""
        if sum(1 for one in self.pumps if one.client.connected) >= self.limit:
            raise_refused()
        self.connections += 1
        settings = ClientSettings(credentials=Credentials("alice", password), allow_clear_password=True)
        return await connect(self.clock, Given(self.connected), settings)

    def connected(self, protocol: Any) -> None:
        server = self.factory.buildProtocol(None)
        there = iosim.FakeTransport(server, isServer=True)
        pump = iosim.connect(server, there, protocol, iosim.FakeTransport(protocol, isServer=False))
        original, number = there.getOutBuffer, len(self.pumps)

        def altered() -> bytes:
            octets: bytes = original()
            self.letters[number] += (octets or b"").count(b"\r\n\r\ntext of ")
            return self.tamper(octets) if octets else octets

        there.getOutBuffer = altered  # type: ignore[method-assign]
        self.pumps.append(pump)


def raise_refused() -> None:
    from moxtwisted.imap.client.session import ConnectionFailedError

    raise ConnectionFailedError("too many")


class ImportCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = Store.open(None, Path(self.mktemp()), None, threads=0)
        self.clock: Any = self.store._clock
        self.addCleanup(self.end)
        self.account: Account = self.successResultOf(
            self.store.create_account("me", [("Sent", "\\Sent"), ("Spam", "\\Junk")])
        )
        self.old = OldServer(self.clock)
        self.progress: list[tuple[int, int, str]] = []

    def end(self) -> None:
        self.assertEqual(check(self.account.reader), [])
        self.successResultOf(self.store.close())

    def start(self, **options: Any) -> Deferred[dict[str, Any]]:
        source: Any = self.old
        work = Import(self.clock, self.store, self.account, source, "secret", Options.of(options))
        return Deferred.fromCoroutine(work.run(lambda *said: self.progress.append(said)))

    def turn(self, done: Deferred[Any], turns: int = 20_000) -> None:
        """Let both sides work."""
        for number in range(turns):
            if done.called and not done.paused:
                return
            busy = [pump.flush() for pump in self.old.pumps]
            self.clock.advance(0.3 if number % 50 == 49 and not any(busy) else 0)

    def fetch(self, **options: Any) -> dict[str, Any]:
        done = self.start(**options)
        self.turn(done)
        return self.successResultOf(done)

    def kept(self, mailbox: str) -> list[tuple[bytes, frozenset[str], int]]:
        found = self.account.mailbox(mailbox)
        if found is None:
            raise LookupError(mailbox)
        state = self.account.state(found.id)
        messages = []
        for uid, flags in zip(state.uids, state.flags, strict=True):
            reader = self.account.open_body(found.id, uid)
            assert reader is not None
            octets = b"".join(reader.read(at, 262_144) for at in range(0, reader.size, 262_144))
            reader.close()
            (row,) = self.account.rows(found.id, [uid], Column.INTERNALDATE)
            messages.append((octets, frozenset(name.lower() for name in flags.names), row[1]))
        return sorted(messages)

    def fill(self, mailbox: str, count: int, start: int = 0) -> None:
        for number in range(start, start + count):
            self.old.mail.add(
                mailbox,
                b"Subject: %d\r\n\r\ntext of %d\r\n" % (number, number),
                flags=MessageFlags.of(number % 32, ("work", "$Forwarded")[: number % 3]),
                internaldate=1_500_000_000 + number,
            )


class FetchTests(ImportCase):
    def test_everything(self) -> None:
        """Octets, flags, keywords and dates are the same; mailboxes have their place; a second run has nothing to do."""
        self.fill("INBOX", 450)
        self.old.mail.make("Sent Messages")
        self.old.mail.make("Work/2024")
        self.fill("Sent Messages", 3, 1000)
        self.fill("Work/2024", 5, 2000)
        self.old.mail.add("Work/2024", LARGE, internaldate=5)
        report = self.fetch()
        self.assertEqual((report["messages"], report["skipped"], report["failed"]), (459, 0, []))
        for there, here in {"INBOX": "INBOX", "Sent Messages": "Sent", "Work/2024": "Work/2024"}.items():
            box = self.old.mail.find(there)
            expected = sorted(
                (
                    box.messages[uid].octets,
                    frozenset(name.lower() for name in flags.names),
                    box.messages[uid].internaldate,
                )
                for uid, flags in zip(box.uids, box.flags, strict=True)
            )
            self.assertEqual(self.kept(here), expected)
        self.assertEqual(self.progress[-1], (459, 459, "messages"))
        again = self.fetch()
        self.assertEqual((again["messages"], again["flags"], again["known"]), (0, 0, 0))
        self.assertEqual(
            "Work/2024" in self.account.subscriptions(), "Work/2024" in self.old.mail.subscribed()
        )

    def test_keywords_that_are_no_atoms(self) -> None:
        """A keyword that no server should have is left behind, its message with its other flags is not."""
        self.old.mail.add("INBOX", b"Subject: x\r\n\r\n", flags=MessageFlags.of(SEEN, ("work", "odd")))
        for odd in (b"[test]", b"50%", b"caf\xc3\xa9"):
            self.old.tamper = lambda octets, odd=odd: octets.replace(b" odd", b" " + odd)  # type: ignore[misc]
            report = self.fetch()
            self.assertEqual(report["failed"], [])
        ((_, flags, _),) = self.kept("INBOX")
        self.assertEqual(flags, {"\\seen", "work"})

    def test_only_what_is_new(self) -> None:
        """A later run fetches new messages and changed flags, keeps our own changes, and removes only when told."""
        self.fill("INBOX", 10)
        self.fetch()
        (inbox,) = [one for one in self.account.mailboxes() if one.name == "INBOX"]
        self.successResultOf(self.account.store_flags(inbox.id, [2], "add", MessageFlags.of(0, ("mine",))))
        session = self.old.mail.session()
        selected = session.select("INBOX", read_only=False)
        self.fill("INBOX", 2, 500)
        done = Deferred.fromCoroutine(self._change(selected))
        self.successResultOf(done)
        report = self.fetch()
        self.assertEqual((report["messages"], report["flags"], report["removed"]), (2, 1, 0))
        state = self.account.state(inbox.id)
        flags = dict(zip(state.uids, state.flags, strict=True))
        self.assertIn("mine", flags[2].keywords)
        self.assertTrue(flags[2].system & FLAGGED)
        self.assertEqual(len(state.uids), 12)
        report = self.fetch(delete=True)
        self.assertEqual(report["removed"], 1)
        self.assertEqual(len(self.account.state(inbox.id).uids), 11)
        self.assertEqual(self.fetch(delete=True)["removed"], 0)

    async def _change(self, selected: Any) -> None:
        await selected.store([2], "add", MessageFlags.of(FLAGGED), None)
        await selected.store([3], "add", MessageFlags.of(DELETED | SEEN), None)
        await selected.expunge([3])

    def test_stopped_anywhere(self) -> None:
        """However far a run came before it was stopped, the next ones bring the rest, and nothing twice."""
        self.fill("INBOX", 450)
        stopped = 0
        for turns in range(1, 100, 3):
            done = self.start(connections=3)
            for _ in range(turns):
                for pump in self.old.pumps:
                    pump.pump()
                self.clock.advance(0)
            if done.called:
                break
            connections = self.old.connections
            done.cancel()
            self.failureResultOf(done, CancelledError)
            self.clock.advance(60)
            self.turn(Deferred(), 20)
            self.assertEqual(self.old.connections, connections)
            stopped += 1
        self.assertGreater(stopped, 4)
        self.fetch()
        self.assertEqual(len(self.kept("INBOX")), 450)
        self.assertEqual(len({octets for octets, _, _ in self.kept("INBOX")}), 450)

    def test_other_uidvalidity(self) -> None:
        """Under another UIDVALIDITY messages are known by their octets."""
        self.fill("INBOX", 20)
        self.fetch()
        self.old.mail.find("INBOX").uidvalidity += 1
        self.fill("INBOX", 1, 700)
        report = self.fetch()
        self.assertEqual((report["messages"], report["known"]), (1, 20))
        self.assertEqual(len(self.kept("INBOX")), 21)
        self.assertEqual(self.fetch()["known"], 0)

    def test_dry_run(self) -> None:
        """A dry run tells what would go where, and does nothing."""
        self.fill("INBOX", 3)
        self.old.mail.make("A")
        report = self.fetch(dry_run=True)
        self.assertEqual(
            [(row["there"], row["here"], row["new"]) for row in report["mailboxes"]],
            [("INBOX", "INBOX", 3), ("A", "A", 0)],
        )
        self.assertEqual(self.kept("INBOX"), [])
        self.assertIsNone(self.account.mailbox("A"))

    def test_fewer_connections(self) -> None:
        """A server that wants one connection gets one."""
        self.fill("INBOX", 450)
        self.old.limit = 1
        self.assertEqual(self.fetch(connections=4)["messages"], 450)

    def test_several_connections(self) -> None:
        """As many connections as wanted fetch messages side by side, of one mailbox, too; each message comes once."""
        self.fill("INBOX", 900)
        self.assertEqual(self.fetch(connections=3)["messages"], 900)
        self.assertEqual(self.old.connections, 3)
        self.assertEqual(sum(self.old.letters.values()), 900)
        self.assertEqual(len(+self.old.letters), 3, self.old.letters)

    def test_lost_connections(self) -> None:
        """A connection that is lost now and then is made again, and nothing is fetched twice."""
        self.fill("INBOX", 450)
        said = 0

        def cut(octets: bytes) -> bytes:
            nonlocal said
            before, said = said, said + len(octets)
            if before // 30_000 != said // 30_000:
                return octets[: len(octets) // 2] + b"\r\n* 0 NONSENSE (\r\nA99 what\r\n"
            return octets

        self.old.tamper = cut
        self.assertEqual(self.fetch(connections=2)["messages"], 450)
        self.assertGreater(self.old.connections, 2)
        self.assertEqual(len({octets for octets, _, _ in self.kept("INBOX")}), 450)

    def test_unreadable(self) -> None:
        """A message without octets is listed, and the others come."""
        self.fill("INBOX", 5)
        self.old.mail.add("INBOX", b"")
        report = self.fetch()
        self.assertEqual((report["messages"], report["skipped"]), (5, 1))
        self.assertIn("INBOX, UID 6", report["unreadable"][0])

    def test_nothing_of_a_message(self) -> None:
        """A message of which the server says OK, and gives nothing, is listed; it is not taken for one that went."""
        self.fill("INBOX", 3)
        self.old.tamper = lambda octets: octets.replace(b"* 2 FETCH (UID 2 ", b"* 2 NOTHING (UID 2 ")
        report = self.fetch()
        self.assertEqual((report["messages"], report["skipped"]), (2, 1))
        self.assertEqual(report["unreadable"], ["INBOX, UID 2: the server says OK and gives nothing of it"])
        self.old.tamper = lambda octets: octets
        self.assertEqual(self.fetch()["messages"], 1)

    def test_modseq_that_goes_back(self) -> None:
        """When the server counts mod-sequences anew, as after its index was made again, all flags are looked at."""
        self.fill("INBOX", 3)
        self.old.tamper = lambda octets: re.sub(rb"HIGHESTMODSEQ \d+", b"HIGHESTMODSEQ 5000", octets)
        self.fetch()
        self.old.tamper = lambda octets: octets
        selected = self.old.mail.session("alice").select("INBOX", read_only=False)
        run_now(selected.store([1], "add", MessageFlags.of(0, ("$new",)), None))
        self.assertEqual(self.fetch()["flags"], 1)

    def test_impossible_claims(self) -> None:
        """A server that claims four thousand million messages, or UIDs that do not last, is not believed; others are fetched."""
        self.old.mail.make("Other")
        self.fill("INBOX", 3)
        self.fill("Other", 3, 100)

        def claim(octets: bytes) -> bytes:
            return octets.replace(b"UID ALL 1:3\r\n", b"UID ALL 1:4294967295\r\n", 1)

        self.old.tamper = claim
        report = self.fetch(connections=1)
        self.assertEqual(len(report["failed"]), 2)
        self.assertIn("the set is too large", report["failed"][0])
        self.old.tamper = lambda octets: octets.replace(b"[UIDVALIDITY 1]", b"[UIDNOTSTICKY]")
        report = self.fetch(connections=1)
        self.assertEqual((report["messages"], len(report["failed"])), (3, 1))

    def test_not_counted(self) -> None:
        """A mailbox of which it is not said how many messages it has is not taken for an empty one."""
        self.fill("INBOX", 3)
        self.fetch()
        self.old.tamper = lambda octets: octets.replace(b"* 3 EXISTS\r\n", b"")
        report = self.fetch(connections=1, delete=True)
        self.assertIn("how many messages", report["failed"][0])
        self.assertEqual(len(self.kept("INBOX")), 3)

    def test_numbers(self) -> None:
        """A number that IMAP does not have is a problem of that mailbox, said with the server's name, and the others are fetched."""
        self.old.mail.make("Other")
        self.fill("INBOX", 3)
        self.fill("Other", 1, 100)
        large, inbox = 2**32, b"[UIDVALIDITY 1]"
        answers = (
            (b"UID ALL 1:3\r\n", b"UID ALL 1,2,3\r\n* SEARCH %d\r\n" % large),
            (b"UID ALL 1:3\r\n", b"UID ALL 1,2,3\r\n* SEARCH %b\r\n" % (b"9" * 5000)),
            (b"UID ALL 1:3\r\n", b"UID ALL 1:%d\r\n" % large),
            (b"* 3 EXISTS\r\n", b"* %d EXISTS\r\n" % large),
            (inbox, b"[UIDVALIDITY %d]" % large),
            (inbox, b"[UIDNEXT %d]" % large),
            (inbox, b"[HIGHESTMODSEQ %d]" % 2**63),
            (b"* 2 FETCH (UID 2", b"* 2 FETCH (UID %d" % large),
            (b"* 2 FETCH (UID 2", b"* 2 FETCH (UID 2 MODSEQ (%d)" % 2**63),
            (b"* 2 FETCH (UID 2", b"* 2 FETCH (UID 2 RFC822.SIZE %d" % 2**63),
            (b"* 2 FETCH (UID 2", b"* 2 FETCH (UID 2 ENVELOPE ()"),
        )
        for number, (before, after) in enumerate(answers):
            account = self.successResultOf(self.store.create_account(f"user{number}", []))
            self.account = account
            done = False

            def tamper(octets: bytes, before: bytes = before, after: bytes = after) -> bytes:
                nonlocal done
                done = done or before in octets
                return octets.replace(before, after)

            self.old.tamper = tamper
            report = self.fetch(connections=1 + number % 2)
            self.assertTrue(done)
            self.assertEqual(len(report["failed"]), 1, after)
            self.assertRegex(
                report["failed"][0],
                r"^INBOX: the IMAP server says what cannot be understood: .*alice@old\.example:993 has to be .*--skip",
            )
            self.assertEqual(len(self.kept("Other")), 1)

    def test_half_an_answer(self) -> None:
        """When a server names fewer UIDs than it has messages, nothing is removed here."""
        self.fill("INBOX", 3)
        self.fetch()
        self.old.tamper = lambda octets: octets.replace(b"UID ALL 1:3\r\n", b"UID ALL 1\r\n")
        report = self.fetch(delete=True)
        self.assertEqual((report["removed"], len(report["failed"])), (0, 1))
        self.assertEqual(len(self.kept("INBOX")), 3)

    def test_so_many_at_a_time(self) -> None:
        """RFC 9738: UIDs, messages and flags all come from a server that takes only so many messages at a time."""
        variants: tuple[tuple[str, ...], ...] = ((), ("ESEARCH", "IMAP4rev2"), ("CONDSTORE", "QRESYNC"))
        for number, disabled in enumerate(variants):
            self.old = OldServer(self.clock, Limits(messages=30, messages_enforced=0), frozenset(disabled))
            self.old.mail.find("INBOX").uidvalidity += number
            self.fill("INBOX", 95, 960 * number)
            said = bytearray()
            self.old.tamper = lambda octets, said=said: said.extend(octets) or octets  # type: ignore[misc]
            report = self.fetch(connections=1)
            self.assertEqual((report["messages"], report["failed"]), (95, []))
            # As few commands as can be: three are cut, the fourth is not.
            self.assertEqual(len(re.findall(rb"OK (?:\[MESSAGELIMIT 30 \d+\] )?(?:UID )?FETCH", said)), 4)
            report = self.fetch(delete=True)
            self.assertEqual((report["messages"], report["flags"], report["removed"]), (0, 0, 0))
            self.successResultOf(
                Deferred.fromCoroutine(self._change(self.old.mail.session().select("INBOX", read_only=False)))
            )
            report = self.fetch(delete=True)
            self.assertEqual((report["messages"], report["flags"], report["removed"]), (0, 1, 1))

    def test_no_end(self) -> None:
        """A server that says again and again that the same messages are left out is not asked for ever."""
        self.old = OldServer(self.clock, Limits(messages=30, messages_enforced=0))
        self.fill("INBOX", 95)
        self.old.tamper = lambda octets: re.sub(rb"MESSAGELIMIT 30 \d+", b"MESSAGELIMIT 30 66", octets)
        report = self.fetch(connections=1)
        self.assertIn("comes to no end", report["failed"][0])

    def test_slowly(self) -> None:
        """A server that comes to its end one UID after the other, of thousands of millions, is asked no more often than it has messages."""
        self.old = OldServer(self.clock)
        self.fill("INBOX", 5)
        for word, most in ((b"FETCH", 10), (b"SEARCH", 110)):
            said: list[bytes] = []

            def lie(octets: bytes, word: bytes = word, said: list[bytes] = said) -> bytes:
                if b"OK %b completed" % word not in octets:
                    return octets
                said.append(octets)
                return octets.replace(
                    b"OK %b" % word, b"OK [MESSAGELIMIT 1 %d] %b" % (2**32 - len(said), word)
                )

            self.old.tamper = lie
            done = self.start(connections=1)
            self.turn(done, 50_000)
            self.assertIn("comes to no end", self.successResultOf(done)["failed"][0], word)
            self.assertLess(len(said), most, word)

    def test_full(self) -> None:
        """When the account is full the import ends, with the reason."""
        self.fill("INBOX", 150)
        self.account.set_quota(100)
        done = self.start()
        self.turn(done)
        self.assertIn("quota", str(self.failureResultOf(done, MailError).value.explanation))


class BatchTests(ImportCase):
    def test_cancelled(self) -> None:
        """Who stops an import while the store writes takes nothing away from it: messages are closed when it has answered."""
        for outcome in (None, MailError("full")):
            answer: Deferred[None] = Deferred()

            async def add(fetched: list[Fetched], answer: Deferred[None] = answer) -> None:
                await answer

            batch = Batch(self.store, add, lambda uid, why: None)
            self.assertIsNone(batch.take(Message(1, 7, sections={"BODY[]": b"Subject: one\r\n\r\n"})))
            (pending,) = batch._pending
            flushing = Deferred.fromCoroutine(batch.flush())
            flushing.cancel()
            self.failureResultOf(flushing, CancelledError)
            batch.drop()
            self.assertEqual(pending.staged.read(0, 7), b"Subject")
            answer.callback(None) if outcome is None else answer.errback(outcome)
            self.assertRaises(StoreUnavailableError, pending.staged.read, 0, 7)


class SourceTests(SynchronousTestCase):
    def test_urls(self) -> None:
        """Addresses are read; a password in one is refused."""
        source = Source.parse("imaps://alice%40old.example@mail.old.example/")
        self.assertEqual(source, Source("alice@old.example", "mail.old.example", 993, True))
        self.assertEqual(Source.parse("imap://a@[::1]:1143"), Source("a", "::1", 1143, False))
        self.assertEqual(Source.parse("imap://a@b/").name, Source.parse("imaps://a@b/").name)
        self.assertNotEqual(Source.parse("imap://a@b:1143/").name, Source.parse("imaps://a@b:1993/").name)
        for url in ("imaps://a:b@c/", "imaps://a@b/INBOX"):
            self.assertRaises(MailError, Source.parse, url)
        for url in (
            *("http://a@b/", "imaps://b/", "imaps://a@b:x/", "imaps://a@b:0/", "imaps://a@b:70000/"),
            *("imaps://a@[::1", "imaps://a@]/", "imaps://a@[zz]/", "imaps://a@ho st/", "imaps://a@ho\x7fst/"),
        ):
            self.assertIn("expected", str(self.assertRaises(MailError, Source.parse, url)))
        for options in ({"connections": 0}, {"connections": "4"}, {"else": 1}):
            self.assertRaises(MailError, Options.of, options)

    def test_advice(self) -> None:
        """What OpenSSL says of a wrong port or certificate is followed by what to do."""

        async def fails(*given: Any) -> None:
            raise ConnectionFailedError(self.why)

        for self.why, tls, advice in (
            ("lost: TLS: certificate verify failed", True, "--trust FILE"),
            ("lost: TLS: wrong version number", True, "imap:// instead"),
            (
                "lost: Connection to the other side was lost in a non-clean fashion.",
                False,
                "imaps:// instead",
            ),
            ("lost: Connection to the other side was lost in a non-clean fashion.", True, "fashion."),
            ("lost: the server did not answer in time", False, "imaps:// instead"),
        ):
            with patch("moxtwisted.server.importing.remote.connect", fails):
                done = Deferred.fromCoroutine(Source("a", "old", 993, tls).connect(None, "secret", Options()))
            self.assertIn(advice, self.failureResultOf(done, ConnectionFailedError).value.explanation)

    def test_which_server(self) -> None:
        """A problem names the server; a file of authorities that has none is told before anybody is asked."""
        clock = MemoryReactorClock()
        source = Source("a", "127.0.0.1", 1993, True)
        trusting = Deferred.fromCoroutine(source.connect(clock, "secret", Options(trust="nothing")))
        self.assertIn(
            "there is none in the file", self.failureResultOf(trusting, MailError).value.explanation
        )
        connecting = Deferred.fromCoroutine(source.connect(clock, "secret", Options(verify=False)))
        clock.advance(600)
        self.assertIn("127.0.0.1:1993", self.failureResultOf(connecting, MailError).value.explanation)
