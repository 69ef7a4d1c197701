"""BadSMTP on a clock: waits, log, transcript, hooks."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxtwisted.badsmtp.grammar import TEXTS, parse_local_part
from moxtwisted.badsmtp.hooks import Observer, SimpleRateLimiter
from moxtwisted.badsmtp.interfaces import (
    CapturedMessage,
    Direction,
    Hooks,
    IAuthenticator,
    IAuthorizer,
    ICapabilityParser,
    IErrorSimulator,
    IMessageStore,
    IRateLimiter,
    ISessionObserver,
    ISessionWriter,
    ISMTPExtension,
    Level,
    StorageError,
)
from moxtwisted.badsmtp.settings import DELAYS_SECONDS, Settings
from moxtwisted.badsmtp.surroundings import Listener
from moxtwisted.badsmtp.tokens import Wishes
from moxtwisted.smtp.replies import RawReply, Reply
from moxtwisted.smtp.states import State
from tests.badsmtp.inmemory import Client, Server

GREETING = b"220 localhost ESMTP BadSMTP - The Reliably Unreliable Mail Server https://badsmtp.com\r\n"
OK = b"250 OK\r\n"


def send(client: Client, sender: str = "a@x.example", recipient: str = "b@x.example") -> bytes:
    """The reply to a message."""
    client.say("EHLO any.example", f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA")
    return client.say("Subject: hello", "", "how are you", ".")


class WaitTests(SynchronousTestCase):
    """What waits, waits as long as it says."""

    def test_greetings(self) -> None:
        """Each of the ten ports greets after its wait, and not before; the others hang up then, without a word."""
        for seconds in DELAYS_SECONDS:
            for drop in (False, True):
                server = Server(Listener(name="x", delay_seconds=seconds, drop=drop))
                client = server.connect()
                with self.subTest(seconds=seconds, drop=drop):
                    if seconds:
                        server.clock.advance(seconds - 0.01)
                        self.assertEqual((client.heard(), client.closed), (b"", False))
                        server.clock.advance(0.02)
                    self.assertEqual(client.heard(), b"" if drop else GREETING)
                    self.assertEqual(client.closed, drop)

    def test_leaving_early(self) -> None:
        """Who leaves before the greeting is forgotten at once, and nothing is left waiting."""
        server = Server(Listener(name="x", delay_seconds=600))
        client = server.connect()
        self.assertEqual(len(server.surroundings.sessions), 1)
        self.assertEqual(client.transport.producerState, "producing")
        client.leave()
        self.assertEqual(server.surroundings.sessions, set())
        self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_commands(self) -> None:
        """The token dlayN holds back the reply to EHLO and to each later command, but not that to the message."""
        server = Server()
        client = server.connect()
        self.assertEqual(client.say("EHLO dlay605.example"), b"")
        server.clock.advance(604.9)
        self.assertEqual(client.heard(), b"")
        server.clock.advance(0.2)
        self.assertTrue(client.heard().endswith(OK))
        self.assertEqual(client.say("NOOP", "SING"), b"")
        server.clock.advance(605)
        self.assertEqual(client.heard(), OK)
        server.clock.advance(605)
        self.assertEqual(client.heard(), b"500 Command not recognised\r\n")
        client.say("MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>", "DATA")
        for _ in range(3):
            server.clock.advance(605)
        self.assertTrue(client.heard().endswith(b"354 End data with <CR><LF>.<CR><LF>\r\n"))
        self.assertEqual(client.say("."), b"250 OK Message accepted for delivery\r\n")
        self.assertEqual(client.say("EHLO any.example")[:3], b"250")

    def test_drip(self) -> None:
        """A reply drips evenly, and is whole in the transcript."""
        server = Server()
        client = server.connect()
        client.say("EHLO x", "MAIL FROM:<noop.drip8@x.example>")
        self.assertEqual(client.say("NOOP"), b"")
        for n in range(1, 9):
            server.clock.advance(1)
            self.assertEqual(client.heard(), OK[n - 1 : n])
        server.clock.advance(0)
        self.assertEqual(client.say("RSET"), OK)
        said = [line.text for line in next(iter(server.surroundings.sessions)).transcript.lines]
        self.assertEqual(said[-4:], ["NOOP", "250 OK", "RSET", "250 OK"])

    def test_split(self) -> None:
        """The second half comes when it should."""
        server = Server()
        client = server.connect()
        client.say("EHLO badnoopsplit3.example")
        self.assertEqual(client.say("NOOP"), b"250 ")
        server.clock.advance(2.9)
        self.assertEqual(client.heard(), b"")
        server.clock.advance(0.2)
        self.assertEqual(client.heard(), b"OK\r\n")

    def test_stall(self) -> None:
        """Never is an hour; then the connection is closed."""
        server = Server()
        client = server.connect()
        client.say("EHLO x", "MAIL FROM:<quit.stall@x.example>")
        self.assertEqual(client.say("QUIT"), b"")
        server.clock.advance(3599)
        self.assertEqual((client.heard(), client.closed), (b"", False))
        server.clock.advance(2)
        self.assertEqual((client.heard(), client.closed), (b"", True))

    def test_stalled_message(self) -> None:
        """data.stallN and bdat.stallN stop reading in the middle of the message, and go on."""
        for sender, begin, rest in (
            ("data.stall30@x.example", "DATA\r\nfirst\r\n", "second\r\n.\r\n"),
            ("bdat.stall30@x.example", "BDAT 15 LAST\r\nfirst\r\n", "second\r\n"),
        ):
            server = Server()
            client = server.connect()
            client.say("EHLO x", f"MAIL FROM:<{sender}>", "RCPT TO:<b@x.example>")
            client.send(begin.encode())
            client.send(b"")
            self.assertEqual(client.transport.producerState, "paused")
            server.clock.advance(29)
            self.assertEqual(client.transport.producerState, "paused")
            server.clock.advance(2)
            self.assertEqual(client.transport.producerState, "producing")
            self.assertEqual(client.send(rest.encode()), b"250 OK Message accepted for delivery\r\n")
            self.assertEqual(server.captured.messages()[0].content, b"first\r\nsecond\r\n")

    def test_greeting_faults_wait(self) -> None:
        """A greeting can drip, too."""
        server = Server(Listener(name="x", greeting=parse_local_part("greeting.drip10", {"greeting"})))
        client = server.connect()
        self.assertEqual(client.heard(), b"")
        server.clock.pump([10 / len(GREETING)] * (len(GREETING) // 2))
        self.assertTrue(0 < len(client.heard()) < len(GREETING))


class BoundTests(SynchronousTestCase):
    """What is bounded."""

    def test_connections(self) -> None:
        """One connection more than there may be gets 421."""
        server = Server(settings=Settings(connections=2))
        clients = [server.connect() for _ in range(3)]
        heard = [client.heard() for client in clients]
        self.assertEqual(heard, [GREETING, GREETING, b"421 " + TEXTS[421].encode() + b"\r\n"])
        self.assertTrue(clients[2].closed)
        clients[2].leave()
        clients[0].leave()
        self.assertEqual(server.connect().heard(), GREETING)

    def test_octets_on_their_way(self) -> None:
        """All messages that are coming in together have a limit, which is given back when they are in, refused or broken off."""
        server = Server(settings=Settings(message_octets=1000, captured_octets=3000))
        clients = [server.connect() for _ in range(6)]
        for client in clients:
            client.say("EHLO x", "MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>", "DATA")
            client.say("x" * 900)
        self.assertLessEqual(server.surroundings.in_transfer, 4000)
        heard = [client.say(".")[:3] for client in clients[:5]]
        self.assertEqual(heard, [b"250"] * 4 + [b"452"])
        clients[5].leave()
        self.assertEqual(server.surroundings.in_transfer, 0)

    def test_transcripts(self) -> None:
        """Of a long dialogue the beginning and the end are kept, with a word on what is missing; long lines are cut."""
        server = Server()
        client = server.connect()
        client.say("EHLO x", *["NOOP " + "x" * 1000] * 500)
        send(client)
        lines = server.captured.messages()[0].transcript
        self.assertEqual(len(lines), 401)
        self.assertRegex(lines[200].text, r"\(\d+ lines left out\)")
        self.assertLess(max(len(line.text) for line in lines), 600)
        self.assertEqual(lines[-1].text, "a message of 31 octets")


class SecretTests(SynchronousTestCase):
    """What nobody writes down."""

    def assertHidden(self, *lines: str) -> None:
        """None of these shows in the log or in the transcript."""
        server = Server()
        client = server.connect()
        client.say("EHLO x", "MAIL FROM:<auth334@x.example>", "RSET", *lines)
        everything = repr(server.journal.lines)
        for session in server.surroundings.sessions:
            everything += repr(session.transcript.lines)
        self.assertNotIn("hunter2", everything)
        self.assertNotIn(base64.b64encode(b"\0me\0hunter2").decode(), everything)
        self.assertIn("[redacted]", everything)

    def test_hidden(self) -> None:
        """However AUTH is said, and whether it works or not."""
        secret = base64.b64encode(b"\0me\0hunter2").decode()
        self.assertHidden(f"AUTH PLAIN {secret}")
        self.assertHidden(f"auth plain {secret}")
        self.assertHidden(f" AUTH PLAIN {secret}")
        self.assertHidden(f"AUTH\tPLAIN {secret}")
        self.assertHidden(f"AUTHPLAIN {secret}")
        self.assertHidden("AUTH NOTHING", secret, "hunter2")
        self.assertHidden("AUTH LOGIN", secret, secret)
        self.assertHidden("AUTH PLAIN", secret)
        self.assertHidden(f"AUTH PLAIN {secret} {secret}")

    def test_hidden_in_exchanges(self) -> None:
        """So it is where the exchange goes its way."""
        secret = base64.b64encode(b"\0badauth\0hunter2").decode()
        server = Server()
        client = server.connect()
        client.say(
            "EHLO x", "AUTH PLAIN", secret, "AUTH LOGIN", "bWU=", base64.b64encode(b"hunter2").decode()
        )
        [session] = server.surroundings.sessions
        everything = repr(server.journal.lines) + repr(session.transcript.lines)
        for word in ("hunter2", secret, base64.b64encode(b"hunter2").decode()):
            self.assertNotIn(word, everything)
        self.assertEqual(server.journal.fields("SMTP authentication failed")[0]["username"], "badauth")
        self.assertEqual(
            server.journal.fields("SMTP authentication successful")[0]["auth_mechanism"], "LOGIN"
        )


class LogTests(SynchronousTestCase):
    """The sentences of the log and their fields."""

    def test_a_message(self) -> None:
        """From the connection to its end."""
        server = Server()
        client = server.connect()
        send(client)
        client.say("QUIT")
        client.leave()
        sentences = [line[1] for line in server.journal.lines]
        self.assertEqual(sentences[:2], ["SMTP connection established", "SMTP response sent"])
        self.assertEqual(sentences[-1], "SMTP connection closed")
        for sentence in ("SMTP message processing started", "SMTP message stored successfully"):
            self.assertEqual(sentences.count(sentence), 1)
        stored = server.journal.fields("SMTP message stored successfully")[0]
        self.assertEqual(
            (
                stored["mail_from"],
                stored["rcpt_to"],
                stored["rcpt_count"],
                stored["message_size"],
                stored["storage_type"],
            ),
            ("a@x.example", ["b@x.example"], 1, 31, "memory"),
        )
        for fields in (line[2] for line in server.journal.lines):
            self.assertRegex(fields["session_id"], "sess_[0-9a-f]{24}$")
            self.assertEqual(fields["client_ip"], "127.0.0.1")
        commands = [
            (f["command"], f["args"], f["smtp_state"]) for f in server.journal.fields("SMTP command received")
        ]
        self.assertEqual(
            commands[:2], [("EHLO", "any.example", "HELO"), ("MAIL", "FROM:<a@x.example>", "MAIL")]
        )
        sent = server.journal.fields("SMTP response sent")[-1]
        self.assertEqual(
            (sent["command"], sent["response"], sent["response_code"]), ("QUIT", "221 Goodbye", 221)
        )

    def test_errors(self) -> None:
        """They are warnings, and what triggered them is said."""
        server = Server()
        send(server.connect(), sender="data451@x.example")
        errors = [line for line in server.journal.lines if line[1] == "SMTP error response sent"]
        self.assertEqual(errors[0][0], Level.WARN)
        self.assertEqual(errors[0][2]["response_code"], 451)
        triggered = server.journal.fields("SMTP error simulation triggered")[0]
        self.assertEqual(
            (triggered["error_code"], triggered["trigger"], triggered["smtp_stage"]), (451, "data451", "data")
        )

    def test_behaviours(self) -> None:
        """Waits are written down when they begin."""
        server = Server(Listener(name="x", delay_seconds=8))
        client = server.connect()
        [fields] = server.journal.fields("SMTP behaviour triggered")
        self.assertEqual((fields["behaviour"], fields["delay_seconds"]), ("greeting_delay", 8))
        server.clock.advance(8)
        client.say("EHLO dlay2.example")
        fields = server.journal.fields("SMTP behaviour triggered")[1]
        self.assertEqual((fields["behaviour"], fields["delay_seconds"]), ("command_delay", 2))

    def test_transcript(self) -> None:
        """A message comes with the dialogue that brought it."""
        server = Server()
        send(server.connect())
        [message] = server.captured.messages()
        said = [(line.direction, line.text) for line in message.transcript]
        self.assertIn((Direction.CLIENT, "EHLO any.example"), said)
        self.assertIn((Direction.SERVER, "250-AUTH PLAIN LOGIN CRAM-MD5 CRAM-SHA256 XOAUTH2"), said)
        self.assertEqual(said[0], (Direction.EVENT, "connected to port 2525"))
        self.assertEqual(said[-1], (Direction.EVENT, "a message of 31 octets"))
        self.assertEqual(
            (message.client, message.port, message.protocol, message.hello_name),
            ("127.0.0.1:40000", 2525, "ESMTP", "any.example"),
        )


@implementer(IMessageStore)
class Store:
    """Does what it is told."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer

    def store(self, message: CapturedMessage) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@implementer(IAuthenticator)
