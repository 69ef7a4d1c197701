"""The POP3 machine: RFC 1939 and what extends it, in memory."""

from __future__ import annotations

import base64
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailError
from moxtwisted.pop3.commands import (
    Command,
    ListMessages,
    Password,
    Retrieve,
    SyntaxProblem,
    Top,
    UserName,
    parse,
)
from moxtwisted.pop3.memory import BytesBody, MemoryMaildrop
from moxtwisted.pop3.replies import lines, negative, response_code, stuffed, top
from moxtwisted.pop3.server import Run, Transport
from moxtwisted.pop3.settings import Limits
from moxtwisted.pop3.states import TABLE, State, allowed
from tests.pop3.sessions import MESSAGES, SETTINGS, Session, run_now


def unstuffed(octets: bytes) -> bytes:
    """What a client makes of a reply of several lines, without its first line."""
    assert octets.endswith(b"\r\n.\r\n") or octets == b".\r\n"
    found = octets[:-3].split(b"\r\n")
    return b"\r\n".join(line.removeprefix(b".") for line in found)


class GrammarTests(SynchronousTestCase):
    def test_commands(self) -> None:
        """Lines and what they are."""
        for line, command in (
            (b"quit", Command("QUIT")),
            (b"NOOP  ", Command("NOOP")),
            (b"USER a b", UserName("USER", "a b")),
            (b"pass  two words ", Password("PASS", " two words ")),
            (b"LIST", ListMessages("LIST", None)),
            (b"uidl 7", ListMessages("UIDL", 7)),
            (b"RETR 0012", Retrieve("RETR", 12)),
            (b"TOP 1 0", Top("TOP", 1, 0)),
        ):
            self.assertEqual(parse(line), command, line)

    def test_problems(self) -> None:
        """Lines that are none."""
        for line in (
            b"", b" QUIT", b"XYZZY", b"QUIT now", b"USER", b"USER \xff", b"PASS a\0b", b"RETR", b"RETR x", b"RETR -1",
            b"RETR 1 2", b"RETR \xd9\xa1", b"RETR 99999999999", b"TOP 1", b"LIST 1 2", b"AUTH", b"AUTH PLAIN a b", b"APOP a b",
        ):  # fmt: skip
            self.assertRaises(SyntaxProblem, parse, line)

    @given(st.binary(max_size=300))
    @settings(max_examples=150)
    def test_any_line(self, line: bytes) -> None:
        """Any octets are a command or a problem, and no password is shown."""
        try:
            command = parse(line)
        except SyntaxProblem as problem:
            self.assertTrue(problem.text.isascii())
        else:
            self.assertIn(command.verb, TABLE)
            if isinstance(command, Password):
                self.assertNotIn("password=", repr(command))


