"""Log-ins that an authority decides: its answers, its silence, both modes, what is said in the log, what is offered."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.python.failure import Failure as TwistedFailure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool, ResponseNeverReceived
from twisted.web.server import Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxtwisted.compose.authority import make_elsewhere, offered_mechanisms
from moxtwisted.config.schema import Authentication, Authority
from moxtwisted.sasl.outcome import Accepted, Failure, Reason
from moxtwisted.server.authentication import Authenticator, LoginRecord, Origin
from moxtwisted.server.authority import Answer, Elsewhere, ILoginAuthority, LoginAttempt, Verdict
from moxtwisted.server.certificates.selfsigned import self_signed
from moxtwisted.server.fuse import Fuse
from moxtwisted.server.nauthilus import PATH, Nauthilus, NauthilusSettings, authorization
from tests.sasl.backends import CountingEntropy
from tests.server.house import SECRET, HouseCase
from tests.server.nauthilus import BASIC, FakeNauthilus
from tests.server.test_authentication import AuthenticatorCase

USER, PASSWORD = "mjl@example.org", "correct horse"
OTHER = "their own secret"


@implementer(ILoginAuthority)
class _Authority:
    """Knows one password, or nothing."""

    def __init__(self) -> None:
        self.knows: dict[str, str] = {USER: OTHER, "hr@example.org": OTHER}
        self.answers = True
        self.login = ""
        self.asked: list[LoginAttempt] = []
        self.heard: list[LoginAttempt] = []

    async def decide(self, attempt: LoginAttempt) -> Answer:
        """See L{ILoginAuthority}."""
        self.asked.append(attempt)
        if not self.answers:
            return Answer(Verdict.UNSURE, detail="down")
        right = self.knows.get(attempt.username) == attempt.password
        return Answer(Verdict.ALLOW, self.login) if right else Answer(Verdict.DENY, detail="wrong")

    async def told(self, attempt: LoginAttempt) -> None:
        """See L{ILoginAuthority}."""
        self.heard.append(attempt)


class ElsewhereCase(AuthenticatorCase):
    def setUp(self) -> None:
        """The local password is one, the authority's is another."""
        super().setUp()
        self.authority = _Authority()
        self.use("instead")

    def use(
        self, mode: Literal["instead", "also"], when_unavailable: Literal["local", "refuse"] = "refuse"
    ) -> None:
        self.authenticator.elsewhere = Elsewhere(self.authority, mode, when_unavailable)

    def result(self, password: str, username: str = USER) -> str:
        outcome = self.check(username, password)
        return "ok" if isinstance(outcome, Accepted) else outcome.reason.value


class InsteadTests(ElsewhereCase):
    def test_decides(self) -> None:
        """Its word counts and the local password does not; it is asked each time, and told where it comes from."""
        verifyObject(ILoginAuthority, self.authority)
        self.assertEqual(
            [self.result(OTHER), self.result(OTHER), self.result(PASSWORD)], ["ok", "ok", "badcreds"]
        )
        self.assertEqual([attempt.number for attempt in self.authority.asked], [1, 1, 1])
        self.assertEqual(self.authority.asked[0].origin.ip, "192.0.2.1")
        self.assertEqual(self.work.done, 0)
        self.assertNotIn(OTHER, repr(self.authority.asked[0]))

    def test_no_account_here(self) -> None:
        """Who has no account here does not get in, unless the authority knows him by a name that has."""
        self.assertEqual(self.result(OTHER, "hr@example.org"), "badcreds")
        self.authority.login = USER
        self.clock.advance(61)
        self.assertEqual(self.check("hr@example.org", OTHER), Accepted(USER, "mjl"))

    def test_disabled(self) -> None:
        """An account that is disabled here is."""
        self.source.records[USER] = LoginRecord("mjl", USER, None, disabled="call us")
        self.assertEqual(self.check(USER, OTHER), Failure(Reason.DISABLED, USER, "call us"))

    def test_silent(self) -> None:
        """Without an answer clients come again later, or the local password counts; silence is no failed log-in."""
        self.authority.answers = False
        for _ in range(30):
            self.assertEqual(self.result(OTHER), "error")
        self.use("instead", "local")
        self.assertEqual([self.result(OTHER), self.result(PASSWORD)], ["badcreds", "ok"])

    def test_limits(self) -> None:
        """Its no counts as ours, and who fails too often is refused without asking it; a repeated wrong one neither."""
        for _ in range(30):
            self.assertEqual(self.result("the old one"), "badcreds")
        self.assertEqual(len(self.authority.asked), 1)
        for number in range(8):
            self.assertEqual(self.result(f"wrong{number}"), "badcreds")
        self.assertEqual(self.result(OTHER), "ratelimited")
        self.assertEqual(len(self.authority.asked), 9)

    def test_store_trouble(self) -> None:
        """When the account cannot be looked up, the client comes again later."""
        self.source.error = OSError("disk")
        self.assertEqual(self.result(OTHER), "error")
        self.flushLoggedErrors(OSError)

    def test_strange_names(self) -> None:
        """A name that is none is nobody's here, whatever the authority says."""
        self.authority.knows["\x00"] = OTHER
        self.assertEqual(self.result(OTHER, "\x00"), "badcreds")


