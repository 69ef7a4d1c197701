"""One policy for all protocols: what happens over one counts for the others, and who is banned is refused by all."""

from __future__ import annotations

import base64

from moxtwisted.server.bans import Bans, BanSettings, Rule
from moxtwisted.server.loginlimits import LoginLimits
from moxtwisted.server.ratelimit import AuthenticationLimits
from tests.sasl.backends import CountingEntropy
from tests.server.house import SECRET, HouseCase, Line

LIMITS = AuthenticationLimits((4, 6, 8), (50, 150, 450))
RULES = {
    "failed-logins": Rule((12, 30, 30), 86400, 3600),
    "spraying": Rule((8, 30, 30), 3600, 3600),
    "protocol-errors": Rule((2, 9, 9), 3600, 3600),
    "spam-trap": Rule((1, 9, 9), 86400, 3600),
}
USER = "alice@example.org"


class PolicyCase(HouseCase):
    def setUp(self) -> None:
        """A house with bans, and small limits."""
        super().setUp()
        house = self.house
        house.give_passwords()
        self.bans = house.connections.bans = Bans(house.clock.seconds, house.clock, BanSettings(rules=RULES))
        house.authenticator.limits = LoginLimits(LIMITS, house.clock, CountingEntropy(), self.bans)

    def submission(self, password: str, ip: str, user: str = USER) -> str:
        """Log in over SMTP; the code of the answer."""
        line = self.house.submission("", ip)
        plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        answer = line.say(f"AUTH PLAIN {plain}")
        line.drop()
        return answer[:3]

    def imap(self, password: str, ip: str, user: str = USER) -> str:
        """Log in over IMAP; the beginning of the answer."""
        line = self.house.imap(ip)
        line.heard()
        answer = line.say(f'a LOGIN "{user}" "{password}"')
        line.drop()
        return answer.partition("]")[0]


class LoginTests(PolicyCase):
    def test_smtp_counts_for_imap(self) -> None:
        """Failed log-ins over SMTP keep an address out of IMAP, and nobody else."""
        for number in range(4):
            self.assertEqual(self.submission(f"wrong{number}", "198.51.100.1"), "535")
        self.assertEqual(self.imap(SECRET, "198.51.100.1"), "a NO [UNAVAILABLE")
        self.assertTrue(self.imap(SECRET, "198.51.100.2").startswith("a OK"))

    def test_imap_counts_for_smtp(self) -> None:
        """And the other way round; a minute or two later it is allowed again."""
        for number in range(4):
            self.assertEqual(self.imap(f"wrong{number}", "198.51.100.1"), "a NO [AUTHENTICATIONFAILED")
        self.assertEqual(self.submission(SECRET, "198.51.100.1"), "454")
        self.house.clock.advance(120)
        self.assertEqual(self.submission(SECRET, "198.51.100.1"), "235")

    def test_classes(self) -> None:
        """The networks around an address have limits of their own."""
        for last in range(3):
            for number in range(2):
                self.imap(f"wrong{last}{number}", f"198.51.100.{last + 1}")
        self.assertEqual(self.submission(SECRET, "198.51.100.60"), "454")
        self.assertEqual(self.submission(SECRET, "198.51.100.64"), "235")
        for last in range(2):
            self.imap(f"wrong{last}", f"198.51.{101 + last}.1")
        self.assertEqual(self.submission(SECRET, "198.51.103.1"), "454")
        self.assertEqual(self.submission(SECRET, "198.51.104.1"), "235")

    def test_success_resets(self) -> None:
        """A success over one protocol forgets the failures over the other."""
        for _ in range(3):
            for number in range(3):
                self.submission(f"wrong{number}", "198.51.100.1")
            self.assertTrue(self.imap(SECRET, "198.51.100.1").startswith("a OK"))

    def test_telephone(self) -> None:
        """A telephone with an old password does not lock out the office behind the same address."""
        for _ in range(8):
            for _ in range(30):
                self.imap("the old one", "198.51.100.1")
            self.house.clock.advance(3600)
        self.assertEqual(self.submission(SECRET, "198.51.100.1"), "235")
        self.assertEqual(self.bans.all(), [])


