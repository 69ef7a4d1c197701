"""Bans: who is kept out, for how long, what the rules ban, what they never do, what outlives a restart."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.errors import LimitError, MailError, StoreFullError
from moxtwisted.server.bans import CAUSES, Bans, BanSettings, Rule
from moxtwisted.server.inbound.goodsenders import GoodSenders
from moxtwisted.server.judgement.interfaces import Decision
from moxtwisted.server.judgement.reasons import Reason
from moxtwisted.server.ratelimit import ConnectionLimiter, ConnectionLimits, IBans, Refusal
from moxtwisted.store.bans import Ban, BanRecords
from moxtwisted.store.room import Room
from moxtwisted.store.writer import WriterPool

NOW = 1_800_000_000
HOUR, DAY, WEEK = 3600, 86400, 7 * 86400


class Records:
    """What a file would hold."""

    def __init__(self) -> None:
        self.rows: dict[str, Ban] = {}
        self.full = False

    def all(self) -> list[Ban]:
        return list(self.rows.values())

    def write(self, bans: list[Ban], gone: Any) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        if self.full:
            done.errback(StoreFullError("full"))
            return done
        for network in gone:
            self.rows.pop(network, None)
        self.rows.update({ban.network: ban for ban in bans})
        done.callback(None)
        return done

    def close(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done


class BansCase(SynchronousTestCase):
    """Bans by a clock."""

    def setUp(self) -> None:
        """Nobody is banned."""
        self.clock = Clock()
        self.clock.advance(NOW)
        self.records = Records()
        self.bans = self.make()

    def make(self, **more: Any) -> Bans:
        return Bans(self.clock.seconds, self.clock, BanSettings(**more), self.records)

    def rule(self, cause: str, rule: Rule, **more: Any) -> Bans:
        """Bans with one rule."""
        return self.make(rules={cause: rule}, **more)

    def add(self, network: str, for_seconds: float | None = DAY) -> Ban:
        return self.successResultOf(self.bans.add(network, "a test", for_seconds))

    def out(self, *ips: str) -> list[bool]:
        return [self.bans.refusal(ip) is not None for ip in ips]


class OperatorTests(BansCase):
    def test_interface(self) -> None:
        """It is what the limiter of connections asks."""
        verifyObject(IBans, self.bans)

    def test_network(self) -> None:
        """A network keeps its addresses out and nobody else, also IPv4 in IPv6 clothing and with a zone."""
        self.add("192.0.2.64/26")
        self.add("2001:db8:1::/48")
        self.assertEqual(
            self.out(
                "192.0.2.64", "192.0.2.127", "::ffff:192.0.2.100", "2001:db8:1:2::3", "2001:db8:1::1%eth0"
            ),
            [True] * 5,
        )
        self.assertEqual(self.out("192.0.2.63", "192.0.2.128", "2001:db8:2::1", "", "x"), [False] * 5)

    def test_end(self) -> None:
        """A ban ends by itself; one without an end does not."""
        self.assertEqual(self.add("192.0.2.1", HOUR).network, "192.0.2.1/32")
        self.add("192.0.2.2", None)
        self.assertEqual(
            self.bans.refusal("192.0.2.1"), "your network is banned here until 2027-01-15T09:00:00Z"
        )
        self.assertEqual(self.bans.refusal("192.0.2.2"), "your network is banned here")
        self.clock.advance(HOUR)
        self.assertEqual(self.out("192.0.2.1", "192.0.2.2"), [False, True])
        self.assertEqual([ban.network for ban in self.bans.all()], ["192.0.2.2/32"])

    def test_narrow_in_wide(self) -> None:
        """When a narrow ban in a wide one ends, the wide one holds; lifting one leaves the other."""
        self.add("192.0.2.0/24", None)
        self.add("192.0.2.7", HOUR)
        self.clock.advance(HOUR)
        self.assertEqual(self.out("192.0.2.7"), [True])
        self.successResultOf(self.bans.lift("192.0.2.0/24"))
        self.assertEqual(self.out("192.0.2.7", "192.0.2.8"), [False, False])

    def test_lift(self) -> None:
        """A ban that is lifted is gone, on disk too; one that is not there cannot be lifted, and it is said which holds."""
        self.add("192.0.2.0/24")
        error = self.assertRaises(MailError, self.bans.lift, "192.0.2.7")
        self.assertEqual(error.detail, "192.0.2.7/32 is not banned; it lies in 192.0.2.0/24, which is")
        self.successResultOf(self.bans.lift("192.0.2.77/24"))
        self.assertEqual((self.out("192.0.2.7"), self.records.rows), ([False], {}))
        self.add("192.0.2.0/24")
        self.add("192.0.3.0/24")
        self.successResultOf(self.bans.lift_all())
        self.assertEqual((self.bans.all(), self.records.rows), ([], {}))

    def test_refused(self) -> None:
        """What is no network, this machine, what is never banned, and half of the internet are refused."""
        for network in ("example.org", "1.2.3", "127.0.0.1", "::1", "10.1.0.0/16", "0.0.0.0/0", "2000::/3"):
            self.assertRaises(MailError, self.bans.add, network, "", DAY)
        self.assertEqual(self.bans.all(), [])

    def test_wide_around_never(self) -> None:
        """A ban of a wide network does not keep out those in it that are never banned."""
        self.bans = self.make(never=("192.0.2.128/25",))
        self.add("192.0.0.0/16")
        self.assertEqual(self.out("192.0.2.1", "192.0.2.129"), [True, False])

    def test_restart(self) -> None:
        """Bans outlive a restart, until they end; a week later nothing is left of them."""
        self.add("192.0.2.1", DAY)
        self.add("192.0.2.2", None)
        self.bans = self.make()
        self.assertEqual(self.out("192.0.2.1", "192.0.2.2"), [True, True])
        self.clock.advance(DAY + WEEK + 1)
        self.bans = self.make()
        self.assertEqual(list(self.records.rows), ["192.0.2.2/32"])

    def test_disk_full(self) -> None:
        """When a ban cannot be written it holds all the same, and the operator is told."""
        self.records.full = True
        self.failureResultOf(self.bans.add("192.0.2.1", "", DAY), StoreFullError)
        self.assertEqual(self.out("192.0.2.1"), [True])


class RuleTests(BansCase):
    def test_narrowest(self) -> None:
        """Who alone breaks a rule is banned alone; many neighbours who do it together are banned together."""
        self.bans = self.rule("spam-trap", Rule((3, 5, 100), DAY, HOUR))
        for _ in range(4):
            self.bans.report("192.0.2.1", "spam-trap", "trap@example.org")
        self.assertEqual(self.out("192.0.2.1", "192.0.2.2"), [True, False])
        ban = self.bans.all()[0]
        self.assertEqual((ban.network, ban.cause), ("192.0.2.1/32", "spam-trap"))
        self.assertEqual(ban.why, "more than 3 within a day, last: trap@example.org")
        for last in (2, 3):
            self.bans.report(f"192.0.2.{last}", "spam-trap", "")
        self.assertEqual(self.out("192.0.2.60", "192.0.2.64"), [True, False])

    def test_ipv6(self) -> None:
        """In IPv6 the narrowest network is a /64."""
        self.bans = self.rule("protocol-errors", Rule((1, 9, 9), HOUR, HOUR))
        self.bans.report("2001:db8::1", "protocol-errors")
        self.bans.report("2001:db8::2", "protocol-errors")
        self.assertEqual([ban.network for ban in self.bans.all()], ["2001:db8::/64"])

    def test_window(self) -> None:
        """What lies further back than the rule looks does not count."""
        self.bans = self.rule("protocol-errors", Rule((3, 9, 9), HOUR, HOUR))
        for _ in range(12):
            self.bans.report("192.0.2.1", "protocol-errors")
            self.clock.advance(HOUR)
        self.assertEqual(self.bans.all(), [])

    def test_doubles(self) -> None:
        """Each further time a ban lasts twice as long, up to a week; after a quiet week it begins anew."""
        self.bans = self.rule("protocol-errors", Rule((1, 9, 9), 60, 2 * HOUR))
        lengths = []
        for _ in range(9):
            for _ in range(2):
                self.bans.report("192.0.2.1", "protocol-errors")
            (ban,) = self.bans.all()
            lengths.append((ban.ends or 0) - ban.begun)
            self.clock.advance(lengths[-1])
        self.assertEqual(lengths, [n * HOUR for n in (2, 4, 8, 16, 32, 64, 128, 168, 168)])
        self.clock.advance(WEEK + 1)
        self.bans.all()
        for _ in range(2):
            self.bans.report("192.0.2.1", "protocol-errors")
        self.assertEqual(self.bans.all()[0].times, 1)

    def test_spraying(self) -> None:
        """Many different names are spraying, the same name again and again is not."""
        self.bans = self.rule("spraying", Rule((5, 50, 50), HOUR, HOUR))
        for _ in range(50):
            self.bans.failed_login("192.0.2.1", "alice@example.org")
        self.assertEqual(self.bans.all(), [])
        for number in range(6):
            self.bans.failed_login("192.0.2.2", f"user{number}@example.org")
        self.assertEqual([ban.network for ban in self.bans.all()], ["192.0.2.2/32"])

    def test_failed_logins(self) -> None:
        """Too many failed log-ins ban; those that count less, less."""
        self.bans = self.rule("failed-logins", Rule((10, 50, 50), DAY, HOUR))
        for _ in range(900):
            self.bans.failed_login("192.0.2.1", "alice", 0.01)
        self.assertEqual(self.bans.all(), [])
        for _ in range(2):
            self.bans.failed_login("192.0.2.1", "alice")
        self.assertEqual(len(self.bans.all()), 1)

    def test_welcome(self) -> None:
        """Where somebody logged in, nobody is banned by a rule for a week, and neither are the networks around it."""
        self.bans = self.rule("failed-logins", Rule((3, 5, 7), DAY, HOUR))
        self.bans.welcome("192.0.2.1")
        for _ in range(50):
            self.bans.failed_login("192.0.2.1", "x")
        for last in range(2, 62):
            self.bans.failed_login(f"192.0.2.{last}", "x")
        self.assertEqual(self.bans.all(), [])
        self.clock.advance(WEEK)
        for _ in range(4):
            self.bans.failed_login("192.0.2.1", "x")
        self.assertEqual(len(self.bans.all()), 1)

    def test_good_sender(self) -> None:
        """A server that brings mail of good senders is not banned for spam traps, but for guessing passwords."""
        self.bans = self.make()
        self.bans.welcome("192.0.2.1", by_mail=True)
        for _ in range(30):
            self.bans.report("192.0.2.1", "spam-trap", "")
            self.bans.report("192.0.2.1", "protocol-errors", "")
        self.assertEqual(self.bans.all(), [])
        for number in range(30):
            self.bans.failed_login("192.0.2.1", str(number))
        self.assertEqual([ban.cause for ban in self.bans.all()], ["spraying"])

    def test_who_is_good(self) -> None:
        """A sender is good by what the recipient knows of it, not because nothing spoke against it."""
        seen: list[str] = []
        adjust = GoodSenders(seen.append)
        nobody: Any = None
        for ip, reason, accept in (
            ("192.0.2.1", Reason.MSGFROMFULL, True),
            ("192.0.2.2", Reason.MSGFROMFULL, False),
            ("192.0.2.3", Reason.NO_BAD_SIGNALS, True),
            ("192.0.2.4", Reason.DKIMSPF, True),
            ("192.0.2.5", Reason.IP3, True),
        ):
            incoming: Any = SimpleNamespace(ip=ip, verified=SimpleNamespace(ip=IPv4Address(ip)))
            decision = Decision(accept=accept, reason=str(reason), explanation="", mailbox="INBOX")
            self.assertIs(adjust(incoming, nobody, decision), decision)
        self.assertEqual(seen, ["192.0.2.1", "192.0.2.4"])

    def test_never(self) -> None:
        """This machine, private networks and those of the operator are never banned by a rule."""
        self.bans = self.rule("spam-trap", Rule((1, 1, 1), DAY, HOUR))
        for ip in (
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "192.168.1.1",
            "fd00::1",
            "fe80::1%eth0",
            "::ffff:10.0.0.1",
            "",
        ):
            for _ in range(3):
                self.bans.report(ip, "spam-trap", "")
        self.assertEqual(self.bans.all(), [])

    def test_switched_off(self) -> None:
        """A rule whose ban lasts no time bans nobody."""
        self.bans = self.make(rules=dict.fromkeys(CAUSES, Rule((1, 1, 1), DAY, 0)))
        for number in range(9):
            self.bans.failed_login("192.0.2.1", str(number))
            self.bans.report("192.0.2.1", "spam-trap", "")
        self.assertEqual(self.bans.all(), [])

    def test_observers(self) -> None:
        """Whoever wants to end connections hears of new bans."""
        heard: list[str] = []
        self.bans.observers.append(lambda ban: heard.append(ban.network))
        self.add("192.0.2.1")
        self.assertEqual(heard, ["192.0.2.1/32"])


class BoundTests(BansCase):
    def test_many_bans(self) -> None:
        """There are never more bans than allowed: the operator's stay, of the others those that end last."""
        self.bans = self.rule("spam-trap", Rule((1, 999, 999), DAY, HOUR), max_bans=200)
        self.add("203.0.113.1", None)
        for number in range(1000):
            ip = str(IPv4Address(0x20000000 + number * 64))
            for _ in range(2):
                self.bans.report(ip, "spam-trap", "")
            self.clock.advance(1)
        self.assertLessEqual(len(self.bans), 200)
        self.assertGreater(len(self.bans), 190)
        self.assertEqual(set(self.records.rows), {ban.network for ban in self.bans.all()})
        self.assertEqual(self.out("203.0.113.1", str(IPv4Address(0x20000000 + 999 * 64))), [True, True])

    def test_operator_fills(self) -> None:
        """When all bans are the operator's, one more is refused, and a rule bans nobody."""
        self.bans = self.rule("spam-trap", Rule((1, 9, 9), DAY, HOUR), max_bans=3)
        for last in range(3):
            self.add(f"192.0.2.{last}")
        self.assertRaises(LimitError, self.bans.add, "192.0.2.4", "", DAY)
        for _ in range(3):
            self.bans.report("192.0.2.5", "spam-trap", "")
        self.assertEqual(len(self.bans), 3)

    def test_many_addresses(self) -> None:
        """A hundred thousand addresses that do everything wrong do not make it grow beyond its bounds."""
        self.bans = self.make()
        for number in range(100_000):
            ip = str(IPv4Address(0x20000000 + number * 4099 % 2**28))
            self.bans.failed_login(ip, f"user{number}")
            self.bans.report(ip, "spam-trap", "")
            self.bans.welcome(ip)
        kept = sum(len(counter) for counter in self.bans._counters.values())
        self.assertLessEqual(kept, 4 * 30_000)
        self.assertLessEqual(len(self.bans._names), 30_000)
        self.assertLessEqual(len(self.bans._welcome), 30_000)
        self.assertLessEqual(len(self.bans), 10_000)

    @given(
        st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(8, 32)), max_size=20),
        st.integers(0, 2**32 - 1),
    )
    @settings(max_examples=100)
    def test_like_ipaddress(self, networks: list[tuple[int, int]], address: int) -> None:
        """Who is banned is just who lies in one of the networks."""
        bans = Bans(self.clock.seconds, self.clock, BanSettings(never=()))
        held = set()
        for bits, length in networks:
            try:
                bans.add(f"{IPv4Address(bits)}/{length}", "", None)
            except MailError:
                continue
            held.add((bits >> (32 - length), length))
        ip = str(IPv4Address(address))
        expected = any(address >> (32 - length) == prefix for prefix, length in held) and address >> 24 != 127
        self.assertEqual(bans.refusal(ip) is not None, expected)


