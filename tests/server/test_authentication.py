"""The authenticator: passwords, keys, what is remembered, limits, what is logged."""

from __future__ import annotations

import base64
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxtwisted.errors import StoreUnavailableError
from moxtwisted.sasl.client import Credentials, ScramClient
from moxtwisted.sasl.credentials import PasswordVerifiers, derive
from moxtwisted.sasl.interfaces import ISASLBackend
from moxtwisted.sasl.outcome import Accepted, Challenge, Failure, Outcome, Reason, Success
from moxtwisted.sasl.prep import PreparationError
from moxtwisted.sasl.scrammessages import parse_server_first
from moxtwisted.sasl.server import begin
from moxtwisted.server.authentication import (
    Attempt,
    AuthenticationSettings,
    Authenticator,
    BusyError,
    HashPool,
    ICredentialSource,
    IPasswordWork,
    LoginRecord,
    Origin,
    Session,
    normalise_login,
)
from moxtwisted.server.loginlimits import LoginLimits
from moxtwisted.server.ratelimit import AuthenticationLimits
from moxtwisted.server.submission.handler import Submission, SubmissionFactory, SubmissionSettings
from moxtwisted.smtp.protocol import SMTPServerFactory
from moxtwisted.smtp.settings import Mode, ServerSettings
from tests.sasl.backends import CHEAP, CountingEntropy, converse
from tests.server.house import HOST, HouseCase, Line

PASSWORD = "correct horse"
VERIFIERS = derive(PASSWORD, CountingEntropy(), costs=CHEAP, cram_md5=True).to_bytes()
KEY = "ab" * 32


@implementer(ICredentialSource)
class _Source:
    """One account, and a way to be broken."""

    def __init__(self) -> None:
        record = LoginRecord("mjl", "mjl@example.org", VERIFIERS)
        self.records = {"mjl@example.org": record, "m@example.org": record}
        self.keys = {KEY: record}
        self.lookups: list[str] = []
        self.error: Exception | None = None

    async def lookup(self, login: str) -> LoginRecord | None:
        """See L{ICredentialSource}."""
        self.lookups.append(login)
        if self.error is not None:
            raise self.error
        return self.records.get(login)

    def canonical(self, login: str) -> str:
        """See L{ICredentialSource}."""
        return login.lower()

    async def lookup_key(self, fingerprint: str) -> LoginRecord | None:
        """See L{ICredentialSource}."""
        if self.error is not None:
            raise self.error
        return self.keys.get(fingerprint)