class BannedTests(PolicyCase):
    def refused(self, ip: str) -> list[bool]:
        """Whether SMTP, submission and IMAP refuse."""
        lines = (self.house.inbound(ip), self.house.submission("", ip), self.house.imap(ip))
        return [not line.transport.connected or "BYE" in line.heard() for line in lines]

    def banned(self) -> list[tuple[str, str]]:
        return [(ban.network, ban.cause) for ban in self.bans.all()]

    def test_all_refuse(self) -> None:
        """Who is banned is refused by all services, and let in when it is over; nothing is counted as connected."""
        self.bans.add("198.51.100.0/24", "", 60)
        self.assertEqual(self.refused("198.51.100.1"), [True] * 3)
        self.assertEqual(self.house.connections.open_connections("198.51.100.1"), (0, 0, 0))
        self.assertEqual(self.refused("198.51.101.1"), [False] * 3)
        self.house.clock.advance(60)
        self.assertEqual(self.refused("198.51.100.1"), [False] * 3)

    def test_failed_logins(self) -> None:
        """Who does not stop when log-ins are refused is banned, over whatever protocols it was."""
        for number in range(13):
            if self.bans.ban_of("198.51.100.1") is None:
                (self.imap if number % 2 else self.submission)(f"wrong{number}", "198.51.100.1")
        self.assertEqual(self.banned(), [("198.51.100.1/32", "failed-logins")])
        self.assertEqual(self.refused("198.51.100.1"), [True] * 3)

    def test_spraying(self) -> None:
        """Who tries many names is banned sooner; it makes no difference whether they exist."""
        names = [USER, "bob@example.org", *(f"nobody{n}@example.org" for n in range(7))]
        for number, name in enumerate(names):
            self.house.clock.advance(30)
            (self.imap if number % 2 else self.submission)("123456", "198.51.100.1", name)
        self.assertEqual(self.banned(), [("198.51.100.1/32", "spraying")])

    def test_where_somebody_logged_in(self) -> None:
        """Where somebody logged in this week, failures are refused, and nobody is banned."""
        self.imap(SECRET, "198.51.100.1")
        for number in range(40):
            self.imap(f"wrong{number}", "198.51.100.1", f"user{number}@example.org")
        self.assertEqual(self.banned(), [])
        self.assertEqual(self.imap(SECRET, "198.51.100.1"), "a NO [UNAVAILABLE")

    def test_protocol_errors(self) -> None:
        """Who talks nonsense until we hang up, again and again, is banned: over SMTP and IMAP together."""
        self.nonsense(self.house.inbound("198.51.100.1"))
        self.assertEqual(self.banned(), [])
        self.nonsense(self.house.submission("", "198.51.100.1"))
        line = self.house.imap("198.51.100.1")
        line.say("GET / HTTP/1.1")
        line.drop()
        self.assertEqual(self.banned(), [("198.51.100.1/32", "protocol-errors")])
        self.assertEqual(self.refused("198.51.100.1"), [True] * 3)

    def test_polite(self) -> None:
        """Who quits, or disappears, or makes one mistake, did no wrong."""
        for number in range(9):
            line = self.house.inbound("198.51.100.1")
            line.say("NONSENSE", "QUIT") if number % 2 else line.say("NONSENSE")
            line.drop()
            line = self.house.imap("198.51.100.1")
            line.say("a NOOP", "b NONSENSE")
            line.drop()
        self.assertEqual(self.banned(), [])

    @staticmethod
    def nonsense(line: Line) -> None:
        for _ in range(30):
            if line.transport.connected:
                line.say("GET / HTTP/1.1")
        line.drop()
