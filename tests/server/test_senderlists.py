"""Lists of senders in files, and what they mean; spam traps."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.record import parse_key_record
from moxtwisted.mailauth.dkim.signature import Signature
from moxtwisted.mailauth.dkim.verify import Status as DKIMStatus
from moxtwisted.mailauth.dkim.verify import Verification
from moxtwisted.mailauth.spf.evaluation import Identity, SPFResult
from moxtwisted.mailauth.spf.evaluation import Verdict as SPFVerdict
from moxtwisted.server.inbound.senderlists import (
    HandedListFile,
    ListFile,
    SenderList,
    Together,
    parse_entries,
)
from moxtwisted.server.inbound.senderpolicy import AccountLists, SenderPolicy
from moxtwisted.server.inbound.traps import Traps
from moxtwisted.server.judgement.reasons import Reason
from tests.server.house import DOMAINS, HouseCase
from tests.server.judging import Judging, verified_by

FILE = """# whom we know

friend@Example.NET
example.com      # all of it
.example.org
192.0.2.7
2001:db8::/32
198.51.100.0/24
bücher.example
bank.example  DMARC
"""


def signed_by(domain: str, *, testing: bool = False) -> Verification:
    """A signature that passed."""
    form = Canonicalization.RELAXED
    signature = Signature("rsa-sha256", domain, "s", (b"from",), b"", b"", form, BodyForm(form), f"@{domain}")
    record = parse_key_record(b"v=DKIM1; t=y; p=Zm9v") if testing else None
    return Verification(DKIMStatus.PASS, None, "", signature, record)


def listed(text: str) -> SenderList:
    entries, problems = parse_entries(text, "list")
    assert not problems, problems
    return SenderList(entries)


class EntryTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """Addresses, domains, domains with what is below, clients and networks."""
        found = listed(FILE)
        self.assertEqual(len(found), 8)
        for localpart, domain, text in (
            ("Friend", "example.net", "friend@Example.NET"),
            ("other", "example.net", None),
            ("x", "example.com", "example.com"),
            ("x", "sub.example.com", None),
            ("x", "example.org", ".example.org"),
            ("", "a.b.example.org", ".example.org"),
            ("x", "notexample.org", None),
            ("x", "xn--bcher-kva.example", "bücher.example"),
            ("x", "bank.example", "bank.example"),
        ):
            entry = found.of_name(localpart, domain)
            self.assertEqual(entry.text if entry else None, text, domain)
        for ip, text in (
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.8", None),
            ("2001:db8:1::1", "2001:db8::/32"),
            ("2001:db9::1", None),
            ("198.51.100.200", "198.51.100.0/24"),
        ):
            entry = found.of_client(ip_address(ip))
            self.assertEqual(entry.text if entry else None, text, ip)
        self.assertIsNone(found.of_client(None))

    def test_smallest_network(self) -> None:
        """The entry of the smallest network counts."""
        found = listed("10.0.0.0/8 dmarc\n10.1.0.0/16\n")
        small, large = found.of_client(ip_address("10.1.2.3")), found.of_client(ip_address("10.2.2.3"))
        assert small is not None
        assert large is not None
        self.assertEqual((small.where, small.dmarc, large.dmarc), ("list:2", False, True))

    def test_problems(self) -> None:
        """Lines that are none are named, with their numbers, and the others count."""
        text = "good.example\nnot a domain\n@nobody\n300.1.2.3\n::g\nx@[192.0.2.1]\n-bad-.\n1.2.3.4/33\nalso.example"
        entries, problems = parse_entries(text, "block.txt")
        self.assertEqual([e.key for e in entries], ["good.example", "also.example"])
        self.assertEqual([p.where for p in problems], [f"block.txt:{n}" for n in range(2, 9)])
        self.assertTrue(all(p.problem for p in problems))

    def test_host_bits(self) -> None:
        """An address with the length of a network is none, and what may be meant is said."""
        entries, (problem,) = parse_entries("10.0.0.5/8\n", "block.txt")
        self.assertEqual(entries, [])
        self.assertIn("write 10.0.0.0/8 for the network, 10.0.0.5 for the one address", problem.problem)

    @given(st.text(max_size=200))
    @settings(max_examples=100)
    def test_anything(self, text: str) -> None:
        """No text breaks it, and each line is an entry, a problem, or nothing."""
        entries, problems = parse_entries(text, "list")
        self.assertLessEqual(len(entries) + len(problems), len(text.splitlines()))
        SenderList(entries)


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.file = ListFile(self.path, self.clock.seconds)

    def test_changes(self) -> None:
        """A file is read again when it changed, appeared or went."""
        self.assertEqual(len(self.file.current()), 0)
        self.path.write_text("example.org\n")
        self.assertEqual(len(self.file.current()), 0)
        self.clock.advance(2)
        self.assertEqual(len(self.file.current()), 1)
        self.path.write_text("example.org\nexample.com\nwhat is this\n")
        self.clock.advance(2)
        self.assertEqual(len(self.file.current()), 2)
        self.assertEqual([p.where for p in self.file.problems], [f"{self.path.name}:3"])
        self.path.unlink()
        self.clock.advance(2)
        self.assertEqual((len(self.file.current()), self.file.problems), (0, []))

    def test_unreadable(self) -> None:
        """What was read before stays when the file becomes unreadable."""
        self.path.write_text("example.org\n")
        self.assertEqual(len(self.file.current()), 1)
        self.path.unlink()
        self.path.mkdir()
        self.clock.advance(2)
        self.assertEqual(len(self.file.current()), 1)

    def test_handed(self) -> None:
        """A file that is handed over open is read, whatever there is by its name; without one there are no entries; a bad one changes
        nothing."""
        handed = HandedListFile(self.path, self.clock.seconds)
        other = Path(self.mktemp())
        other.write_text("example.org\n")
        self.clock.advance(2)
        with other.open("rb") as file:
            handed.use(file.fileno())
        self.assertEqual(len(handed.current()), 1)
        with other.open("wb") as unreadable:
            handed.use(unreadable.fileno())
        self.assertEqual(len(handed.current()), 1)
        handed.use(None)
        self.assertEqual(len(handed.current()), 0)


class PolicyCase(HouseCase):
    def setUp(self) -> None:
        super().setUp()
        self.judge = Judging()
        self.accounts: dict[str, AccountLists] = {}
        self.verified: dict[str, Any] = {}
        self.allow = self.block = ""

    def policy(self) -> SenderPolicy:
        """From what the test wrote."""
        files = []
        for name, text in (("allow.txt", self.allow), ("block.txt", self.block)):
            path = self.house.path / name
            path.write_text(text)
            files.append(Together((ListFile(path, self.house.clock.seconds),)))
        policy = SenderPolicy(files[0], files[1], lambda name: self.accounts.get(name, AccountLists()))
        self.outcome = verified_by(
            self.house, self.judge, self.verified, {"policy": policy}, adjustments=(policy.adjust,)
        )
        self.house.turn_away = policy.at_connect
        return policy

    def spf(self, verdict: SPFVerdict) -> None:
        self.verified["spf"] = SPFResult(
            verdict, Identity.MAIL_FROM, "client.example", "a@client.example", ip_address("192.0.2.1"), "x"
        )

    def send(
        self,
        sender: str = "a@client.example",
        author: str = "a@client.example",
        to: str = "alice@example.org",
        ip: str = "192.0.2.1",
    ) -> str:
        self.policy()
        line = self.house.inbound(ip)
        answer = line.say(f"MAIL FROM:<{sender}>")
        if answer.startswith("250"):
            answer = line.say(f"RCPT TO:<{to}>")
        if answer.startswith("250"):
            answer = line.send(f"From: {author}\r\nSubject: x\r\n\r\nhello\r\n".encode())
        line.drop()
        return answer[:9]

    def reasons(self) -> list[bytes]:
        return [
            m.partition(b"X-Moxtwisted-Reason: ")[2].partition(b";")[0] for m in self.house.messages("alice")
        ]


class BlockTests(PolicyCase):
    def test_client(self) -> None:
        """A client is refused instead of greeted."""
        self.block = "192.0.2.0/24\n"
        self.policy()
        self.assertEqual(self.greeting("192.0.2.1")[:9], "554 5.7.1")
        self.assertEqual(self.greeting("192.0.3.1")[:4], "220 ")
        self.allow = "192.0.2.1"
        self.policy()
        self.assertEqual(self.greeting("192.0.2.1")[:4], "220 ")

    def greeting(self, ip: str) -> str:
        line = self.house.inbound(ip)
        answer: str = line.greeting
        line.drop()
        return answer

    def test_sender(self) -> None:
        """A sender is refused at MAIL; what it says in From is looked at after the message."""
        self.block = ".spam.example\n"
        self.assertEqual(self.send("x@a.spam.example"), "550 5.7.1")
        self.assertEqual(self.send("x@client.example", "x@spam.example"), "550 5.7.1")
        self.assertEqual(self.house.messages("alice"), [])
        self.allow = "192.0.2.1\n"
        self.assertEqual(self.send("x@a.spam.example"), "250 2.6.0")

    def test_account(self) -> None:
        """An account's own list is for its mail alone; an alias is refused when all of its members do."""
        self.accounts["alice"] = AccountLists(block=listed("client.example"))
        self.assertEqual(self.send(), "550 5.7.1")
        self.assertEqual(self.send(to="bob@example.org"), "250 2.6.0")
        self.assertEqual(self.send(to="team@example.org"), "250 2.6.0")
        self.assertEqual((len(self.house.messages("alice")), len(self.house.messages("bob"))), (0, 2))
        self.accounts["bob"] = self.accounts["alice"]
        self.assertEqual(self.send(to="team@example.org"), "550 5.7.1")

    def test_account_lets_in(self) -> None:
        """What an account says goes before what the operator says, after the message."""
        self.block = "other.example\n"
        self.accounts["alice"] = AccountLists(allow=listed("client.example"))
        self.spf(SPFVerdict.PASS)
        self.assertEqual(self.send("a@client.example", "a@other.example"), "250 2.6.0")


