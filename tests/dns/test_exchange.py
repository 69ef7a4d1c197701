"""The exchange with servers: what is sent, what is taken for an answer, what is done instead."""

from __future__ import annotations

from random import Random
from typing import Any

import dns.edns
import dns.flags
import dns.message
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.exchange import AskPolicy, Done, Exchange, Failed, Send, Step, Upstream
from moxtwisted.dns.message import Question
from moxtwisted.dns.servers import ServerAddress
from tests.dns.servers import reply_to

QUESTION = Question("abcdefgh.example", 1)
RECORD = "abcdefgh.example. 300 A 192.0.2.1"


class ExchangeTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.upstreams = [Upstream(ServerAddress("192.0.2.1")), Upstream(ServerAddress("192.0.2.2"))]
        self.entropy = Random(7).randbytes

    def exchange(self, **policy: Any) -> Exchange:
        return Exchange(QUESTION, self.upstreams, AskPolicy(**policy), self.entropy)

    def sent(self, step: Step | None) -> Send:
        self.assertIsInstance(step, Send)
        assert isinstance(step, Send)
        return step

    def reply(
        self, send: Send, *records: str, cookie: bytes | None = None, rcode: int = 0, flags: int = 0
    ) -> bytes:
        """An answer, with a cookie behind ours if one is given."""
        octets = reply_to(dns.message.from_wire(send.octets), send.octets, records, rcode=rcode, flags=flags)
        if cookie is None:
            return octets
        read = dns.message.from_wire(octets)
        ours = dns.message.from_wire(send.octets).options[0].to_wire()
        read.use_edns(
            0,
            read.ednsflags,
            4096,
            options=[dns.edns.GenericOption(dns.edns.OptionType.COOKIE, ours + cookie)],
        )
        wire = read.to_wire()
        end = send.octets.index(b"\0", 12)
        return wire[:12] + send.octets[12:end] + wire[end:]


class AnswerTests(ExchangeTestCase):
    def test_answer(self) -> None:
        """What answers our question from where it was sent is the answer."""
        exchange = self.exchange()
        send = self.sent(exchange.start())
        done = exchange.receive(self.reply(send, RECORD))
        self.assertIsInstance(done, Done)

    def test_not_ours(self) -> None:
        """Nonsense, queries, other ids and other questions are ignored; the third makes us ask by TCP."""
        for change in (
            lambda reply: b"",
            lambda reply: reply[:20],
            lambda reply: bytes((reply[0] ^ 128,)) + reply[1:],
            lambda reply: reply[:2] + b"\1\0" + reply[4:],
            lambda reply: reply[:13] + b"z" + reply[14:],
        ):
            exchange = self.exchange()
            send = self.sent(exchange.start())
            reply = change(self.reply(send, RECORD))
            self.assertIsNone(exchange.receive(reply))
            self.assertIsNone(exchange.receive(reply))
            again = self.sent(exchange.receive(reply))
            self.assertTrue(again.stream)
            self.assertIs(again.upstream, send.upstream)

    def test_letters(self) -> None:
        """Letters that come back otherwise make us ask by TCP; a server that does the same there is asked without from then on."""
        exchange = self.exchange()
        send = self.sent(exchange.start())
        reply = self.reply(send, RECORD)
        lowered = reply[:12] + reply[12:30].lower() + reply[30:]
        self.assertNotEqual(lowered, reply)
        again = self.sent(exchange.receive(lowered))
        self.assertTrue(again.stream)
        reply = self.reply(again, RECORD)
        self.assertIsInstance(exchange.receive(reply[:12] + reply[12:30].lower() + reply[30:]), Done)
        plain = self.sent(self.exchange().start())
        self.assertEqual(plain.octets[12:30], plain.octets[12:30].lower())

    def test_truncated(self) -> None:
        """A truncated answer is asked for by TCP; truncated there too, the next server is asked."""
        exchange = self.exchange()
        again = self.sent(exchange.receive(self.reply(self.sent(exchange.start()), flags=dns.flags.TC)))
        self.assertTrue(again.stream)
        other = self.sent(exchange.receive(self.reply(again, flags=dns.flags.TC)))
        self.assertEqual((other.stream, other.upstream), (False, self.upstreams[1]))

    def test_ids(self) -> None:
        """Every send has an id, and letters, of its own."""
        exchange = self.exchange()
        first, second = self.sent(exchange.start()), self.sent(exchange.timed_out())
        self.assertNotEqual(first.octets[:2], second.octets[:2])
        self.assertNotEqual(first.octets[12:30], second.octets[12:30])