class ReplyTests(SynchronousTestCase):
    @given(
        st.lists(st.sampled_from([b".", b"a", b"\r\n", b"\n", b"\r", b".."]), max_size=20).map(b"".join),
        st.integers(1, 7),
    )
    @settings(max_examples=150)
    def test_stuffing(self, message: bytes, piece: int) -> None:
        """However it is cut, no line of a message is a lone dot, and undoing it gives the message, ended by a line end."""
        wire = b"".join(stuffed(BytesBody(message), piece))
        self.assertEqual(wire, b"".join(stuffed(BytesBody(message))))
        self.assertNotIn(b"\n.\r\n", b"\n" + wire[:-3])
        self.assertNotIn(b"\n.\n", b"\n" + wire[:-3])
        if b"\n" not in message.replace(b"\r\n", b""):
            ended = message if not message or message.endswith(b"\n") else message + b"\r\n"
            self.assertEqual(unstuffed(wire), ended)

    @given(
        st.lists(st.sampled_from([b"a: b", b"", b".", b".x", b"long " * 9]), max_size=12),
        st.integers(0, 5),
        st.integers(1, 9),
    )
    @settings(max_examples=150)
    def test_top(self, rows: list[bytes], count: int, piece: int) -> None:
        """TOP gives the header, the empty line and so many lines, however the message is cut."""
        message = b"".join(row + b"\r\n" for row in rows)
        wanted = list(rows)
        if b"" in rows:
            wanted = rows[: rows.index(b"") + 1 + count]
        expected = b"".join(row + b"\r\n" for row in wanted)
        self.assertEqual(unstuffed(b"".join(top(BytesBody(message), count, piece))), expected)

    def test_top_without_end(self) -> None:
        """A last line without end gets one."""
        self.assertEqual(b"".join(top(BytesBody(b"a: b\r\n\r\n.x"), 3)), b"a: b\r\n\r\n..x\r\n.\r\n")
        self.assertEqual(b"".join(top(BytesBody(b"x" * 50), 3, 7)), b"x" * 50 + b"\r\n.\r\n")

    def test_lone_line_feed(self) -> None:
        """The final dot stands behind CRLF, also where a message ends with a lone LF."""
        for message in (b"x\n", b"a: b\n\n"):
            for piece in (1, 2, 9):
                self.assertEqual(b"".join(stuffed(BytesBody(message), piece)), message + b"\r\n.\r\n")
                self.assertEqual(b"".join(top(BytesBody(message), 3, piece)), message + b"\r\n.\r\n")

    def test_broken_body(self) -> None:
        """A message that is shorter than it said is not ended as if it were whole."""
        body = BytesBody(b"abc")
        body.size = 10
        self.assertRaises(EOFError, list, stuffed(body))
        self.assertRaises(EOFError, list, top(body, 1))

    def test_long_lists(self) -> None:
        """Lists go out in pieces."""
        pieces = list(lines(str(n) for n in range(2500)))
        self.assertEqual(len(pieces), 3)
        self.assertTrue(b"".join(pieces).endswith(b"2499\r\n.\r\n"))

    def test_codes(self) -> None:
        """Response codes of errors; a text does not look like one, and a line is not longer than 512 octets."""
        error = MailError()
        self.assertEqual(response_code(error), "SYS/TEMP")
        error.imap_code = "INUSE"
        self.assertEqual(response_code(error), "IN-USE")
        error.pop3_code = "LOGIN-DELAY"  # type: ignore[attr-defined]
        self.assertEqual(response_code(error), "LOGIN-DELAY")
        self.assertEqual(negative("[x] y"), b"-ERR x] y\r\n")
        self.assertLessEqual(len(negative("x" * 600, "AUTH")), 512)


class StateTests(SynchronousTestCase):
    def test_table(self) -> None:
        """RFC 1939: what may be said before log-in, after it, and never in both."""
        before = {verb for verb in TABLE if allowed(verb, State.AUTHORIZATION)}
        after = {verb for verb in TABLE if allowed(verb, State.TRANSACTION)}
        self.assertEqual(before, {"CAPA", "QUIT", "STLS", "USER", "PASS", "AUTH"})
        self.assertEqual(before & after, {"CAPA", "QUIT"})
        self.assertEqual(before | after, set(TABLE))

    def test_machine(self) -> None:
        """The machine keeps to it."""
        for verb in TABLE:
            argument = {
                "TOP": " 1 1",
                "RETR": " 1",
                "DELE": " 1",
                "USER": " alice",
                "PASS": " x",
                "AUTH": " PLAIN",
            }.get(verb, "")
            session = Session()
            refused = session.say(verb + argument).startswith(b"-ERR log in first")
            self.assertEqual(refused, not allowed(verb, State.AUTHORIZATION), verb)
            session = Session()
            session.log_in()
            refused = session.say(verb + argument).startswith(b"-ERR you are logged in")
            self.assertEqual(refused, not allowed(verb, State.TRANSACTION), verb)


