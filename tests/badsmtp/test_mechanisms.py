"""The mechanisms beyond BadSMTP's: SCRAM with our own client, OAUTHBEARER and NTLM octet by octet; and the table of the how-to."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.badsmtp.authentication import AuthContext, name_decides
from moxtwisted.badsmtp.mechanisms import ALL_MECHANISMS, PASSWORD, begin
from moxtwisted.sasl.client import Credentials, choose
from moxtwisted.sasl.outcome import Challenge, Failure, Reason, Success
from tests.badsmtp.howto import SMTP, literals, table
from tests.badsmtp.inmemory import Server

PAGE = SMTP.with_name("sasl.rst")
NEGOTIATE = b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2" + bytes(16)


async def _decide(mechanism: str, username: str, secret: bytes) -> bool:
    return name_decides(username)


def _begin(mechanism: str) -> Any:
    return begin(mechanism, AuthContext(_decide, lambda: "<1.2@badsmtp.test>"))


class Exchanges(SynchronousTestCase):
    def answer(self, exchange: Any, data: bytes | None) -> Any:
        """The next step."""
        return self.successResultOf(_deferred(exchange.respond(data)))

    def log_in(self, mechanism: str, username: str, password: str) -> Any:
        """What our own client comes to."""
        client = choose({mechanism}, Credentials(username, password), os.urandom)
        self.assertIsNotNone(client)
        server = _begin(mechanism)
        step = self.answer(server, client.start() if client is not None else None)
        while isinstance(step, Challenge) and client is not None:
            step = self.answer(server, client.step(step.data))
        if isinstance(step, Success) and client is not None:
            client.finish()
        return step


def _deferred(coroutine: Any) -> Any:
    from twisted.internet.defer import Deferred

    return Deferred.fromCoroutine(coroutine)


class ScramTests(Exchanges):
    def test_password(self) -> None:
        """The password is one for all; badauth fails with it, and everybody without."""
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
            step = self.log_in(mechanism, "goodauth", PASSWORD)
            self.assertEqual((step.login, step.mechanism), ("goodauth", mechanism))
            for username, password in (("badauth", PASSWORD), ("goodauth", "Secret")):
                step = self.log_in(mechanism, username, password)
                self.assertIs(step.reason, Reason.BAD_CREDENTIALS, (username, password))

    def test_nonsense(self) -> None:
        """What is no SCRAM ends the exchange."""
        self.assertIs(self.answer(_begin("SCRAM-SHA-256"), b"x" * 100).reason, Reason.BAD_PROTOCOL)


class BearerTests(Exchanges):
    def message(self, user: str, token: str) -> bytes:
        """As RFC 7628 section 4 has it."""
        return f"n,a={user},\x01host=x.example\x01port=25\x01auth=Bearer {token}\x01\x01".encode()

    def test_success(self) -> None:
        """Any token will do, also after an empty challenge."""
        for user in ("user@x.example", ""):
            exchange = _begin("OAUTHBEARER")
            self.assertEqual(self.answer(exchange, None), Challenge(b""))
            self.assertIsInstance(self.answer(exchange, self.message(user, "vF9dft4qmT")), Success)

    def test_failure(self) -> None:
        """A failure is JSON first; whatever is said to that, the exchange fails then. The token is nowhere."""
        for user, token in (("badauth@x.example", "tok"), ("", "badauth-tok")):
            exchange = _begin("OAUTHBEARER")
            step = self.answer(exchange, self.message(user, token))
            self.assertEqual(json.loads(step.data)["status"], "invalid_token")
            step = self.answer(exchange, b"\x01")
            self.assertEqual((step.reason, step.reason.reply_code), (Reason.BAD_CREDENTIALS, 535))
            self.assertNotIn("tok", repr(step))

    def test_malformed(self) -> None:
        """What is no such message is refused as that."""
        for message in (
            b"",
            b"\x01",
            b"n,,\x01auth=Bearer x\x01",
            b"n,,\x01host=x\x01\x01",
            b"n,,\x01auth=Basic x\x01\x01",
        ):
            self.assertEqual(
                self.answer(_begin("OAUTHBEARER"), message), Failure(Reason.BAD_PROTOCOL), message
            )


class NTLMTests(Exchanges):
    def test_refused(self) -> None:
        """The first message of NTLM is answered with 535, anything else with 501."""
        for message, reason in (
            (NEGOTIATE, Reason.BAD_CREDENTIALS),
            (b"", Reason.BAD_PROTOCOL),
            (b"NTLM", Reason.BAD_PROTOCOL),
        ):
            exchange = _begin("NTLM")
            self.assertEqual(self.answer(exchange, None), Challenge(b""))
            self.assertIs(self.answer(exchange, message).reason, reason)


class AnyOctetsTests(Exchanges):
    @given(st.sampled_from(sorted(ALL_MECHANISMS)), st.lists(st.binary(max_size=60), max_size=4))
    @settings(max_examples=150)
    def test_no_octets_break_it(self, mechanism: str, messages: list[bytes]) -> None:
        """Whatever a client says, there is an answer."""
        exchange = _begin(mechanism)
        for message in (None, *messages):
            self.assertIsInstance(self.answer(exchange, message), (Challenge, Success, Failure))


class HowToTests(SynchronousTestCase):
    def test_offers(self) -> None:
        """The names of the page offer the mechanisms of the page, and all mechanisms are on it."""
        rows = table("Mechanisms", PAGE)
        self.assertEqual({literals(row[0])[0] for row in rows}, set(ALL_MECHANISMS))
        for mechanism, names, _ in rows:
            for name in literals(names):
                client = Server().connect()
                lines = client.say(f"EHLO {name}").decode().splitlines()
                [offer] = [line[4:].split() for line in lines if line[4:].startswith("AUTH")]
                self.assertIn(literals(mechanism)[0], offer, name)

    def test_others_are_not_there(self) -> None:
        """A mechanism that is not on offer is refused with 504."""
        client = Server().connect()
        client.say("EHLO authplain.example")
        self.assertTrue(client.say("AUTH SCRAM-SHA-256").startswith(b"504"))

    def test_ntlm(self) -> None:
        """In SMTP: 334, then 535 or 501, and other commands after that."""
        for message, code in (("TlRMTVNTUAABAAAAB4IIog==", b"535"), ("AAAA", b"501")):
            client = Server().connect()
            client.say("EHLO authntlm.example")
            self.assertEqual(client.say("AUTH NTLM"), b"334 \r\n")
            self.assertTrue(client.say(message).startswith(code))
            self.assertTrue(client.say("NOOP").startswith(b"250"))