class OnlyAlice:
    """Alice, later."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answer: Any = None

    def authenticate(self, mechanism: str, username: str, secret: bytes, session: Any) -> Any:
        self.asked.append((mechanism, username, secret, session.hello_name))
        return username == "alice" if self.answer is None else self.answer


@implementer(ISMTPExtension)
class Bananas:
    """The extension of the talk."""

    def capability(self) -> str:
        return "GOBANANAS"

    def commands(self) -> Mapping[str, frozenset[Any]]:
        return {"BANA": frozenset({State.READY}), "PEEL": frozenset({State.GREETED, State.READY})}

    def handle(self, verb: str, argument: str, session: Any) -> Any:
        if verb == "PEEL":
            session.write_response(b"250-peeling\r\n")
            count = (session.metadata("count") or 0) + 1
            session.set_metadata("count", count)
            return Reply(250, "", f"peeled {count} {argument}")
        answer: Deferred[Reply] = Deferred()
        answer.callback(Reply(250, "", "OK NA"))
        return answer


@implementer(ICapabilityParser)
class Keys:
    """The documentation's example: tokens that begin with bstk."""

    def parse(self, hello_name: str) -> Any:
        return Wishes(mechanisms=("LOGIN",), delay_seconds=0) if hello_name.startswith("bstk") else None