class PatienceTests(ExchangeTestCase):
    def test_rounds(self) -> None:
        """Each server is asked in turn, the second time with twice the patience, and then it is over."""
        exchange = self.exchange(rounds=2, try_seconds=1.0)
        step: Step = exchange.start()
        seen = []
        while isinstance(step, Send):
            seen.append((self.upstreams.index(step.upstream), step.wait_seconds))
            step = exchange.timed_out()
        self.assertEqual(seen, [(0, 1.0), (1, 1.0), (0, 2.0), (1, 2.0)])
        self.assertEqual(step, Failed("192.0.2.2:53: time-out"))

    def test_silent_servers_come_last(self) -> None:
        """A server that did not answer is asked after the others, and gets another chance later."""
        exchange = self.exchange()
        exchange.start()
        self.assertIs(self.sent(exchange.timed_out()).upstream, self.upstreams[1])
        self.assertIs(self.sent(self.exchange().start()).upstream, self.upstreams[1])
        for _ in range(100):
            self.exchange().start()
        self.assertIs(self.sent(self.exchange().start()).upstream, self.upstreams[0])

    def test_codes(self) -> None:
        """SERVFAIL, REFUSED and unknown codes pass the question on; NXDOMAIN is an answer."""
        for rcode in (2, 5, 9, 11):
            exchange = self.exchange()
            step = exchange.receive(self.reply(self.sent(exchange.start()), rcode=rcode))
            self.assertIs(self.sent(step).upstream, self.upstreams[1])
        exchange = self.exchange()
        self.assertIsInstance(exchange.receive(self.reply(self.sent(exchange.start()), rcode=3)), Done)

    def test_no_server(self) -> None:
        """Without servers there is no answer."""
        self.assertIsInstance(Exchange(QUESTION, [], AskPolicy(), self.entropy).start(), Failed)

    def test_endless(self) -> None:
        """A server that always wants another try does not get it for ever."""
        exchange = self.exchange()
        step: Step | None = exchange.start()
        for _ in range(100):
            if not isinstance(step, Send):
                break
            step = exchange.receive(self.reply(step, flags=dns.flags.TC)) or exchange.timed_out()
        self.assertIsInstance(step, Failed)


class EDNSTests(ExchangeTestCase):
    def without_opt(self, send: Send, rcode: int) -> bytes:
        read = dns.message.from_wire(self.reply(send, rcode=rcode))
        read.use_edns(-1)
        wire = read.to_wire()
        end = send.octets.index(b"\0", 12)
        return wire[:12] + send.octets[12:end] + wire[end:]

    def test_fallback(self) -> None:
        """FORMERR without OPT is answered by the question without OPT, and that is remembered."""
        exchange = self.exchange()
        send = self.sent(exchange.start())
        again = self.sent(exchange.receive(self.without_opt(send, 1)))
        self.assertEqual(dns.message.from_wire(again.octets).edns, -1)
        self.assertEqual(dns.message.from_wire(self.sent(self.exchange().start()).octets).edns, -1)

    def test_no_fallback_when_validating(self) -> None:
        """Where signatures are wanted, a server without EDNS is passed over."""
        exchange = self.exchange(dnssec_ok=True)
        step = self.sent(exchange.receive(self.without_opt(self.sent(exchange.start()), 1)))
        self.assertIs(step.upstream, self.upstreams[1])

    def test_cookies(self) -> None:
        """The server's cookie is sent back; once known, answers without it, or with another of ours, are not taken."""
        exchange = self.exchange()
        send = self.sent(exchange.start())
        self.assertIsInstance(exchange.receive(self.reply(send, RECORD, cookie=b"server's")), Done)
        exchange = self.exchange()
        send = self.sent(exchange.start())
        cookie = dns.message.from_wire(send.octets).options[0].to_wire()
        self.assertEqual(cookie[8:], b"server's")
        self.assertIsNone(exchange.receive(self.reply(send, RECORD)))
        good = self.reply(send, RECORD, cookie=b"server's")
        forged = good.replace(cookie[:8], b"forged!!")
        self.assertNotEqual(forged, good)
        self.assertIsNone(exchange.receive(forged))

    def test_bad_cookie(self) -> None:
        """BADCOOKIE makes us ask by TCP, with the new cookie."""
        exchange = self.exchange()
        send = self.sent(exchange.start())
        again = self.sent(exchange.receive(self.reply(send, cookie=b"new one!", rcode=23)))
        self.assertTrue(again.stream)
        self.assertEqual(self.upstreams[0].server_cookie, b"new one!")

    def test_flags(self) -> None:
        """Validating asks for signatures and unchecked data, believing for the AD bit."""
        read = dns.message.from_wire(
            self.sent(self.exchange(dnssec_ok=True, checking_disabled=True).start()).octets
        )
        self.assertEqual((read.flags, read.ednsflags), (dns.flags.RD | dns.flags.CD, dns.flags.DO))
        read = dns.message.from_wire(self.sent(self.exchange(want_ad=True).start()).octets)
        self.assertEqual((read.flags, read.ednsflags), (dns.flags.RD | dns.flags.AD, 0))