@implementer(IPasswordWork)
class _Work:
    """Does the work at once, or when it is told to."""

    def __init__(self) -> None:
        self.done = 0
        self.hold: list[Deferred[None]] | None = None
        self.busy = False

    def run(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        """See L{IPasswordWork}."""
        if self.busy:
            raise BusyError("busy")
        self.done += 1
        if self.hold is None:
            return succeed(function(*arguments))
        held: Deferred[None] = Deferred()
        self.hold.append(held)
        return held.addCallback(lambda _: function(*arguments))

    def release(self) -> None:
        """Do what was held."""
        held, self.hold = self.hold or [], None
        for one in held:
            one.callback(None)


@implementer(ILogObserver)
class _Log:
    """Keeps our events."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: Any) -> None:
        """Keep it."""
        if str(event.get("log_namespace", "")).startswith("moxtwisted."):
            self.events.append(event)


class AuthenticatorCase(SynchronousTestCase):
    """An authenticator over one account."""

    def setUp(self) -> None:
        """Make it."""
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.source = _Source()
        self.work = _Work()
        self.authenticator = self.make()
        self.session = self.authenticator.session(Origin("192.0.2.1", "imap", "c1"))

    def make(self, **settings: Any) -> Authenticator:
        """An authenticator with these settings."""
        return Authenticator(
            self.source,
            self.work,
            self.clock,
            CountingEntropy(),
            limits=LoginLimits(
                settings.pop("limits", None) or AuthenticationLimits(), self.clock, CountingEntropy()
            ),
            settings=AuthenticationSettings(costs=CHEAP, **settings),
        )

    def run_now(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result, which must be there already."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def check(
        self, username: str = "mjl@example.org", password: str = PASSWORD, session: Session | None = None
    ) -> Any:
        """Check a password."""
        return self.run_now((session or self.session).check_password(username, password, "PLAIN"))


class PasswordTests(AuthenticatorCase):
    """PLAIN and LOGIN."""

    def test_right_and_wrong(self) -> None:
        """The right password gives the account, anything else the same refusal."""
        verifyObject(ISASLBackend, self.session)
        self.assertEqual(self.check(), Accepted("mjl@example.org", "mjl"))
        for username, password in (
            ("mjl@example.org", "wrong"),
            ("nobody@example.org", PASSWORD),
            ("a b", PASSWORD),
            ("mjl@example.org", "\0"),
            ("\ud800", "\ud800"),
        ):
            work = self.work.done
            self.assertEqual(self.check(username, password), Failure(Reason.BAD_CREDENTIALS, username))
            # each refusal costs a hash (the first unknown user also the making of the decoy)
            self.assertGreater(self.work.done, work)

    def test_spelling(self) -> None:
        """Case and A-labels of the domain, full-width letters and an alias of the account do not matter."""
        for username in ("mjl@EXAMPLE.org", "mjl@example.org", "m@example.org", "ｍ@example.org"):
            self.assertEqual(self.check(username), Accepted("mjl@example.org", "mjl"), username)
        self.assertEqual(normalise_login("a@MÜNSTER.example"), "a@xn--mnster-3ya.example")
        self.assertEqual(normalise_login("Just.A.Name"), "Just.A.Name")
        self.assertEqual(normalise_login("a@B_C..d"), "a@b_c..d")
        self.assertRaises(PreparationError, normalise_login, "")

    def test_disabled(self) -> None:
        """A disabled account reads the operator's text after the right password only."""
        self.source.records["mjl@example.org"] = evolve(
            self.source.records["mjl@example.org"], disabled="moved away"
        )
        self.assertEqual(self.check(), Failure(Reason.DISABLED, "mjl@example.org", "moved away"))
        self.assertEqual(self.check(password="wrong").reason, Reason.BAD_CREDENTIALS)
        self.assertEqual(self.check().public_text, "moved away")

    def test_no_password_set(self) -> None:
        """An account without password takes none, and costs the same."""
        self.source.records["new@example.org"] = LoginRecord("new", "new@example.org", None)
        self.assertEqual(self.check("new@example.org", "").reason, Reason.BAD_CREDENTIALS)
        self.assertGreaterEqual(self.work.done, 1)

    def test_trouble_below(self) -> None:
        """Trouble in the store, damaged verifiers, a bug and a full queue are temporary failures, not refusals."""
        self.source.error = StoreUnavailableError("locked")
        self.assertEqual(self.check(), Failure(Reason.UNAVAILABLE, "mjl@example.org", detail="locked"))
        self.source.error = ZeroDivisionError()
        self.assertEqual(self.check().reason, Reason.UNAVAILABLE)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.source.error = None
        self.source.records["mjl@example.org"] = LoginRecord("mjl", "mjl@example.org", b"{}")
        self.assertEqual(self.check().reason, Reason.UNAVAILABLE)
        self.work.busy = True
        self.assertEqual(self.check("m@example.org").reason, Reason.UNAVAILABLE)
        self.assertTrue(self.authenticator.limits.limiter.allows("192.0.2.1", 10))
        self.assertEqual(self.authenticator.counts["imap", "PLAIN", "error"], 4)


class CacheTests(AuthenticatorCase):
    """What is remembered."""

    def test_remembered(self) -> None:
        """A right password is not checked again for a quarter of an hour; a wrong one always is."""
        self.check()
        self.assertEqual(self.work.done, 1)
        self.clock.advance(899)
        self.assertEqual(self.check(), Accepted("mjl@example.org", "mjl"))
        self.assertEqual((self.work.done, len(self.source.lookups)), (1, 1))
        self.assertIsInstance(self.check(password="wrong"), Failure)
        self.assertEqual(self.work.done, 2)
        self.clock.advance(1)
        self.check()
        self.assertEqual(self.work.done, 3)

    def test_forget(self) -> None:
        """After a change of the password or the directory the memory is gone, for all names of the account."""
        for forget in (lambda: self.authenticator.forget("mjl"), self.authenticator.forget_all):
            self.check()
            self.check("m@example.org")
            done = self.work.done
            forget()
            self.check()
            self.check("m@example.org")
            self.assertEqual(self.work.done, done + 2)
        self.authenticator.forget("somebody else")
        done = self.work.done
        self.check()
        self.assertEqual(self.work.done, done)

    def test_change_during_a_check(self) -> None:
        """A check that began before a change of the password is not remembered."""
        self.work.hold = []
        answer = Deferred.fromCoroutine(self.session.check_password("mjl@example.org", PASSWORD, "PLAIN"))
        self.authenticator.forget("mjl")
        self.work.release()
        self.assertIsInstance(self.successResultOf(answer), Accepted)
        self.check()
        self.assertEqual(self.work.done, 2)

    def test_no_secret_in_memory(self) -> None:
        """Neither the cache nor a representation holds the password."""
        self.check()
        self.assertNotIn(PASSWORD, repr(self.authenticator._cache))
        self.assertNotIn("argon2", repr(self.source.records))
        self.assertNotEqual(self.authenticator.digest("a", "bc"), self.authenticator.digest("ab", "c"))

    def test_bounded_and_off(self) -> None:
        """So many are remembered and no more; with no time or no room nothing is."""
        record = self.source.records["mjl@example.org"]
        for number in range(5):
            self.source.records[f"{number}@example.org"] = record
        small = self.make(cache_entries=3)
        session = small.session(Origin("192.0.2.1", "imap"))
        for number in range(5):
            self.check(f"{number}@example.org", session=session)
        self.assertEqual(list(small._cache), ["2@example.org", "3@example.org", "4@example.org"])
        for settings in ({"cache_seconds": 0}, {"cache_entries": 0}):
            off = self.make(**settings)
            self.check(session=off.session(Origin("192.0.2.1", "imap")))
            self.assertEqual(len(off._cache), 0)

    def test_equal_checks_share_the_work(self) -> None:
        """Equal checks at the same time are one check; other passwords have their own."""
        self.work.hold = []
        answers = [
            Deferred.fromCoroutine(self.session.check_password("mjl@example.org", password, "PLAIN"))
            for password in (PASSWORD, PASSWORD, "wrong", PASSWORD, "wrong")
        ]
        self.assertEqual(self.work.done, 2)
        self.work.release()
        results = [self.successResultOf(answer) for answer in answers]
        self.assertEqual([isinstance(r, Accepted) for r in results], [True, True, False, True, False])
        self.assertEqual(self.authenticator._waiting, {})

    def test_the_first_of_them_goes_away(self) -> None:
        """When the connection that does the work is lost, the others are told to try again."""
        self.work.hold = []
        first, second, third = (
            Deferred.fromCoroutine(self.session.check_password("mjl@example.org", PASSWORD, "PLAIN"))
            for _ in range(3)
        )
        third.cancel()
        self.failureResultOf(third, CancelledError)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(getattr(self.successResultOf(second), "reason", None), Reason.UNAVAILABLE)
        self.assertEqual(self.authenticator._waiting, {})


class LimitTests(AuthenticatorCase):
    """Who fails too often."""

    def test_limited(self) -> None:
        """After ten failures in a minute nothing is checked any more, for the whole network in the end."""
        for number in range(10):
            self.assertEqual(self.check(password=f"wrong{number}").reason, Reason.BAD_CREDENTIALS)
        done = self.work.done
        self.assertEqual(self.check().reason, Reason.LIMITED)
        self.assertEqual(self.run_now(self.session.external("")).reason, Reason.LIMITED)
        verifiers = self.run_now(self.session.verifiers("mjl@example.org", "SCRAM-SHA-256"))
        self.assertEqual(verifiers.reason, Reason.LIMITED)
        self.assertEqual(self.work.done, done)
        other = self.authenticator.session(Origin("198.51.100.1", "imap"))
        self.assertIsInstance(self.check(session=other), Accepted)
        self.clock.advance(120)
        self.assertIsInstance(self.check(), Accepted)

    def test_success_resets(self) -> None:
        """A success forgets the failures of the address."""
        for _ in range(3):
            for number in range(9):
                self.check(password=f"wrong{number}")
            self.assertIsInstance(self.check(), Accepted)
        self.assertEqual(self.session.failures, 27)

    def test_the_same_again(self) -> None:
        """The same wrong password again counts a hundredth and costs work once a minute; another one counts whole."""
        for _ in range(400):
            self.assertEqual(self.check(password="old one").reason, Reason.BAD_CREDENTIALS)
        self.assertLessEqual(self.work.done, 2)  # one more for the unknown user's hash
        self.clock.advance(61)
        done = self.work.done
        self.check(password="old one")
        self.check(password="old one")
        self.assertEqual(self.work.done, done + 1)
        for number in range(9):
            self.check(password=f"wrong{number}")
        self.check(password="wrong10")
        self.assertEqual(self.check().reason, Reason.LIMITED)

    def test_the_same_from_elsewhere(self) -> None:
        """What one network knows as wrong is looked at again for another one, and counts whole there."""
        self.check(password="old one")
        done = self.work.done
        other = self.authenticator.session(Origin("198.51.100.1", "imap"))
        self.check(password="old one", session=other)
        self.assertEqual(self.work.done, done + 1)

    def test_changed_password(self) -> None:
        """When a password changes, none is known as wrong any more, neither one that was just being looked at."""
        self.work.hold = []
        first = Deferred.fromCoroutine(self.session.check_password("mjl@example.org", "new one", "PLAIN"))
        self.authenticator.forget("mjl")
        self.work.release()
        self.assertIsInstance(self.successResultOf(first), Failure)
        verifiers = derive("new one", CountingEntropy(), costs=CHEAP).to_bytes()
        self.source.records["mjl@example.org"] = evolve(
            self.source.records["mjl@example.org"], verifiers=verifiers
        )
        self.assertIsInstance(self.check(password="new one"), Accepted)

    def test_three_are_known(self) -> None:
        """Of one login name three wrong passwords are known; a guesser's list is longer."""
        for _ in range(2):
            for number in range(5):
                self.check(password=f"wrong{number}")
        self.assertEqual(self.check().reason, Reason.LIMITED)

    def test_bounded(self) -> None:
        """A hundred thousand addresses and names do not make it grow without end."""
        limits = self.authenticator.limits
        for number in range(100_000):
            ip = f"20.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            limits.failed(ip, f"user{number}", limits.mark(number.to_bytes(32)))
        self.assertLessEqual(len(limits._wrong), 20_000)
        self.assertLessEqual(len(limits.limiter), 200_000)

    def test_exempt(self) -> None:
        """Exempt networks and peers without address are not limited."""
        authenticator = self.make(limits=AuthenticationLimits((1, 1, 1), exempt=("192.0.2.0/24",)))
        for ip in ("192.0.2.1", ""):
            session = authenticator.session(Origin(ip, "imap"))
            for _ in range(3):
                self.assertEqual(self.check(password="wrong", session=session).reason, Reason.BAD_CREDENTIALS)

    def test_aborted_is_not_blamed(self) -> None:
        """Cancelled exchanges are counted as attempts, not as failures of the network."""
        for _ in range(20):
            self.run_now(self.session.conclude("", "PLAIN", Reason.ABORTED))
        self.assertEqual(self.authenticator.counts["imap", "PLAIN", "aborted"], 20)
        self.assertIsInstance(self.check(), Accepted)


class ExchangeTests(AuthenticatorCase):
    """Whole exchanges over a session."""

    def _scram(self, username: str, password: str, **options: Any) -> Any:
        client = ScramClient(
            "SCRAM-SHA-256-PLUS",
            Credentials(username, password),
            CountingEntropy(),
            bindings={"tls-exporter": b"E"},
        )
        context = self.session.context(bindings={"tls-exporter": [b"E"]}, plus_offered=True)
        server = begin("SCRAM-SHA-256-PLUS", ["SCRAM-SHA-256-PLUS"], context)
        if server is None:
            raise self.failureException("not on offer")
        return converse(client, server)

    def test_scram(self) -> None:
        """SCRAM works over the session, for the right password of a known, enabled user."""
        want = Success("mjl@example.org", "mjl", "", "SCRAM-SHA-256-PLUS")
        self.assertEqual(self._scram("mjl@Example.org", PASSWORD), want)
        self.assertEqual(self._scram("mjl@example.org", "wrong").reason, Reason.BAD_CREDENTIALS)
        self.assertEqual(self._scram("x@example.org", PASSWORD).reason, Reason.BAD_CREDENTIALS)
        self.assertEqual(self._scram("x\u0007@example.org", PASSWORD).reason, Reason.BAD_CREDENTIALS)
        self.source.records["mjl@example.org"] = evolve(
            self.source.records["mjl@example.org"], disabled="moved away"
        )
        self.assertEqual(self._scram("mjl@example.org", PASSWORD).text, "moved away")
        self.assertEqual(
            self.authenticator.counts,
            {
                ("imap", "SCRAM-SHA-256-PLUS", "ok"): 1,
                ("imap", "SCRAM-SHA-256-PLUS", "badcreds"): 3,
                ("imap", "SCRAM-SHA-256-PLUS", "logindisabled"): 1,
            },
        )
        self.assertEqual(self.work.done, 0)

    def test_scram_with_trouble_below(self) -> None:
        """Trouble in the store ends SCRAM with a temporary failure."""
        self.source.error = StoreUnavailableError("locked")
        self.assertEqual(self._scram("mjl@example.org", PASSWORD).reason, Reason.UNAVAILABLE)

    def test_conclusion_without_verifiers(self) -> None:
        """A proof for verifiers that were never asked for is worth nothing."""
        outcome = self.run_now(self.session.conclude("mjl@example.org", "SCRAM-SHA-256", None))
        self.assertEqual(outcome.reason, Reason.BAD_CREDENTIALS)

    def test_no_password_for_scram(self) -> None:
        """A user without password gets decoys like an unknown one."""
        self.source.records["new@example.org"] = LoginRecord("new", "new@example.org", None)
        self.assertIsNone(self.run_now(self.session.verifiers("new@example.org", "SCRAM-SHA-256")))

    def test_external(self) -> None:
        """A registered key logs in its account, as itself or by one of the account's names, and nobody else."""

        def external(username: str) -> Outcome:
            outcome: Outcome = self.run_now(self.session.external(username))
            return outcome

        self.assertEqual(self.session.failures, 0)
        self.assertIsInstance(external(""), Failure)
        self.session.update(fingerprint="00" * 32)
        self.assertIsInstance(external(""), Failure)
        self.session.update(fingerprint=KEY, user_agent="x")
        self.source.records["other@example.org"] = LoginRecord("other", "other@example.org", VERIFIERS)
        for username in ("", "mjl@example.org", "m@Example.org"):
            self.assertEqual(external(username), Accepted("mjl@example.org", "mjl"))
        for username in ("other@example.org", "nobody@example.org", "a b"):
            self.assertEqual(
                external(username),
                Failure(Reason.BAD_CREDENTIALS, username, detail=getattr(external(username), "detail", "")),
            )
        self.source.keys[KEY] = evolve(self.source.keys[KEY], disabled="no")
        self.assertEqual(external(""), Failure(Reason.DISABLED, "", "no"))
        self.source.error = StoreUnavailableError("locked")
        self.assertEqual(getattr(external(""), "reason", None), Reason.UNAVAILABLE)


class AbandonedTests(AuthenticatorCase):
    """Exchanges that are left after their salt was shown."""

    def _show(self, username: str = "mjl@example.org") -> Any:
        """The exchange after its first message, and what that was answered with."""
        server = begin("SCRAM-SHA-256", ["SCRAM-SHA-256"], self.session.context())
        if server is None:
            raise self.failureException("not on offer")
        return server, self.run_now(server.respond(f"n,,n={username},r=abc".encode()))

    def test_counted(self) -> None:
        """Whoever takes ten salts in a minute and leaves gets no more, whether the users exist or not."""
        for username in ("mjl@example.org", "nobody@example.org") * 5:
            server, step = self._show(username)
            self.assertIsInstance(step, Challenge)
            self.run_now(server.abort())
            self.run_now(server.abort())
        self.assertEqual(self._show()[1].reason, Reason.LIMITED)
        self.assertEqual(self.authenticator.counts["imap", "SCRAM-SHA-256", "aborted"], 10)
        self.assertEqual(self.session.failures, 11)

    def test_before_the_salt(self) -> None:
        """Leaving before a salt was shown is no failure, nor is leaving because of our own trouble."""
        for _ in range(20):
            server = begin("SCRAM-SHA-256", ["SCRAM-SHA-256"], self.session.context())
            if server is None:
                raise self.failureException("not on offer")
            self.run_now(server.respond(None))
            self.run_now(server.abort())
        self.source.error = StoreUnavailableError("locked")
        for _ in range(20):
            server, step = self._show()
            self.assertEqual(step.reason, Reason.UNAVAILABLE)
            self.run_now(server.abort())
        self.assertTrue(self.authenticator.limits.limiter.allows("192.0.2.1", 10))

    def test_finished(self) -> None:
        """An exchange that came to its end counts as what it was: success not at all, also when the connection then goes;
        a wrong password once."""
        for password, failed in ((PASSWORD, 0), ("wrong", 1)):
            server = begin("SCRAM-SHA-256", ["SCRAM-SHA-256"], self.session.context())
            if server is None:
                raise self.failureException("not on offer")
            client = ScramClient("SCRAM-SHA-256", Credentials("mjl@example.org", password), CountingEntropy())
            step = self.run_now(server.respond(client.start()))
            self.run_now(server.respond(client.step(step.data)))
            self.run_now(server.abort())
            self.assertTrue(self.authenticator.limits.limiter.allows("192.0.2.1", 10 - failed))
            self.assertEqual(self.authenticator.limits.limiter.allows("192.0.2.1", 10), not failed)

    def test_exempt(self) -> None:
        """Exempt networks may take as many salts as they like."""
        authenticator = self.make(limits=AuthenticationLimits((1, 1, 1), exempt=("192.0.2.0/24",)))
        self.session = authenticator.session(Origin("192.0.2.1", "imap"))
        for _ in range(5):
            server, step = self._show()
            self.assertIsInstance(step, Challenge)
            self.run_now(server.abort())


class SpellingTests(HouseCase):
    """What the salts of many names tell, over the directory of a house."""

    def setUp(self) -> None:
        """The house, with passwords."""
        super().setUp()
        self.house.give_passwords()
        self.session = self.house.authenticator.session(Origin("", "imap"))

    def _salt(self, username: str, algorithm: str = "SHA-256") -> bytes:
        context = self.session.context()
        server = begin(f"SCRAM-{algorithm}", [f"SCRAM-{algorithm}"], context)
        if server is None:
            raise self.failureException("not on offer")
        step = self.successResultOf(Deferred.fromCoroutine(server.respond(f"n,,n={username},r=abc".encode())))
        if not isinstance(step, Challenge):
            raise self.failureException(step)
        return parse_server_first(step.data).salt

    def test_spellings_do_not_tell(self) -> None:
        """Which spellings of a name share a salt is the same for users and for nobody, in every kind of domain."""
        spellings = (
            "{0}@{1}",
            "{0}+x@{1}",
            "{0}+x+y@{1}",
            "{0}-x@{1}",
            '"{0}"@{1}',
            "{2}@{1}",
            "{2}+X@{1}",
            "{0}@{3}",
            "+{0}@{1}",
            "{0}",
        )
        for domain, known in (("example.org", "alice"), ("strict.example", "Bob"), ("off.example", "alice")):
            for algorithm in ("SHA-256", "SHA-1"):
                patterns: list[list[int]] = []
                for name in (known, "Nobody" if known == "Bob" else "nobody"):
                    salts = [
                        self._salt(s.format(name, domain, name.swapcase(), domain.upper()), algorithm)
                        for s in spellings
                    ]
                    patterns.append([salts.index(salt) for salt in salts])
                somebody, nobody = patterns
                self.assertEqual(somebody, nobody, domain)
        self.assertEqual(self._salt("nobody+a@elsewhere.example"), self._salt("NOBODY@Elsewhere.example"))
        self.assertNotEqual(self._salt("nobody@example.org"), self._salt("nobody@elsewhere.example"))

    def test_canonical(self) -> None:
        """The canonical form goes by the domain's rules, and nothing that can be sent stops it."""
        source = self.house.authenticator.source
        for login, want in (
            ("Alice+x@example.org", "alice@example.org"),
            ("Nobody+x@example.org", "nobody@example.org"),
            ("Bob+x@strict.example", "Bob+x@strict.example"),
            ("No+x@elsewhere.example", "no@elsewhere.example"),
            ("no+x@[192.0.2.1]", "no@[192.0.2.1]"),
            ("Alice", "Alice"),
            ("", ""),
            ("\ud800@example.org", "\ud800@example.org"),
        ):
            self.assertEqual(source.canonical(login), want)
        for name in ("a b", "x\u0007@example.org", "@", "a@", "\u265a+x@example.org", "a@b@c", "x" * 2000):
            self.assertEqual(self._salt(name), self._salt(name))

    def test_one_account(self) -> None:
        """Two addresses of an account share its salt: what is left to be seen, see moxtwisted.server.credentials."""
        self.assertEqual(self._salt("bob@example.org"), self._salt("Bob@strict.example"))

    def _submission(self) -> Line:
        house = self.house
        mechanisms = ("SCRAM-SHA-256",)
        settings = ServerSettings(
            hostname=HOST, mode=Mode.SUBMISSION, mechanisms=mechanisms, auth_without_tls=True
        )
        shared = Submission(
            settings=SubmissionSettings(hostname=HOST, mechanisms=mechanisms, limits=house.limits),
            store=house.store,
            queue=house.queue,
            directory=house.holder,
            delivery=house.delivery,
            authenticator=house.authenticator,
            clock=house.clock,
            connections=house.connections,
            provocation=house.provocation,
            seconds=house.clock.seconds,
        )
        factory = SMTPServerFactory(settings, SubmissionFactory(shared), house.clock)
        line = Line(factory, house.clock, "192.0.2.1")
        line.say("EHLO [192.0.2.1]")
        return line

    def test_gone(self) -> None:
        """A client of submission that takes the salt and hangs up, or cancels, has failed once; ten times, and it gets none."""
        first = base64.b64encode(b"n,,n=alice@example.org,r=abc").decode()
        for number in range(10):
            line = self._submission()
            self.assertTrue(line.say(f"AUTH SCRAM-SHA-256 {first}").startswith("334 "))
            if number % 2:
                self.assertTrue(line.say("*").startswith("501 "))
            line.drop()
        line = self._submission()
        self.assertTrue(line.say(f"AUTH SCRAM-SHA-256 {first}").startswith("454 "))
        line.drop()


class ReportTests(AuthenticatorCase):
    """What is told of attempts."""

    def test_log_and_observers(self) -> None:
        """Each attempt is logged and observed once, with its session and without any secret."""
        log = _Log()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        attempts: list[Attempt] = []
        self.authenticator.observers.append(attempts.append)
        self.check()
        self.check(password="wrong-password")
        self.check("x" * 1000, "wrong-password")
        self.assertEqual([a.result for a in attempts], ["ok", "badcreds", "badcreds"])
        self.assertEqual([a.account for a in attempts], ["mjl", "", ""])
        self.assertEqual(attempts[0].origin, self.session.origin)
        self.assertEqual((attempts[0].at, attempts[0].mechanism), (1_800_000_000.0, "PLAIN"))
        self.assertEqual(len(attempts[2].login), 320)
        self.assertEqual([e["result"] for e in log.events], ["ok", "badcreds", "badcreds"])
        for event in log.events:
            self.assertEqual((event["session"], event["peer"]), ("c1", "192.0.2.1"))
            self.assertNotIn(PASSWORD, repr(event))
            self.assertNotIn("wrong-password", repr(event))

    def test_decoys(self) -> None:
        """The decoys of two authenticators with the same secret agree, so that a restart changes nothing."""
        one, two, other = (
            self.make(decoy_secret=secret).decoys.scram("x", "SHA-256").salt
            for secret in (b"s" * 16, b"s" * 16, b"t" * 16)
        )
        self.assertEqual(one, two)
        self.assertNotEqual(one, other)


class PoolTests(TestCase):
    """The threads, real ones."""

    async def test_runs_elsewhere(self) -> None:
        """Work is done in another thread, and what it raises comes back."""
        pool = HashPool(reactor, threads=1)  # type: ignore[arg-type]
        pool.start()
        pool.start()
        self.addCleanup(pool.stop)
        self.assertNotEqual(await pool.run(threading.get_ident), threading.get_ident())
        with self.assertRaises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)
        self.assertEqual(PasswordVerifiers.from_bytes(VERIFIERS).argon2id[:9], "$argon2id")

    async def test_bounded(self) -> None:
        """More than the queue holds is refused, as is work before the start and after the stop."""
        pool = HashPool(reactor, threads=1, max_pending=2)  # type: ignore[arg-type]
        with self.assertRaises(BusyError):
            await pool.run(int)
        pool.start()
        gate = threading.Event()
        self.addCleanup(gate.set)
        running = [Deferred.fromCoroutine(pool.run(gate.wait)) for _ in range(2)]
        with self.assertRaises(BusyError):
            await pool.run(int)
        gate.set()
        for one in running:
            await one
        self.assertEqual(await pool.run(int), 0)
        pool.stop()
        pool.stop()
        with self.assertRaises(BusyError):
            await pool.run(int)