class SessionTests(SynchronousTestCase):
    def test_session(self) -> None:
        """A session as in RFC 1939 section 10."""
        session = Session()
        self.assertEqual(session.greeting, b"+OK pop.example POP3 ready\r\n")
        self.assertEqual(session.log_in(), b"+OK 3 messages\r\n")
        sizes = [len(message) for message in MESSAGES]
        for line, reply in (
            ("STAT", f"+OK 3 {sum(sizes)}\r\n"),
            ("LIST", f"+OK 3 messages\r\n1 {sizes[0]}\r\n2 {sizes[1]}\r\n3 0\r\n.\r\n"),
            ("LIST 2", f"+OK 2 {sizes[1]}\r\n"),
            ("UIDL", "+OK 3 messages\r\n1 m1\r\n2 m2\r\n3 m3\r\n.\r\n"),
            ("UIDL 3", "+OK 3 m3\r\n"),
            ("RETR 1", f"+OK {sizes[0]} octets\r\nSubject: one\r\n\r\n..dot\r\nend\r\n.\r\n"),
            ("RETR 2", f"+OK {sizes[1]} octets\r\nSubject: two\r\n\r\nno end\r\n.\r\n"),
            ("RETR 3", "+OK 0 octets\r\n.\r\n"),
            ("TOP 1 1", "+OK top of message follows\r\nSubject: one\r\n\r\n..dot\r\n.\r\n"),
            ("DELE 2", "+OK marked as deleted\r\n"),
            ("DELE 2", "-ERR that message is marked as deleted\r\n"),
            ("RETR 2", "-ERR that message is marked as deleted\r\n"),
            ("LIST 2", "-ERR that message is marked as deleted\r\n"),
            ("UIDL", "+OK 2 messages\r\n1 m1\r\n3 m3\r\n.\r\n"),
            ("STAT", f"+OK 2 {sizes[0]}\r\n"),
            ("RETR 0", "-ERR no such message\r\n"),
            ("RETR 4", "-ERR no such message\r\n"),
            ("RSET", "+OK nothing is marked as deleted\r\n"),
            ("STAT", f"+OK 3 {sum(sizes)}\r\n"),
            ("DELE 1", "+OK marked as deleted\r\n"),
            ("NOOP", "+OK still here\r\n"),
            ("QUIT", "+OK goodbye\r\n"),
        ):
            self.assertEqual(session.say(line), reply.encode(), line)
        self.assertTrue(session.closed)
        self.assertEqual(list(session.maildrop.kept), ["m2", "m3"])
        self.assertFalse(session.maildrop.locked)

    def test_lost_connection(self) -> None:
        """Without QUIT nothing is removed, and the maildrop is free again."""
        for end in ("lost", "timed_out"):
            session = Session()
            session.log_in()
            session.say("DELE 1")
            self.assertTrue(session.maildrop.locked)
            getattr(session.server, end)()
            session.server.lost()
            self.assertEqual((len(session.maildrop.kept), session.maildrop.locked), (3, False))

    def test_locked(self) -> None:
        """RFC 1939 section 4: a maildrop has one session; the next is told IN-USE and may try again."""
        first = Session()
        first.log_in()
        second = Session(maildrop=first.maildrop)
        self.assertEqual(second.log_in(), b"-ERR [IN-USE] another session has this maildrop\r\n")
        first.say("QUIT")
        self.assertEqual(second.log_in(), b"+OK 3 messages\r\n")

    def test_wrong_password(self) -> None:
        """Nobody learns whether there is such a user; after too many the connection ends."""
        session = Session()
        said = [
            session.say(f"USER {name}", "PASS x") for name in ("alice", "nobody", "alice", "alice", "alice")
        ]
        self.assertEqual(set(said), {b"-ERR [AUTH] bad user name or password\r\n"})
        self.assertTrue(session.closed)

    def test_pass_without_user(self) -> None:
        """PASS comes right after USER."""
        session = Session()
        self.assertEqual(session.say("PASS secret"), b"-ERR say USER first\r\n")

    def test_too_long(self) -> None:
        """RFC 2449 section 4: 255 octets are a command; more end the connection, with or without a line end."""
        session = Session()
        self.assertEqual(session.send(b"USER " + b"x" * 248 + b"\r\n"), b"+OK say PASS now\r\n")
        for octets in (b"USER " + b"x" * 249 + b"\r\n", b"x" * 255):
            session = Session()
            self.assertEqual(session.send(octets), b"-ERR line too long\r\n")
            self.assertTrue(session.closed)

    def test_bad_commands(self) -> None:
        """Who says nonsense only is hung up on, and so is who never logs in."""
        session = Session(evolve(SETTINGS, limits=Limits(bad_commands=2, commands_before_login=3)))
        self.assertEqual(session.say("X", "Y", "Z"), b"-ERR unknown command\r\n-ERR too many errors\r\n")
        session = Session(evolve(SETTINGS, limits=Limits(commands_before_login=3)))
        self.assertIn(b"without a log-in", session.say("CAPA", "CAPA", "CAPA", "CAPA"))
        self.assertTrue(session.closed)

    def test_pipelining(self) -> None:
        """Commands that come together, however they are cut, are answered in their order."""
        octets = b"USER alice\r\nPASS secret\r\nRETR 1\r\nLIST\r\nDELE 1\r\nFOO\r\nQUIT\r\n"
        whole = Session().send(octets)
        for size in (1, 2, 7):
            session = Session()
            cut = b"".join(session.send(octets[at : at + size]) for at in range(0, len(octets), size))
            self.assertEqual(cut, whole)
        self.assertTrue(whole.endswith(b"-ERR unknown command\r\n+OK goodbye\r\n"))

    def test_gone_message(self) -> None:
        """A message that somebody else removed is said to be gone."""
        session = Session()
        session.log_in()
        del session.maildrop.kept["m1"]
        self.assertEqual(session.say("RETR 1"), b"-ERR [SYS/PERM] the message is gone\r\n")

    def test_update_fails(self) -> None:
        """RFC 1939 section 6: when not all can be removed QUIT fails, and the maildrop is free all the same."""
        session = Session()
        session.log_in()

        async def update(deleted: object) -> None:
            raise MailError("disk")

        maildrop: Any = session.server.maildrop
        maildrop.update = update
        self.assertEqual(session.say("QUIT"), b"-ERR [SYS/TEMP] some messages could not be removed\r\n")
        self.assertEqual((session.closed, session.maildrop.locked), (True, False))

    def test_shutdown(self) -> None:
        """When the server stops, a session between commands ends and removes nothing."""
        session = Session()
        session.log_in()
        session.say("DELE 1")
        session.server.shutdown()
        self.assertEqual(session.server.take_output(), b"-ERR [SYS/TEMP] server is shutting down\r\n")
        session.server.lost()
        self.assertEqual(len(session.maildrop.kept), 3)

    def test_lost_while_logging_in(self) -> None:
        """A maildrop that is opened after the client went is released at once."""
        session = Session()
        session.say("USER alice")
        session.server.receive(b"PASS secret\r\n")
        work = session.server.next_work()
        self.assertIsInstance(work, Run)
        session.server.lost()
        if isinstance(work, Run):
            run_now(work.coroutine)
        self.assertFalse(session.maildrop.locked)


