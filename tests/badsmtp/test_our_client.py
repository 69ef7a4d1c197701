"""Our own SMTP client against everything that BadSMTP does: what it says of each recipient is true, in time, and nothing is left behind.

The rows come from the tables of the how-tos. A fault, code, token or greeting that is added there is tried by itself: for one that is not
named here, what is always true is looked at, and for the others what exactly is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

from service_identity.exceptions import CertificateError
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from moxtwisted.badsmtp.grammar import parse_local_part
from moxtwisted.badsmtp.interfaces import Hooks, IAuthenticator
from moxtwisted.badsmtp.service import BadSMTPService
from moxtwisted.badsmtp.settings import Settings
from moxtwisted.badsmtp.surroundings import Listener
from moxtwisted.badsmtp.tlsfaults import Expected
from moxtwisted.sasl.client import Credentials, choose
from moxtwisted.smtp.agent import BytesSource, ClientSettings, ClientTimeouts, ClientTLS, connect, send_mail
from moxtwisted.smtp.transmission import Outcome, RecipientResult
from tests.badsmtp.clientwire import Story, Wire, envelope
from tests.badsmtp.howto import SMTP, literals, table

ACCEPTED, REFUSED, LATER, UNKNOWN = Outcome.ACCEPTED, Outcome.REFUSED, Outcome.LATER, Outcome.UNKNOWN
TIMES = ClientTimeouts()
#: All waits of one dialogue, each to its end, with a HELO, AUTH, RSET, two recipients and a farewell.
LONGEST_SECONDS = (
    TIMES.greeting + 2 * TIMES.hello + TIMES.mail + 2 * TIMES.rcpt + TIMES.data + TIMES.data_block + TIMES.data_end
    + 4 * TIMES.other + 2 * TIMES.connect
)  # fmt: skip
#: What a client may read at most: a reply of as many and as long lines as it takes, and what comes in the same segment.
MOST_OCTETS = 128 * 4096 + 65536

FAULTS = [literals(row[0])[0] for row in table("Faults")]
CODES = [int(literals(row[0])[0]) if "``" in row[0] else int(row[0]) for row in table("What the codes say")]
#: Besides the codes of the table: lies, and codes that are none.
LIES = (200, 220, 235, 250, 251, 334, 353, 354, 199, 600, 999)

#: The reply is as good as without.
HARMLESS = {"drip", "split", "barelf", "eightbit", "nul"}
#: There is no reply, or none that can be believed.
BROKEN = {"stall", "close", "reset", "cut", "continued", "long", "many", "codes", "garbage", "empty"}
#: There are more replies than commands.
DOUBLED = {"twice", "inject"}
CLOSING = {"closeafter", "midway"}


def by_code(code: int) -> Outcome:
    """What a reply to the message, or in place of it, means."""
    if 200 <= code < 300:
        return ACCEPTED
    return LATER if 400 <= code < 500 else REFUSED if 500 <= code < 600 else UNKNOWN


def of_fault(verb: str, fault: str, *, chunked: bool = False) -> Outcome | None:
    """What a client has to say when the reply to this verb goes wrong so; None: this fault is new."""
    last = verb in {"dend", "bdat", "quit"}
    if verb in {"data", "bdat"} and fault in {"stall", "midway"}:
        return UNKNOWN  # in the middle of a message that is on its way as a whole
    if fault in HARMLESS:
        return ACCEPTED
    if fault in DOUBLED:
        return ACCEPTED if last else LATER
    if fault in CLOSING:
        # Where the message is what comes next, it goes out whole before we hear that there is nobody.
        return ACCEPTED if last else UNKNOWN if verb == "data" or (verb == "rcpt" and chunked) else LATER
    if fault in BROKEN:
        return ACCEPTED if verb == "quit" else UNKNOWN if last else LATER
    return None


def of_code(verb: str, code: int) -> Outcome:
    """What a client has to say when this verb is answered so."""
    if verb == "quit" or (verb, code) in {("data", 354), ("auth", 235)}:
        return ACCEPTED
    if verb in {"dend", "bdat"}:
        return by_code(code)
    if verb in {"ehlo", "mail", "rcpt"} and 200 <= code < 300:
        return REFUSED  # nothing was done, so the next command is refused, and properly
    return by_code(code) if 400 <= code < 600 else LATER


def chooser(user: str = "goodauth", *preference: str) -> Callable[..., Any]:
    """Logs in as this user."""
    names = preference or ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256")
    return lambda offered, tls: choose(
        offered, Credentials(user, "secret"), lambda n: b"x" * n, preference=names
    )


class Case(SynchronousTestCase):
    maxDiff = None

    def setUp(self) -> None:
        self.wire = Wire()
        self.found: dict[str, tuple[Any, Any]] = {}

    def attempt(
        self,
        name: str = "c.example",
        sender: str = "a@b.example",
        recipients: Sequence[str] = ("d@e.example",),
        message: bytes = b"Subject: x\r\n\r\nHello.\r\n",
        parameters: Any = None,
        **settings: Any,
    ) -> Story:
        """One message, and what is always true of it."""
        story = self.wire.send(
            ClientSettings(hello_name=name, **settings),
            sender,
            list(recipients),
            message,
            **(parameters or {}),
        )
        what = f"{name} {sender} {recipients} {settings}"
        self.assertEqual(len(story.results), len(recipients), what)
        self.assertLessEqual(story.seconds, LONGEST_SECONDS, what)
        self.assertLessEqual(story.heard, MOST_OCTETS, what)
        self.assertLessEqual(len(story.captured), 1, what)
        kept = {path for message in story.captured for path in message.forward_paths}
        lie = re.search(r"(dend|bdat)2", name + sender + "".join(recipients)) is not None
        for result in story.results:
            self.assertEqual(result.reply.code >= 400, result.outcome is not ACCEPTED, what)
            if result.outcome in {REFUSED, LATER}:
                self.assertNotIn(str(result.recipient.path), kept, what)
            elif result.outcome is ACCEPTED and not lie:
                self.assertIn(str(result.recipient.path), kept, what)
        return story

    def expect(self, story: Story, what: str, *outcomes: Outcome | None) -> None:
        """Note what was said; ``compare`` looks at all of it."""
        if None not in outcomes:
            self.found[what] = (
                [o.value for o in story.outcomes],
                [o.value if o is not None else "" for o in outcomes],
            )

    def compare(self) -> None:
        """All that was noted is as it should be."""
        self.assertTrue(self.found)
        self.assertEqual(
            {w: was for w, (was, _) in self.found.items()}, {w: b for w, (_, b) in self.found.items()}
        )


def ways() -> Iterator[tuple[str, bool]]:
    """Pipelined or not, by DATA or BDAT: a token for the name, and whether chunks are preferred."""
    return product(("", "-nopipelining"), (False, True))


def verbs(*, chunked: bool) -> Sequence[str]:
    """What is said in a transaction."""
    return ("ehlo", "mail", "rcpt", *(("bdat",) if chunked else ("data", "dend")), "quit")


class TransactionTests(Case):
    """One recipient: what goes wrong with each verb."""

    def test_faults(self) -> None:
        """Each fault of each reply: accepted only with a reply that says so, never refused, unknown only behind the whole message."""
        for (token, chunked), fault in product(ways(), FAULTS):
            for verb in verbs(chunked=chunked):
                story = self.attempt(f"bad{verb}{fault}{token}.example", prefer_chunking=chunked)
                self.expect(story, f"{verb}.{fault}{token}{chunked}", of_fault(verb, fault, chunked=chunked))
        self.compare()

    def test_codes(self) -> None:
        """Each code at each verb, 421 among them: as it was said, and nothing below 400 that is not the answer to this command."""
        for (token, chunked), code in product(ways(), (*CODES, *LIES)):
            for verb in verbs(chunked=chunked):
                story = self.attempt(f"bad{verb}{code}{token}.example", prefer_chunking=chunked)
                self.expect(story, f"{verb}{code}{token}{chunked}", of_code(verb, code))
        self.compare()

    def test_refused_and_spoilt(self) -> None:
        """A refusal counts when it can be read, whatever becomes of the connection; one that cannot refuses nobody for good."""
        for token, fault in product(("c", "nopipelining"), FAULTS):
            for wish in ("mail550", "data550", "dend550"):
                story = self.attempt(f"{token}.example", sender=f"{wish}.{fault}@b.example")
                verb = wish[:4]
                # The other code of "codes" is 550, too; and what would happen in the middle of the message does not.
                fine = fault in HARMLESS | CLOSING | {"codes"} or (wish, fault) == ("data550", "stall")
                if fault in DOUBLED:
                    fine = verb == "dend" or (verb == "mail" and token != "c")
                if fine:
                    self.expect(story, f"{wish}.{fault} {token}", REFUSED)
                elif fault in BROKEN:
                    self.expect(story, f"{wish}.{fault} {token}", UNKNOWN if verb == "dend" else LATER)
                else:
                    self.assertNotIn(ACCEPTED, story.outcomes, wish + fault)
        self.compare()

    def test_rset(self) -> None:
        """What becomes of the reply to RSET takes nothing back that was refused before, unless the server is out of step."""
        recipients = ("rcpt550@e.example",)
        for token, fault in product(("", "-nopipelining"), [*FAULTS, *CODES, 250, 354, 999]):
            story = self.attempt(f"badrset{fault}{token}.example", recipients=recipients)
            self.expect(story, f"rset.{fault}{token}", LATER if fault == 354 else REFUSED)
        self.compare()

    def test_long_messages(self) -> None:
        """A server that stops reading, or hangs up, in the middle of a message that is still on its way has not taken it."""
        message = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n"
        message += (b"y" * 76 + b"\r\n") * 30000
        for verb, chunked in (("data", False), ("bdat", True)):
            for fault in ("stall", "midway", "stall10"):
                story = self.attempt(f"bad{verb}{fault}.example", message=message, prefer_chunking=chunked)
                self.expect(story, f"{verb}.{fault}", ACCEPTED if fault == "stall10" else LATER)
        self.compare()

    def test_out_of_patience(self) -> None:
        """A server slower than our time-outs is left; one that is only slow is not."""
        for seconds, outcome in ((1, ACCEPTED), (119, ACCEPTED), (605, LATER)):
            self.expect(self.attempt(f"dlay{seconds}.example"), f"dlay{seconds}", outcome)
        for verb, seconds in (("mail", 400), ("rcpt", 400), ("data", 130)):
            story = self.attempt(sender="a@b.example", name=f"bad{verb}drip{seconds}.example")
            self.expect(story, f"{verb}.drip{seconds}", LATER)
        self.expect(self.attempt("baddenddrip700.example"), "dend.drip700", UNKNOWN)
        self.compare()


class RecipientsTests(Case):
    """Two recipients, one of whom something happens to."""

    def test_at_rcpt(self) -> None:
        """A refusal is for its recipient alone; where replies cannot be told apart any more nobody is refused or accepted."""
        wishes = (
            [f"rcpt{code}" for code in CODES]
            + [f"rcpt.{f}" for f in FAULTS]
            + [f"rcpt550.{f}" for f in FAULTS]
        )
        for (token, chunked), wish, first in product(ways(), wishes, (True, False)):
            recipients = [f"{wish}@e.example", "d@e.example"][:: 1 if first else -1]
            story = self.attempt(f"c{token}.example", recipients=recipients, prefer_chunking=chunked)
            spoilt, other = story.outcomes[:: 1 if first else -1]
            self.found[f"{wish} {token} {chunked} {first}"] = (
                (spoilt, other),
                self._at_rcpt(wish, chunked=chunked and not first) or (spoilt, other),
            )
        self.compare()

    def _at_rcpt(self, wish: str, *, chunked: bool) -> tuple[Outcome, Outcome] | None:
        parsed = parse_local_part(wish)
        assert parsed is not None
        code, fault = parsed.code, parsed.fault
        if not fault:
            return by_code(code), LATER if code == 421 else ACCEPTED
        if fault in HARMLESS or (code == 550 and fault == "codes"):  # whose other code is 550, too
            return REFUSED if code else ACCEPTED, ACCEPTED
        if fault in CLOSING:
            lost = UNKNOWN if chunked else LATER
            return REFUSED if code else lost, lost
        return (LATER, LATER) if fault in BROKEN | DOUBLED else None

    def test_lmtp(self) -> None:
        """Each recipient's own outcome after the message; with the connection gone those are unknown who were not answered."""
        self.wire = Wire(Listener(name="lmtp", lmtp=True))
        wishes = [f"dend{code}" for code in (*CODES, 250, 354, 999)] + [f"dend.{f}" for f in FAULTS]
        for (token, chunked), wish, first in product(ways(), wishes, (True, False)):
            recipients = [f"{wish}@e.example", "d@e.example"][:: 1 if first else -1]
            story = self.attempt(
                f"c{token}.example", recipients=recipients, prefer_chunking=chunked, lmtp=True
            )
            spoilt, other = story.outcomes[:: 1 if first else -1]
            expected = self._after_message(wish, first=first)
            self.found[f"{wish} {token} {chunked} {first}"] = (spoilt, other), expected or (spoilt, other)
        self.compare()

    def _after_message(self, wish: str, *, first: bool) -> tuple[Outcome, Outcome] | None:
        parsed = parse_local_part(wish)
        assert parsed is not None
        code, fault = parsed.code, parsed.fault
        # A reset takes with it what was said and not read yet.
        rest = UNKNOWN if first or fault == "reset" else ACCEPTED
        if code:
            outcome = by_code(code)
            # Who is out of step may have been so before.
            other = UNKNOWN if code == 354 else rest if code == 421 or outcome is UNKNOWN else ACCEPTED
            return outcome, other
        if fault in HARMLESS:
            return ACCEPTED, ACCEPTED
        if fault in CLOSING:
            return ACCEPTED, rest
        if fault in DOUBLED:
            return UNKNOWN, UNKNOWN
        return (UNKNOWN, rest) if fault in BROKEN else None

    def test_lmtp_refused_before(self) -> None:
        """Who was refused at RCPT stays refused when nobody knows what became of the others."""
        self.wire = Wire(Listener(name="lmtp", lmtp=True))
        recipients = ("rcpt550@e.example", "dend.cut@e.example", "d@e.example")
        story = self.attempt(recipients=recipients, lmtp=True)
        self.assertEqual(story.outcomes, [REFUSED, UNKNOWN, UNKNOWN])