@implementer(IAuthorizer)
class Closed:
    """Few may do little."""

    def can_send_from(self, username: str, reverse_path: str) -> Any:
        return reverse_path != "mallory@x.example"

    def can_send_to(self, username: str, forward_path: str) -> Any:
        answer: Deferred[bool] = Deferred()
        answer.callback(forward_path != "nobody@x.example")
        return answer

    def quota_octets(self, username: str) -> int | None:
        return 40


@implementer(IErrorSimulator)
@define
class Moody:
    """Says what the test wants."""

    replies: dict[str, Reply] = field(factory=dict)
    asked: list[tuple[str, str]] = field(factory=list)

    def fault(self, verb: str, argument: str, session: Any) -> Reply | None:
        self.asked.append((verb, argument))
        return self.replies.get(verb)


@define
class Diary(Observer):
    """Writes it all down."""

    notes: list[Any] = field(factory=list)

    def connected(self, session: Any) -> None:
        self.notes.append(("connected", session.client_ip))

    def authenticated(self, session: Any, mechanism: str, username: str, success: bool) -> None:
        self.notes.append(("authenticated", mechanism, username, success))

    def message(self, session: Any, message: CapturedMessage) -> None:
        self.notes.append(("message", message.number))

    def error(self, session: Any, verb: str, reply: Reply) -> None:
        self.notes.append(("error", verb, reply.code))

    def disconnected(self, session: Any, reason: str) -> None:
        self.notes.append(("disconnected", reason))