class CapabilityTests(SynchronousTestCase):
    def test_capabilities(self) -> None:
        """RFC 2449 section 5: what is announced before log-in is announced after it, but for what needs no log-in any more."""
        session = Session()
        before = set(session.say("CAPA").decode().splitlines()[1:-1])
        session.log_in()
        after = set(session.say("CAPA").decode().splitlines()[1:-1])
        self.assertEqual(after - before, {"IMPLEMENTATION moxtwisted"})
        self.assertEqual(before - after, set())
        self.assertIn("SASL SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN", before)
        self.assertLessEqual(
            {"TOP", "UIDL", "USER", "STLS", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "EXPIRE NEVER"},
            before,
        )

    def test_no_password_in_clear(self) -> None:
        """RFC 2595 section 2.3: without TLS, unless it is allowed, no mechanism is on offer that shows the password."""
        session = Session(evolve(SETTINGS, allow_plain_without_tls=False))
        told = session.say("CAPA")
        self.assertNotIn(b"USER", told)
        self.assertNotIn(b"PLAIN", told)
        self.assertTrue(session.say("USER alice").startswith(b"-ERR [AUTH]"))
        self.assertTrue(session.say("AUTH PLAIN").startswith(b"-ERR"))

    def test_stls(self) -> None:
        """After the handshake what was said before is forgotten, and STLS is not on offer."""
        session = Session(evolve(SETTINGS, allow_plain_without_tls=False))
        self.assertEqual(session.say("STLS"), b"+OK begin TLS\r\n")
        self.assertTrue(session.tls_wanted)
        session.tls_wanted = False
        session.server.tls_started(Transport(tls=True))
        told = session.say("CAPA")
        self.assertIn(b"USER", told)
        self.assertNotIn(b"STLS", told)
        self.assertTrue(session.say("STLS").startswith(b"-ERR TLS is active"))
        self.assertEqual(session.log_in(), b"+OK 3 messages\r\n")

    def test_injection(self) -> None:
        """What follows STLS before the handshake is nobody's word."""
        session = Session()
        self.assertTrue(session.send(b"STLS\r\nUSER alice\r\n").startswith(b"-ERR nothing may follow"))
        self.assertEqual((session.closed, session.tls_wanted), (True, False))


class SASLTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """RFC 5034 section 4: with an initial response, and with an empty challenge before it."""
        message = base64.b64encode(b"\0alice\0secret").decode()
        session = Session()
        self.assertEqual(session.say(f"AUTH plain {message}"), b"+OK 3 messages\r\n")
        self.assertTrue(session.say("AUTH PLAIN").startswith(b"-ERR you are logged in"))
        session = Session()
        self.assertEqual(session.say("AUTH PLAIN"), b"+ \r\n")
        self.assertEqual(session.say(message), b"+OK 3 messages\r\n")

    def test_failures(self) -> None:
        """Cancelling, bad base64, bad mechanism, bad password: each is -ERR, and another try is possible."""
        wrong = base64.b64encode(b"\0alice\0wrong").decode()
        for dialogue in (
            ("AUTH PLAIN", "*"),
            ("AUTH PLAIN", "=AAA"),
            ("AUTH PLAIN *",),
            ("AUTH KERBEROS_V4",),
            (f"AUTH PLAIN {wrong}",),
        ):
            session = Session()
            self.assertTrue(session.say(*dialogue).startswith(b"-ERR"), dialogue)
            self.assertEqual(session.log_in(), b"+OK 3 messages\r\n")

    def test_long_response(self) -> None:
        """The lines of an exchange may be longer than commands, and have a bound, too."""
        session = Session()
        session.say("AUTH PLAIN")
        message = base64.b64encode(b"\0alice\0" + b"x" * 1000).decode()
        self.assertEqual(session.say(message), b"-ERR [AUTH] bad user name or password\r\n")
        session.say("AUTH PLAIN")
        self.assertEqual(session.send(b"A" * 10_000), b"-ERR line too long\r\n")

    def test_cram(self) -> None:
        """A mechanism with a challenge."""
        import hmac

        session = Session()
        challenge = base64.b64decode(session.say("AUTH CRAM-MD5").removeprefix(b"+ "))
        digest = hmac.new(b"secret", challenge, "md5").hexdigest()
        self.assertEqual(
            session.say(base64.b64encode(f"alice {digest}".encode()).decode()), b"+OK 3 messages\r\n"
        )


class MemoryTests(SynchronousTestCase):
    def test_identifiers(self) -> None:
        """Unique identifiers are never given again."""
        maildrop = MemoryMaildrop([b"a"])
        maildrop.kept.clear()
        self.assertEqual(maildrop.add(b"b"), "m2")