class NextMessageTests(Case):
    """A second message over the same connection."""

    FIRST, SECOND = b"Subject: first\r\n\r\n1\r\n", b"Subject: second\r\n\r\n2\r\n"

    async def two(self, name: str, sender: str, recipient: str, *, chunked: bool) -> list[Outcome]:
        """What becomes of both; of the first alone, when the client has given the connection up."""
        settings = ClientSettings(hello_name=name, prefer_chunking=chunked)
        session = await connect(self.wire.clock, self.wire, settings)  # type: ignore[arg-type]
        outcomes = [
            r.outcome for r in await session.send(envelope(sender, [recipient]), BytesSource(self.FIRST))
        ]
        if session.alive:
            second = envelope("a@b.example", ["second@e.example"])
            outcomes += [r.outcome for r in await session.send(second, BytesSource(self.SECOND))]
        again = (
            await session.send(envelope("a@b.example", ["x@e.example"]), BytesSource(b""))
            if not session.alive
            else []
        )
        self.assertEqual([r.outcome for r in again], [LATER] * len(again), "a connection that is gone")
        await session.quit()
        return outcomes

    def test_next_message(self) -> None:
        """What went wrong before takes no part of the next message, doubles nothing and refuses nothing."""
        endings = [
            *(f".{fault}" for fault in FAULTS),
            *map(str, CODES),
            *(f"550.{fault}" for fault in FAULTS),
        ]
        gone = 0
        for (token, chunked), verb, ending in product(
            ways(), ("mail", "rcpt", "data", "bdat", "dend", "rset"), endings
        ):
            wish = f"{verb}{ending}@e.example"
            sender = "a@b.example" if verb == "rcpt" else wish
            recipient = wish if verb == "rcpt" else "rcpt550@e.example" if verb == "rset" else "d@e.example"
            self.wire.server.captured.clear()
            working = Deferred.fromCoroutine(
                self.two(f"c{token}.example", sender, recipient, chunked=chunked)
            )
            outcomes = self.wire.run(working)
            gone += len(outcomes) < 2
            captured = self.wire.server.captured.messages()
            contents = [message.content for message in captured]
            what = f"{wish} {token} {chunked} {outcomes}"
            self.assertIn(outcomes[1:], ([], [ACCEPTED], [LATER]), what)
            self.assertEqual(contents.count(self.SECOND), int(outcomes[1:] == [ACCEPTED]), what)
            self.assertLessEqual(contents.count(self.FIRST), int(outcomes[0] in {ACCEPTED, UNKNOWN}), what)
            self.assertLessEqual(set(contents), {self.FIRST, self.SECOND}, what)
        self.assertTrue(gone)