class HookTests(SynchronousTestCase):
    """All of them are called."""

    def test_interfaces(self) -> None:
        """What stands here and what the package has keeps to the interfaces."""
        server = Server()
        server.connect()
        [session] = server.surroundings.sessions
        self.assertTrue(verifyObject(ISessionWriter, session))
        for interface, thing in (
            (IMessageStore, Store()),
            (IAuthenticator, OnlyAlice()),
            (ISMTPExtension, Bananas()),
            (ICapabilityParser, Keys()),
            (IAuthorizer, Closed()),
            (IErrorSimulator, Moody()),
            (ISessionObserver, Diary()),
            (ISessionObserver, Observer()),
            (IRateLimiter, SimpleRateLimiter(lambda: 0.0)),
        ):
            self.assertTrue(verifyObject(interface, thing))

    def test_store(self) -> None:
        """It is asked before 250; its errors are replies, by their words."""
        for error, code in (
            ("the mailbox is not active", 550),
            ("over quota: /var", 452),
            ("disk on fire", 450),
        ):
            server = Server(hooks=Hooks(store=Store(StorageError(error))))
            reply = send(server.connect())
            self.assertEqual(reply, f"{code} {TEXTS[code]}\r\n".encode())
            self.assertEqual(server.captured.messages(), ())
            [line] = [line for line in server.journal.lines if line[1] == "SMTP message storage failed"]
            self.assertEqual((line[0], line[3]), (Level.ERROR, error))

    def test_store_later(self) -> None:
        """It may take its time."""
        answer: Deferred[None] = Deferred()
        server = Server(hooks=Hooks(store=Store(answer)))
        client = server.connect()
        self.assertEqual(send(client), b"")
        answer.callback(None)
        self.assertEqual(client.heard(), b"250 OK Message accepted for delivery\r\n")
        self.assertEqual(len(server.captured.messages()), 1)

    def test_store_that_breaks(self) -> None:
        """Any other exception is logged and answered with 451, in LMTP for each recipient."""
        for lmtp in (False, True):
            hooks = Hooks(store=Store(ZeroDivisionError("oops")))
            server = Server(Listener(name="x", lmtp=lmtp), hooks=hooks)
            client = server.connect()
            client.say("LHLO x" if lmtp else "EHLO x", "MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>")
            client.say("RCPT TO:<c@x.example>", "DATA")
            line = f"451 {TEXTS[451]}\r\n".encode()
            self.assertEqual(client.say("."), line * (2 if lmtp else 1))
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_authenticator(self) -> None:
        """It decides, at once or later, and is told the secret."""
        alice = OnlyAlice()
        server = Server(hooks=Hooks(authenticator=alice))
        client = server.connect()
        client.say("EHLO x")
        self.assertEqual(client.say("AUTH PLAIN " + base64.b64encode(b"\0bob\0pw").decode())[:3], b"535")
        self.assertEqual(client.say("AUTH PLAIN " + base64.b64encode(b"\0alice\0pw").decode())[:3], b"235")
        self.assertEqual(alice.asked[-1], ("PLAIN", "alice", b"pw", "x"))
        self.assertEqual(next(iter(server.surroundings.sessions)).username, "alice")
        other = server.connect()
        other.say("EHLO x")
        alice.answer = Deferred()
        self.assertEqual(other.say("AUTH PLAIN " + base64.b64encode(b"\0bob\0pw").decode()), b"")
        alice.answer.callback(True)
        self.assertEqual(other.heard()[:3], b"235")

    def test_extension(self) -> None:
        """It has its line, its verbs and their states; it may say more than its reply, and remember."""
        server = Server(hooks=Hooks(extensions=(Bananas(),)))
        client = server.connect()
        self.assertEqual(client.say("PEEL one"), b"250-peeling\r\n250 peeled 1 one\r\n")
        self.assertEqual(client.say("BANA"), b"503 Bad sequence - BANA not allowed in HELO state\r\n")
        self.assertIn(b"250-GOBANANAS\r\n250 OK\r\n", client.say("EHLO x"))
        self.assertEqual(client.say("BANA"), b"250 OK NA\r\n")
        self.assertEqual(client.say("PEEL"), b"250-peeling\r\n250 peeled 2 \r\n")

    def test_capability_parser(self) -> None:
        """It comes before the tokens, where it has something to say."""
        server = Server(hooks=Hooks(capability_parsers=(Keys(),)))
        self.assertIn(b"250-AUTH LOGIN\r\n", server.connect().say("EHLO bstk-authplain.example"))
        self.assertIn(b"250-AUTH PLAIN\r\n", server.connect().say("EHLO authplain.example"))

    def test_capability_parser_that_breaks(self) -> None:
        """EHLO gets 451, and nothing else happens."""

        class Broken(Keys):
            def parse(self, hello_name: str) -> Any:
                raise ZeroDivisionError

        client = Server(hooks=Hooks(capability_parsers=(Broken(),))).connect()
        self.assertEqual(client.say("EHLO x", "NOOP"), f"451 {TEXTS[451]}\r\n".encode() + OK)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_observers(self) -> None:
        """They see everything; one that breaks harms nobody."""

        class Broken(Observer):
            def connected(self, session: Any) -> None:
                raise ZeroDivisionError

        diary = Diary()
        server = Server(hooks=Hooks(observers=(Broken(), diary)))
        client = server.connect()
        client.say("EHLO x", "AUTH PLAIN " + base64.b64encode(b"\0me\0pw").decode())
        send(client)
        client.say("SING", "QUIT")
        client.leave()
        self.assertEqual(
            diary.notes,
            [
                ("connected", "127.0.0.1"),
                ("authenticated", "PLAIN", "me", True),
                ("message", 1),
                ("error", "SING", 500),
                ("disconnected", "quit"),
            ],
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_rate_limiter(self) -> None:
        """It counts connections and messages by the minute, and forgets."""
        hooks = Hooks()
        server = Server(hooks=hooks)
        limiter = SimpleRateLimiter(server.clock.seconds, connections_per_minute=2, messages_per_minute=2)
        server.surroundings.hooks = evolve(hooks, rate_limiter=limiter)
        first, second, third = (server.connect() for _ in range(3))
        self.assertEqual(third.heard()[:3], b"421")
        self.assertTrue(third.closed)
        self.assertEqual(limiter.open_connections, {"127.0.0.1": 2})
        self.assertEqual(send(first)[:3], b"250")
        self.assertEqual(send(second)[:3], b"250")
        self.assertEqual(first.say("MAIL FROM:<a@x.example>"), f"450 {TEXTS[450]}\r\n".encode())
        for client in (first, second, third):
            client.leave()
        self.assertEqual(limiter.open_connections, {})
        server.clock.advance(61)
        self.assertEqual(send(server.connect())[:3], b"250")

    def test_authorizer(self) -> None:
        """It says who may send from where to where, and how much."""
        server = Server(hooks=Hooks(authorizer=Closed()))
        client = server.connect()
        client.say("EHLO x")
        self.assertEqual(client.say("MAIL FROM:<mallory@x.example>"), f"553 {TEXTS[553]}\r\n".encode())
        self.assertEqual(client.say("MAIL FROM:<a@x.example>"), OK)
        self.assertEqual(client.say("RCPT TO:<nobody@x.example>"), f"550 {TEXTS[550]}\r\n".encode())
        self.assertEqual(client.say("RCPT TO:<b@x.example>"), OK)
        client.say("DATA")
        self.assertEqual(client.say("x" * 50, "."), f"552 {TEXTS[552]}\r\n".encode())
        self.assertEqual(send(client)[:3], b"250")

    def test_error_simulator(self) -> None:
        """It comes first, for the greeting, for commands and for the end of a message; raw replies go out as they are."""
        moody = Moody()
        server = Server(hooks=Hooks(error_simulators=(moody,)))
        client = server.connect()
        client.say("EHLO x")
        moody.replies["NOOP"] = RawReply(250, octets=b"250 what?\n")
        self.assertEqual(client.say("NOOP really"), b"250 what?\n")
        self.assertIn(("NOOP", "really"), moody.asked)
        moody.replies["MAIL"] = Reply(451, "", "not today")
        self.assertEqual(client.say("MAIL FROM:<mail550@x.example>"), b"451 not today\r\n")
        del moody.replies["MAIL"]
        moody.replies["."] = Reply(554, "", "burnt")
        self.assertEqual(send(client), b"554 burnt\r\n")
        self.assertEqual(server.captured.messages(), ())
        moody.replies[""] = Reply(554, "", "go away")
        other = server.connect()
        self.assertEqual(other.heard(), b"554 go away\r\n")
        self.assertTrue(other.closed)

    def test_error_simulator_in_lmtp(self) -> None:
        """At the end of a message it speaks for all recipients."""
        server = Server(
            Listener(name="x", lmtp=True), Hooks(error_simulators=(Moody({".": Reply(450, "", "later")}),))
        )
        client = server.connect()
        client.say(
            "LHLO x", "MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>", "RCPT TO:<c@x.example>", "DATA"
        )
        self.assertEqual(client.say("."), b"450 later\r\n" * 2)

    def test_refused_by_hooks(self) -> None:
        """What a hook refuses, no wish changes; and nothing of it is left."""
        server = Server(hooks=Hooks(authorizer=Closed()))
        client = server.connect()
        client.say("EHLO badmail450-badrcpt451.example")
        self.assertEqual(client.say("MAIL FROM:<mallory@x.example>")[:3], b"553")
        self.assertEqual(client.say("MAIL FROM:<mail552@x.example>")[:3], b"552")
        self.assertEqual(client.say("MAIL FROM:<a@x.example>")[:3], b"450")
        client.say("EHLO x.example", "MAIL FROM:<a@x.example>")
        self.assertEqual(client.say("RCPT TO:<nobody@x.example>")[:3], b"550")

    def test_hooks_that_break_in_lmtp(self) -> None:
        """At the end of a message each recipient hears of it."""

        class Broken(Closed):
            def quota_octets(self, username: str) -> int | None:
                raise ZeroDivisionError

        server = Server(Listener(name="x", lmtp=True), Hooks(authorizer=Broken()))
        client = server.connect()
        client.say(
            "LHLO x", "MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>", "RCPT TO:<c@x.example>", "DATA"
        )
        self.assertEqual(client.say("."), f"451 {TEXTS[451]}\r\n".encode() * 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_journal_that_breaks(self) -> None:
        """It harms nobody."""
        server = Server()
        server.surroundings.journal = None
        self.assertEqual(send(server.connect())[:3], b"250")
        self.assertGreater(len(self.flushLoggedErrors(AttributeError)), 5)

    def test_hooks_that_break(self) -> None:
        """They are logged, and the client gets 451."""

        class Broken(Moody):
            def fault(self, verb: str, argument: str, session: Any) -> Reply | None:
                raise ZeroDivisionError

        server = Server(hooks=Hooks(error_simulators=(Broken(),)))
        client = server.connect()
        self.assertEqual(client.heard(), f"451 {TEXTS[451]}\r\n".encode())
        self.assertTrue(client.closed)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class OtherTests(SynchronousTestCase):
    """What has no other place."""

    def test_faults_are_not_forgotten_by_rset(self) -> None:
        """Nor by a failed transaction; a message of its own takes them along, and EHLO ends those of a name."""
        client = Server().connect()
        client.say("EHLO x", "MAIL FROM:<quit450@x.example>", "RSET")
        self.assertEqual(client.say("QUIT")[:3], b"450")
        client.say("MAIL FROM:<quit451@x.example>")
        self.assertEqual(client.say("QUIT")[:3], b"451")
        client = Server().connect()
        client.say("EHLO badquit452.example")
        self.assertEqual(client.say("QUIT")[:3], b"452")
        client.say("EHLO x.example")
        self.assertEqual(client.say("QUIT")[:3], b"221")

    def test_wishes_for_a_message_end_with_it(self) -> None:
        """The next transaction is an ordinary one."""
        client = Server().connect()
        self.assertEqual(send(client, "dend450@x.example")[:3], b"450")
        self.assertEqual(send(client)[:3], b"250")

    def test_lies(self) -> None:
        """A code that is no refusal is said, and nothing is done."""
        server = Server()
        client = server.connect()
        client.say("EHLO x")
        self.assertEqual(client.say("MAIL FROM:<mail250@x.example>"), b"250 Unknown error\r\n")
        self.assertEqual(client.say("RCPT TO:<b@x.example>")[:3], b"503")
        self.assertEqual(send(client, "dend250@x.example"), b"250 Unknown error\r\n")
        self.assertEqual(server.captured.messages(), ())
        client.say("MAIL FROM:<auth235@x.example>", "RSET")
        self.assertEqual(client.say("AUTH PLAIN AGdvb2QAeA=="), b"235 Unknown error\r\n")
        self.assertEqual(next(iter(server.surroundings.sessions)).username, "")
        client.say("MAIL FROM:<data354@x.example>", "RCPT TO:<b@x.example>")
        self.assertEqual(client.say("DATA"), b"354 Unknown error\r\n")
        self.assertEqual(client.say(".")[:3], b"250")

    def test_421_flushes(self) -> None:
        """Replies that wait are sent first, and what follows is not read."""
        client = Server().connect()
        said = client.send(b"EHLO x\r\nNOOP\r\nMAIL FROM:<mail421@x.example>\r\nNOOP\r\n")
        self.assertTrue(said.endswith(OK + OK + b"421 " + TEXTS[421].encode() + b"\r\n"))
        self.assertTrue(client.closed)

    def test_protocol_names(self) -> None:
        """A message says how it came."""
        server = Server()
        client = server.connect()
        client.say("EHLO x", "AUTH PLAIN AGdvb2QAeA==")
        send(client)
        client.say("HELO x", "MAIL FROM:<>", "RCPT TO:<b@x.example>", "DATA", ".")
        names = [(m.protocol, m.username, m.reverse_path) for m in server.captured.messages()]
        self.assertEqual(names, [("ESMTPA", "good", "a@x.example"), ("SMTPA", "good", "")])

    def test_cram_challenge(self) -> None:
        """It is made of time, process and name."""
        client = Server().connect()
        client.say("EHLO x")
        said = client.say("AUTH CRAM-MD5")
        self.assertEqual(base64.b64decode(said[4:]), b"<1700000000.4711@badsmtp.test>")