class AllowTests(PolicyCase):
    def setUp(self) -> None:
        super().setUp()
        self.judge.refuse("alice")
        self.spf(SPFVerdict.PASS)

    def test_overrides(self) -> None:
        """A listed sender's mail is taken though it looks like junk, at once."""
        self.allow = "client.example\n"
        self.assertEqual(self.send(), "250 2.6.0")
        self.judge.accept("alice", delay_seconds=15.0)
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(self.reasons(), [b"allow-listed", b"allow-listed"])
        self.assertIn(b"client.example (allow.txt:1)", self.house.messages("alice")[0])

    def test_firm(self) -> None:
        """Rates, rules of addresses and our own trouble stay; DMARC does but with the word."""
        self.allow = "client.example\n"
        refused = self.judge.says["alice"]
        for reason in (
            Reason.HIGH_RATE,
            Reason.MSG_AUTH_REQUIRED,
            Reason.JUDGEMENT_ERROR,
            Reason.DMARC_POLICY,
        ):
            self.judge.says["alice"] = evolve(refused, reason=reason)
            self.assertEqual(self.send(), "550 5.7.1", reason)
        self.allow = "client.example dmarc\n"
        self.assertEqual(self.send(), "250 2.6.0")

    def test_quarantine(self) -> None:
        """What DMARC puts aside goes where it would have gone, with the word."""
        self.judge.accept("alice", reason=Reason.DMARC_QUARANTINE, mailbox="Junk")
        for self.allow, mailbox in (("client.example\n", "Junk"), ("client.example dmarc\n", "INBOX")):
            self.assertEqual(self.send(), "250 2.6.0")
            self.assertEqual(len(self.house.messages("alice", mailbox)), 1, mailbox)

    def test_only_who_it_is(self) -> None:
        """A name counts for who may use it: the envelope when SPF passes for it, From when it is proved."""
        self.allow = "client.example\n"
        for verdict in SPFVerdict:
            self.spf(verdict)
            self.assertEqual(self.send(), "250 2.6.0" if verdict is SPFVerdict.PASS else "550 5.7.1", verdict)
        del self.verified["spf"]
        self.assertEqual(self.send(), "550 5.7.1")
        self.assertEqual(self.send("x@other.example"), "550 5.7.1")
        self.verified["from_validated"] = True
        self.assertEqual(self.send("x@other.example"), "250 2.6.0")

    def test_signed(self) -> None:
        """Where SPF does not pass, a signature of the organization in the envelope proves it as well; with a key in test it does not."""
        self.allow = "news.client.example\n192.0.2.77\n"
        self.spf(SPFVerdict.FAIL)
        sender = "a@news.client.example"
        for domain, testing, answer in (
            ("client.example", False, "250 2.6.0"),
            ("mail.client.example", False, "250 2.6.0"),
            ("client.example", True, "550 5.7.1"),
            ("other.example", False, "550 5.7.1"),
        ):
            self.verified["dkim"] = (signed_by(domain, testing=testing),)
            self.assertEqual(self.send(sender, "b@other.example"), answer, (domain, testing))
        # A client needs no proof.
        self.assertEqual(self.send(sender, "b@other.example", ip="192.0.2.77"), "250 2.6.0")

    def test_signed_for_a_neighbour(self) -> None:
        """What a provider signed for a user is not another's, whatever the envelope says; From is believed when it is proved."""
        self.allow = "friend@client.example\n"
        self.spf(SPFVerdict.FAIL)
        self.verified |= {"dkim": (signed_by("client.example"),), "from_validated": True}
        self.assertEqual(self.send("friend@client.example", "crook@client.example"), "550 5.7.1")
        self.assertEqual(self.send("friend@client.example", "friend@client.example"), "250 2.6.0")
        self.spf(SPFVerdict.PASS)
        self.assertEqual(self.send("friend@client.example", "crook@client.example"), "250 2.6.0")