class ConnectionTests(BansCase):
    def test_admission(self) -> None:
        """The limiter of connections refuses who is banned, and passes on who made too many errors."""
        self.bans = self.rule("protocol-errors", Rule((1, 9, 9), HOUR, HOUR))
        limiter = ConnectionLimiter(ConnectionLimits(), self.clock, bans=self.bans)
        for _ in range(2):
            self.assertIsNone(limiter.admit("192.0.2.1"))
            limiter.release("192.0.2.1", errors=True)
        refusal = limiter.admit("192.0.2.1")
        self.assertEqual(refusal.kind if isinstance(refusal, Refusal) else "", "banned")
        self.assertEqual(limiter.open_connections("192.0.2.1"), (0, 0, 0))


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A place for it."""
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.pool = WriterPool(None, 0, Room(self.path))
        self.addCleanup(self.pool.stop)

    def test_file(self) -> None:
        """The file is made with the first ban, encrypted; what is written is read again."""
        records = BanRecords(self.path / "bans.db", b"k" * 32, self.pool)
        self.assertEqual((records.all(), list(self.path.glob("bans*"))), ([], []))
        one = Ban("192.0.2.0/26", "operator", "why", NOW, None, 1)
        two = Ban("2001:db8::/64", "spraying", "why not", NOW, NOW + 1, 3)
        self.successResultOf(records.write([one, two], ()))
        self.successResultOf(records.write([], ["192.0.2.9/32"]))
        self.successResultOf(records.close())
        self.assertNotIn(b"192.0.2", b"".join(p.read_bytes() for p in self.path.glob("bans*")))
        records = BanRecords(self.path / "bans.db", b"k" * 32, self.pool)
        self.assertEqual(sorted(records.all(), key=lambda ban: ban.network), [one, two])
        self.successResultOf(records.write([], [one.network]))
        self.assertEqual(records.all(), [two])
        self.successResultOf(records.close())