class OpeningTests(Case):
    """Greetings, names and log-ins."""

    def test_greetings(self) -> None:
        """Each port whose greeting goes wrong."""
        for _, cell in table("Greetings"):
            wish = parse_local_part(literals(cell)[0], {"greeting"})
            assert wish is not None
            self.wire = Wire(Listener(name="x", greeting=wish))
            many = wish.fault == "many" and wish.number is not None
            outcome = by_code(wish.code) if wish.code else ACCEPTED if many else of_fault("", wish.fault)
            self.expect(self.attempt(), cell, outcome)
        self.compare()

    def test_late_greetings(self) -> None:
        """Each port that greets late, or never: later, but for those within our patience."""
        (row,) = [row for row in table("Ports and what they do") if "greeting-0" in row[1]]
        waits = [int(n) for n in re.findall(r"\d+", row[2])]
        self.assertEqual(len(waits), 10)
        for seconds, drop in product(waits, (False, True)):
            self.wire = Wire(Listener(name="x", delay_seconds=seconds, drop=drop))
            outcome = LATER if drop or seconds >= TIMES.greeting else ACCEPTED
            self.expect(self.attempt(), f"{seconds} {drop}", outcome)
        self.compare()

    def test_tokens(self) -> None:
        """Each token: what a server does not offer is done without."""
        stands_for = {
            "sizeN": "size1000",
            "dlayN": "dlay5",
            "badVERBnnn": "badquit421",
            "badVERBfault": "badehlocut",
        }
        for row in table("Tokens"):
            token = literals(row[0])[0]
            name = f"{stands_for.get(token, token).rstrip('.')}.example"
            outcome = {"helo500.": REFUSED, "badVERBfault": LATER}.get(token, ACCEPTED)
            for chunked in (False, True):
                self.expect(self.attempt(name, prefer_chunking=chunked), f"{name} {chunked}", outcome)
        self.compare()

    def test_what_cannot_be_carried(self) -> None:
        """A message that a server says it cannot take is refused without a word to it."""
        for name, parameters in (
            ("no8bit.example", {"body": "8BITMIME"}),
            ("reject.example", {"body": "8BITMIME"}),
            ("nosmtputf8.example", {"smtputf8": True}),
            ("nochunking.example", {"body": "BINARYMIME"}),
            ("size1000.example", {"size": 1001}),
        ):
            story = self.attempt(name, parameters=parameters)
            self.assertEqual([(r.outcome, r.stage) for r in story.results], [(REFUSED, "LOCAL")], name)

    def test_smuggling(self) -> None:
        """A server that takes other things for the end of a message gets no second one out of ours."""
        tokens = [literals(row[0])[0] for row in table("Tokens") if "eod" in row[0]]
        self.assertTrue(tokens)
        second = b"MAIL FROM:<x@y.example>\r\nRCPT TO:<z@y.example>\r\nDATA\r\nSubject: y\r\n\r\n.\r\n"
        for token, end in product(
            [*tokens, "strictlines"], (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r\n")
        ):
            story = self.attempt(f"{token}.example", message=b"Subject: x\r\n\r\nx" + end + second)
            self.expect(story, f"{token} {end!r}", ACCEPTED)
        self.compare()

    def test_mechanisms(self) -> None:
        """Each token for AUTH: in, refused with 535, or later where there is no mechanism that we have."""
        tokens = [literals(row[0])[0] for row in table("Tokens") if re.match(r"``auth", row[0])]
        ours = {"authplain", "authlogin", "authcram", "authscram"}
        self.assertLessEqual(ours, set(tokens))
        for token, user in product([*tokens, "noauth", "reject"], ("goodauth", "badauth")):
            story = self.attempt(f"{token}.example", exchange=chooser(user))
            outcome = LATER if token not in ours else ACCEPTED if user == "goodauth" else REFUSED
            self.expect(story, f"{token} {user}", outcome)
        self.compare()

    def test_auth(self) -> None:
        """Each fault and code of the reply to AUTH, with each mechanism: without 235 nothing is sent."""
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"):
            token = "-authscram" if mechanism.startswith("SCRAM") else ""
            for fault in FAULTS:
                story = self.attempt(
                    f"badauth{fault}{token}.example", exchange=chooser("goodauth", mechanism)
                )
                # Others than PLAIN have a challenge here, which is not base64 any more.
                spoilt = mechanism != "PLAIN" and fault in {"eightbit", "nul"}
                expected = LATER if spoilt else of_fault("auth", fault)
                self.expect(story, f"{mechanism} {fault}", expected)
            for code in (*CODES, *LIES):
                story = self.attempt(f"badauth{code}{token}.example", exchange=chooser("goodauth", mechanism))
                expected = of_code("auth", code)
                if code == 235 and token:
                    expected = LATER  # success without a proof is none
                self.expect(story, f"{mechanism} {code}", expected)
        self.compare()

    def test_credentials_that_cannot_be_used(self) -> None:
        """They are a result like others, and the connection is closed."""
        story = self.attempt(exchange=chooser("a\0b", "PLAIN"))
        self.assertEqual([(r.outcome, r.stage) for r in story.results], [(LATER, "AUTH")])


@implementer(IAuthenticator)
class Witness:
    """Sees all passwords."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def authenticate(self, mechanism: str, username: str, secret: bytes, session: Any) -> bool:
        self.seen.append(username)
        return True


class TLSTests(TestCase):
    """TLS that goes wrong, and the reply to STARTTLS, over sockets."""

    timeout = 120

    def setUp(self) -> None:
        self.witness = Witness()
        settings = Settings.only(port=0, tls_fault_port_start=0, implicit_tls_fault_port_start=0)
        self.service = BadSMTPService(reactor, settings, Hooks(authenticator=self.witness), pace=0.001)
        self.service.startService()
        self.addCleanup(self.service.stopService)

    def send(
        self, port: str, user: str, *, name: str = "c.example", patient: bool = True, **tls: Any
    ) -> Deferred[Any]:
        """A message to the user's own recipient, behind a log-in; TLS is verified."""
        trust = trustRootFromCertificates([Certificate.loadPEM(self.service.tls.root_pem)])
        # Whoever names no protocol has none chosen for him.
        protocols = [b"smtp"] if "alpn" in user else None
        creator = optionsForClientTLS("localhost", trustRoot=trust, acceptableProtocols=protocols)
        seconds = 60.0 if patient else 0.5
        settings = ClientSettings(
            hello_name=name,
            tls=ClientTLS(creator, **tls),
            exchange=chooser(user, "PLAIN"),
            timeouts=ClientTimeouts(tls_handshake=seconds, other=seconds),
        )
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.service.ports[port])
        letter = envelope("a@b.example", [f"{user}@e.example"])
        return send_mail(reactor, endpoint, settings, letter, BytesSource(b"Subject: x\r\n\r\n"))

    def check(self, results: list[RecipientResult], user: str, expected: Outcome) -> None:
        """The outcome, and that nothing and nobody's password came in where there was none."""
        self.assertEqual([r.outcome for r in results], [expected], (user, results))
        came = len(self.service.captured.messages(recipient=f"{user}@e.example"))
        self.assertEqual(came, int(expected is ACCEPTED), user)
        self.assertEqual(user in self.witness.seen, expected is ACCEPTED, user)

    def test_faults(self) -> Deferred[Any]:
        """Each port: where a client must not go on neither message nor password is sent, and it is tried later."""
        self.addCleanup(self.flushLoggedErrors, CertificateError)  # Twisted's, at "no-san"
        waiting = []
        for starttls, implicit, cell, _, must, _ in table("Ports", SMTP.with_name("tls.rst")):
            (fault,) = literals(cell)
            # "pipelined" is about what a client says behind STARTTLS; we say nothing there.
            good = must == Expected.ACCEPT.value or fault == "pipelined"
            patient = not fault.endswith("stall")
            for prefix, port in (("starttls", starttls), ("tls", implicit)):
                if port == "–":
                    continue
                user = f"{prefix}-{fault}"
                sending = self.send(user, user, patient=patient, implicit=prefix == "tls")
                waiting.append(sending.addCallback(self.check, user, ACCEPTED if good else LATER))
        return gatherResults(waiting, consumeErrors=True)

    def test_where_tls_may_be_missing(self) -> Deferred[Any]:
        """Who may do without TLS sends in clear where it is not offered or refused, but not over a handshake that failed."""
        waiting = []
        for fault, outcome in (
            ("stripped", ACCEPTED),
            ("refused", ACCEPTED),
            ("expired", LATER),
            ("injected-reply", LATER),
        ):
            user = f"free-{fault}"
            sending = self.send(f"starttls-{fault}", user, required=False)
            waiting.append(sending.addCallback(self.check, user, outcome))
        return gatherResults(waiting, consumeErrors=True)

    def test_starttls(self) -> Deferred[Any]:
        """Each fault and code of the reply to STARTTLS: TLS comes after a reply that says so; nothing in clear behind it counts."""
        waiting = []
        # The last three are lies: nobody is there to shake hands with.
        wishes = {fault: of_fault("starttls", fault) for fault in FAULTS}
        wishes |= {str(code): by_code(code) for code in CODES} | dict.fromkeys(("220", "250", "354"), LATER)
        for wish, outcome in wishes.items():
            user = f"wish-{wish}"
            patient = wish not in {"stall", "220"}
            sending = self.send("smtp", user, name=f"badstarttls{wish}.example", patient=patient)
            if outcome is not None:
                # The ordinary port has a certificate that we do not trust: good is what fails there.
                sending.addCallback(self._starttls, user, outcome, "TLS" if outcome is ACCEPTED else "")
            waiting.append(sending)
        return gatherResults(waiting, consumeErrors=True)

    def _starttls(self, results: list[RecipientResult], user: str, outcome: Outcome, stage: str) -> None:
        if stage:
            self.assertEqual([r.stage for r in results], [stage], user)
        self.check(results, user, LATER if stage else outcome)