class TrapTests(PolicyCase):
    def setUp(self) -> None:
        super().setUp()
        domains = [evolve(d, traps=frozenset({"trap"})) if d.name == "example.org" else d for d in DOMAINS]
        self.house.holder.current = self.house.directory(domains)
        self.reported: list[tuple[str, str]] = []
        self.learner = ("", "")

    def policy(self) -> SenderPolicy:
        policy = super().policy()
        traps = Traps(
            lambda ip, why: self.reported.append((ip, why)),
            policy.allowed,
            self.house.delivery,
            lambda: self.learner,
        )
        more = {"policy": policy, "traps": traps}
        self.outcome = verified_by(self.house, self.judge, self.verified, more, adjustments=(policy.adjust,))
        return policy

    def both(self) -> str:
        self.policy()
        line = self.house.inbound("192.0.2.1")
        self.assertIn("250", line.begin("a@client.example", "alice@example.org", "trap@example.org"))
        answer = line.send(b"From: a@client.example\r\n\r\nbuy\r\n")
        self.house.clock.advance(0)
        answer += line.heard()
        line.drop()
        return answer[:9]

    def test_caught(self) -> None:
        """Mail for a trap is refused after the message as for any address that is not there, and the client reported."""
        self.assertEqual(self.send(to="trap@example.org")[:1], "5")
        self.assertEqual(self.reported, [("192.0.2.1", "mail to trap@example.org")])

    def test_others(self) -> None:
        """Nobody gets it, and others to whom it was sent can look at it."""
        self.assertEqual(self.both(), "550 5.7.1")
        self.assertEqual(self.house.messages("alice"), [])
        (octets,) = self.house.messages("alice", "Rejects")
        self.assertIn(b"X-Moxtwisted-Reason: spam-trap;", octets)

    def test_not_reported(self) -> None:
        """Reports of failed delivery come from who was lied to, and whom the operator lets in is let in."""
        self.send("", to="trap@example.org")
        self.allow = "192.0.2.1\n"
        self.send(to="trap@example.org")
        self.assertEqual(self.reported, [])

    def test_learned(self) -> None:
        """An account can learn from what traps catch."""
        self.learner = ("carol", "Junk")
        self.both()
        (octets,) = self.house.messages("carol", "Junk")
        self.assertTrue(octets.endswith(b"\r\n\r\nbuy\r\n"))

    def test_not_without_judges(self) -> None:
        """Where nobody judges a trap is an address that is not there."""
        line = self.house.inbound(delay=0.0)
        self.assertIn("550 5.1.1", line.begin("a@client.example", "trap@example.org"))

    def test_next_transaction(self) -> None:
        """The next message of the connection has nothing to do with it."""
        self.policy()
        line = self.house.inbound("192.0.2.1")
        line.begin("a@client.example", "trap@example.org")
        line.say("RSET")
        line.begin("a@client.example", "alice@example.org")
        self.assertIn("250 2.6.0", line.send(b"From: a@client.example\r\n\r\nhello\r\n"))