class AlsoTests(ElsewhereCase):
    def test_both(self) -> None:
        """Both must agree; the authority hears of passwords that are wrong here, and is asked about no other."""
        self.use("also")
        self.assertEqual(self.result(PASSWORD), "badcreds")
        self.assertEqual(self.result("wrong"), "badcreds")
        self.authority.knows[USER] = PASSWORD
        self.clock.advance(61)
        self.assertEqual([self.result(PASSWORD), self.result(PASSWORD)], ["ok", "ok"])
        self.assertEqual([attempt.password for attempt in self.authority.heard], ["wrong"])
        self.assertEqual([attempt.password for attempt in self.authority.asked], [PASSWORD] * 3)

    def test_silent(self) -> None:
        """Without an answer clients come again later, or what is known here decides."""
        self.authority.answers = False
        self.use("also")
        self.assertEqual([self.result(PASSWORD), self.result("wrong")], ["error", "badcreds"])
        self.use("also", "local")
        self.assertEqual([self.result(PASSWORD), self.result("wrong2")], ["ok", "badcreds"])


class OfferTests(HouseCase):
    def test_mechanisms(self) -> None:
        """With an authority, mechanisms that do not show the password are not offered."""
        authority = Authority(url="https://n.example")
        self.assertIn("SCRAM-SHA-256", offered_mechanisms(Authentication()))
        self.assertEqual(
            offered_mechanisms(Authentication(cram_md5=True, authority=authority)),
            ("PLAIN", "LOGIN", "EXTERNAL"),
        )
        self.assertEqual(
            offered_mechanisms(Authentication(mechanisms=("PLAIN",), authority=authority)), ("PLAIN",)
        )

    def test_services(self) -> None:
        """Submission and both ways of IMAP ask it, and say what they always say."""
        authority = _Authority()
        authority.knows = {"alice@example.org": OTHER}
        self.house.give_passwords()
        self.house.authenticator.elsewhere = Elsewhere(authority)
        self.assertTrue(self.house.submission("alice@example.org").login_answer.startswith("535"))
        authority.knows["alice@example.org"] = SECRET
        self.assertTrue(
            self.house.submission("alice@example.org", "198.51.100.77").login_answer.startswith("235")
        )
        authority.answers = False
        self.assertTrue(self.house.submission("bob@example.org").login_answer.startswith("454 4.7.0"))
        line = self.house.imap()
        self.assertIn("UNAVAILABLE", line.say(f'a LOGIN alice@example.org "{SECRET}"'))
        authority.answers = True
        self.assertIn("b OK", line.say(f'b LOGIN alice@example.org "{SECRET}"'))
        self.assertEqual({attempt.origin.protocol for attempt in authority.asked}, {"imap", "submission"})


class CredentialTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A name and a password are Basic, a word alone is a token."""
        self.assertEqual(authorization("moxmail:s3cret\n"), BASIC)
        self.assertEqual(authorization(" t0ken "), "Bearer t0ken")
        for text in ("", " \n", "two words", "a\nb", "a\x00b"):
            self.assertRaises(ValueError, authorization, text)


class _Silent:
    """An agent that never answers."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Any]] = []

    def request(self, *arguments: Any) -> Deferred[Any]:
        """See L{IAgent}."""
        answer: Deferred[Any] = Deferred()
        self.asked.append(answer)
        return answer


class SilenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A clock, and nobody there."""
        self.clock = Clock()
        self.agent = _Silent()
        settings = NauthilusSettings(url="http://127.0.0.1:1/", seconds=5, at_once=4)
        self.nauthilus = Nauthilus(settings, self.agent, self.clock, Fuse(self.clock, 3, 30))

    def ask(self, password: str = "x") -> Deferred[Answer]:
        attempt = LoginAttempt(
            username=USER, password=password, mechanism="PLAIN", origin=Origin("192.0.2.1", "imap")
        )
        return Deferred.fromCoroutine(self.nauthilus.decide(attempt))

    def test_time_limit(self) -> None:
        """A question has its time; after three without an answer it is left alone, and then tried again."""
        for _ in range(3):
            asked = self.ask()
            self.clock.advance(4.9)
            self.assertNoResult(asked)
            self.clock.advance(0.2)
            self.assertEqual(
                self.successResultOf(asked), Answer(Verdict.UNSURE, "", "nauthilus: no answer within 5 s")
            )
        self.assertEqual(self.successResultOf(self.ask()).detail, "nauthilus did not answer lately")
        self.assertEqual(len(self.agent.asked), 3)
        self.clock.advance(30)
        self.assertNoResult(self.ask())
        self.assertEqual(len(self.agent.asked), 4)

    def test_many(self) -> None:
        """Only so many questions are open at once."""
        asked = [self.ask() for _ in range(5)]
        self.assertEqual(self.successResultOf(asked[4]).verdict, Verdict.UNSURE)
        self.clock.advance(6)
        for one in asked[:4]:
            self.successResultOf(one)
        self.assertEqual(self.nauthilus._asking, 0)

    def test_gone(self) -> None:
        """When the client goes away, so does the question."""
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked)
        self.assertEqual((self.nauthilus._asking, self.clock.getDelayedCalls()), (0, []))

    def test_no_text(self) -> None:
        """A password that is no text cannot be right, and is not sent."""
        self.assertEqual(self.successResultOf(self.ask("\udcff")).verdict, Verdict.DENY)
        self.assertEqual(self.agent.asked, [])


@implementer(ILogObserver)
class _Log:
    def __init__(self) -> None:
        self.text = ""

    def __call__(self, event: Any) -> None:
        """Keep everything that could be written."""
        failure = event.get("log_failure")
        self.text += formatEvent(event) + repr(event) + (failure.getTraceback() if failure else "")


class NauthilusTests(TestCase):
    """Over HTTP."""

    timeout = 20

    def setUp(self) -> None:
        """A Nauthilus on loopback."""
        self.site = FakeNauthilus({USER: OTHER})
        clock: Any = reactor
        self.port: Any = clock.listenTCP(0, Site(self.site), interface="127.0.0.1")
        self.pool = HTTPConnectionPool(reactor)
        self.log = _Log()
        globalLogPublisher.addObserver(self.log)
        self.nauthilus = self.make()

    def make(self, credentials: str = "moxmail:s3cret", seconds: float = 5.0) -> Nauthilus:
        url = f"http://127.0.0.1:{self.port.getHost().port}"
        settings = NauthilusSettings(url=url, authorization=authorization(credentials), seconds=seconds)
        clock: Any = reactor
        return Nauthilus(settings, Agent(reactor, pool=self.pool), clock, Fuse(clock, 100))

    @inlineCallbacks
    def tearDown(self) -> Any:  # type: ignore[override]
        """Close it, and look whether a secret was logged."""
        globalLogPublisher.removeObserver(self.log)
        for request in self.site.hanging:
            request.transport.abortConnection()
        yield self.pool.closeCachedConnections()
        yield self.port.stopListening()
        for secret in (OTHER, "wrong horse", "s3cret", "t0ken", BASIC):
            self.assertNotIn(secret, self.log.text)

    def ask(self, password: str = OTHER, **more: Any) -> Deferred[Answer]:
        origin = Origin(
            "192.0.2.1", more.pop("protocol", "submission"), "c7", "ab" * 32, "TLSv1.3 TLS_AES_128", "a phone"
        )
        attempt = LoginAttempt(username=USER, password=password, mechanism="PLAIN", origin=origin, number=2)
        return Deferred.fromCoroutine(more.pop("nauthilus", self.nauthilus).decide(attempt))

    @inlineCallbacks
    def test_answers(self) -> Any:
        """Right and wrong; what it is asked has only fields that it knows."""
        answer = yield self.ask()
        self.assertEqual((answer.verdict, answer.login), (Verdict.ALLOW, USER))
        answer = yield self.ask("wrong horse")
        self.assertEqual((answer.verdict, answer.detail), (Verdict.DENY, "Invalid login or password"))
        self.assertEqual(self.site.paths, [PATH.encode()] * 2)
        question = self.site.questions[0]
        self.assertEqual(question.pop("password"), OTHER)
        self.assertEqual(
            question,
            {
                "username": USER, "client_ip": "192.0.2.1", "external_session_id": "c7", "user_agent": "a phone",
                "protocol": "smtp", "method": "PLAIN", "ssl": "on", "ssl_protocol": "TLSv1.3", "ssl_cipher": "TLS_AES_128",
                "ssl_fingerprint": "ab" * 32, "auth_login_attempt": 2,
            },
        )  # fmt: skip
        answer = yield self.ask(nauthilus=self.make("t0ken"))
        self.assertEqual(answer.verdict, Verdict.ALLOW)

    @inlineCallbacks
    def test_trouble(self) -> Any:
        """Its trouble, our wrong credentials, other programs, redirections: none of it is a no, and the log says what it is."""
        for behaviour, said in (
            ("trouble", "it answers 500 Temporary server problem"),
            ("scope", "it answers 403 we may not ask"),
            ("garbage", "its answer cannot be read"),
            ("long", "its answer is too long"),
            ("redirect", "it answers 302"),
            ("not ok", "neither yes nor no"),
            ("close", "cannot be reached"),
        ):
            self.site.behaviour = behaviour
            answer = yield self.ask()
            self.assertEqual((answer.verdict, said in answer.detail), (Verdict.UNSURE, True), answer.detail)
            self.assertIn(said, self.log.text)
        self.site.behaviour = ""
        answer = yield self.ask(nauthilus=self.make("somebody:else"))
        self.assertIn("credentials_file is wrong", answer.detail)
        answer = yield self.ask()
        self.assertEqual(answer.verdict, Verdict.ALLOW)

    @inlineCallbacks
    def test_odd_questions(self) -> Any:
        """Names that it does not take, which anybody can try, keep nobody else from being asked about; no password is no question."""
        clock: Any = reactor
        self.nauthilus.fuse = Fuse(clock, 2, 30)
        self.site.behaviour = "odd"
        for _ in range(3):
            answer = yield self.ask()
            self.assertEqual((answer.verdict, "it answers 400" in answer.detail), (Verdict.UNSURE, True))
        self.site.behaviour = ""
        answer = yield self.ask("")
        self.assertEqual((answer.verdict, len(self.site.questions)), (Verdict.DENY, 3))
        answer = yield self.ask()
        self.assertEqual(answer.verdict, Verdict.ALLOW)

    @inlineCallbacks
    def test_hang(self) -> Any:
        """Its silence has a time limit."""
        self.site.behaviour = "hang"
        answer = yield self.ask(nauthilus=self.make(seconds=0.2))
        self.assertEqual(answer.verdict, Verdict.UNSURE)

    @inlineCallbacks
    def test_kept_connection(self) -> Any:
        """A connection that was kept, and that it closed, costs no log-in."""
        agent = self.nauthilus.agent

        class Stale:
            """Fails once."""

            def __init__(self) -> None:
                self.requests = 0

            def request(self, *arguments: Any) -> Any:
                self.requests += 1
                if self.requests == 1:
                    return fail(ResponseNeverReceived([TwistedFailure(ConnectionLost())]))
                return agent.request(*arguments)

        self.nauthilus.agent = stale = Stale()
        answer = yield self.ask()
        self.assertEqual((answer.verdict, stale.requests), (Verdict.ALLOW, 2))

    @inlineCallbacks
    def test_nobody_there(self) -> Any:
        """Nobody listens: that is found out at once."""
        settings = NauthilusSettings(url="http://127.0.0.1:9", seconds=5)
        clock: Any = reactor
        answer = yield self.ask(nauthilus=Nauthilus(settings, Agent(reactor), clock, Fuse(clock)))
        self.assertIn("cannot be reached", answer.detail)

    @inlineCallbacks
    def test_told(self) -> Any:
        """What was wrong here it hears as a question."""
        attempt = LoginAttempt(
            username=USER, password="wrong horse", mechanism="PLAIN", origin=Origin("192.0.2.1", "imap")
        )
        yield Deferred.fromCoroutine(self.nauthilus.told(attempt))
        self.assertEqual(self.site.questions[0]["protocol"], "imap")

    @inlineCallbacks
    def test_authenticator(self) -> Any:
        """All of it together."""

        class Source:
            async def lookup(self, login: str) -> LoginRecord | None:
                return LoginRecord("mjl", USER, None) if login == USER else None

            def canonical(self, login: str) -> str:
                return login

        clock: Any = reactor
        source: Any = Source()
        authenticator = Authenticator(source, _no_work(), clock, CountingEntropy())
        authenticator.elsewhere = Elsewhere(self.nauthilus)
        session = authenticator.session(Origin("192.0.2.1", "imap"))
        outcome = yield Deferred.fromCoroutine(session.check_password(USER, OTHER, "LOGIN"))
        self.assertEqual(outcome, Accepted(USER, "mjl"))
        outcome = yield Deferred.fromCoroutine(session.check_password(USER, "wrong horse", "LOGIN"))
        self.assertEqual(outcome.reason, Reason.BAD_CREDENTIALS)
        self.assertIn("refused by the authority: Invalid login or password", self.log.text)


class TLSTests(TestCase):
    """Over HTTPS, as the configuration makes it."""

    timeout = 20

    @inlineCallbacks
    def test_ca_file(self) -> Any:
        """Its certificate must be signed by one of ca_file; another is trouble, and the password stays here."""
        folder = Path(self.mktemp())
        folder.mkdir()
        certificate, key = write_certificate(folder, "localhost")
        other, _ = write_certificate(folder, "other")
        site = FakeNauthilus({USER: OTHER})
        clock: Any = reactor
        context = DefaultOpenSSLContextFactory(str(key), str(certificate))
        port = clock.listenSSL(0, Site(site), context, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        (folder / "credentials").write_text("t0ken\n")
        found = []
        for ca_file in (certificate, other):
            authority = Authority(
                url=f"https://localhost:{port.getHost().port}",
                credentials_file="credentials",
                ca_file=str(ca_file),
            )
            authentication = Authentication(authority=authority)
            static = SimpleNamespace(authentication=authentication)
            loaded: Any = SimpleNamespace(static=static, resolve=folder.absolute().__truediv__)
            elsewhere: Any = make_elsewhere(loaded, reactor)
            nauthilus = elsewhere.authority
            attempt = LoginAttempt(
                username=USER, password=OTHER, mechanism="PLAIN", origin=Origin("192.0.2.1", "imap")
            )
            found.append((yield Deferred.fromCoroutine(nauthilus.decide(attempt))))
            yield nauthilus.agent._pool.closeCachedConnections()
        self.assertEqual([answer.verdict for answer in found], [Verdict.ALLOW, Verdict.UNSURE])
        self.assertIn("cannot be reached", found[1].detail)
        self.assertEqual(len(site.questions), 1)


def write_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    paths = (folder / f"{name}.pem").absolute(), (folder / f"{name}.key").absolute()
    for path, octets in zip(paths, self_signed((name,), now=time.time()), strict=True):
        path.write_bytes(octets)
    return paths


def _no_work() -> Any:
    class Work:
        def run(self, *arguments: Any) -> Deferred[Any]:
            return succeed(None)

    return Work()
