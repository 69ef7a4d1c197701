"""What is offered and chosen, base64 lines, reasons."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.sasl.client import PREFERENCE, ClientError, ClientExchange, Credentials, ScramClient, choose
from moxtwisted.sasl.interfaces import ISASLBackend, IServerExchange
from moxtwisted.sasl.outcome import Challenge, Reason, Success
from moxtwisted.sasl.scram import ScramServer
from moxtwisted.sasl.server import MECHANISMS, SASLPolicy, begin, offered
from moxtwisted.sasl.wire import MAX_LINE_OCTETS, WireError, decode_response, encode_challenge, encode_initial
from tests.sasl.backends import CountingEntropy, MemoryBackend, context, converse, now

BINDINGS = {"tls-exporter": [b"E"]}


class OfferTests(SynchronousTestCase):
    """What a server announces."""

    def test_by_connection(self) -> None:
        """Passwords need TLS, -PLUS needs channel-binding data, EXTERNAL a client key."""
        policy = SASLPolicy()
        scram = ("SCRAM-SHA-256", "SCRAM-SHA-1")
        plus = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1")
        self.assertEqual(offered(policy, tls=False, bindings={}), scram)
        self.assertEqual(offered(policy, tls=True, bindings={}), (*scram, "PLAIN", "LOGIN"))
        self.assertEqual(offered(policy, tls=True, bindings=BINDINGS), (*plus, "PLAIN", "LOGIN"))
        self.assertEqual(
            offered(policy, tls=True, bindings=BINDINGS, client_key=True),
            ("EXTERNAL", *plus, "PLAIN", "LOGIN"),
        )
        open_house = SASLPolicy(passwords_without_tls=True)
        self.assertEqual(offered(open_house, tls=False, bindings={}), (*scram, "PLAIN", "LOGIN"))

    def test_operators_order(self) -> None:
        """The operator's list and order count; CRAM-MD5 goes before what sends the password."""
        policy = SASLPolicy(("PLAIN", "SCRAM-SHA-256", "UNHEARD-OF"), cram_md5=True)
        self.assertEqual(offered(policy, tls=True, bindings={}), ("CRAM-MD5", "PLAIN", "SCRAM-SHA-256"))
        self.assertEqual(SASLPolicy(("SCRAM-SHA-1",), cram_md5=True).order(), ("SCRAM-SHA-1", "CRAM-MD5"))
        self.assertEqual(SASLPolicy(MECHANISMS, cram_md5=True).order(), MECHANISMS)

    def test_begin(self) -> None:
        """Every mechanism on offer can be begun in any case, others cannot."""
        backend = MemoryBackend({})
        verifyObject(ISASLBackend, backend)
        for name in MECHANISMS:
            exchange = begin(name.lower(), MECHANISMS, context(backend))
            verifyObject(IServerExchange, exchange)
            self.assertEqual(getattr(exchange, "mechanism", ""), name)
        self.assertIsNone(begin("PLAIN", ("LOGIN",), context(backend)))
        self.assertIsNone(begin("NTLM", ("NTLM",), context(backend)))


class AnyPeerTests(SynchronousTestCase):
    """Peers that say anything."""

    @settings(max_examples=150)
    @given(
        st.sampled_from(MECHANISMS),
        st.lists(
            st.none()
            | st.binary(max_size=40)
            | st.sampled_from(
                [
                    b"",
                    b"n,,n=mjl,r=abc",
                    b"p=tls-exporter,,n=mjl,r=abc",
                    b"c=biws,r=abc,p=YQ==",
                    b"\0mjl\0x",
                    b"mjl",
                ]
            ),
            max_size=8,
        ),
    )
    def test_any_conversation(self, name: str, messages: list[bytes | None]) -> None:
        """Whatever is said in whatever order, nothing is raised, nobody gets in, and the end is told at most once."""
        backend = MemoryBackend({"mjl": "secret"})
        exchange = begin(name, MECHANISMS, context(backend, bindings=BINDINGS))
        if exchange is None:
            raise self.failureException(name)
        for message in messages:
            self.assertNotIsInstance(now(exchange.respond(message)), Success)
        now(exchange.abort())
        self.assertEqual(len(backend.told), 1)


class ChoiceTests(SynchronousTestCase):
    """What a client takes."""

    def _choose(
        self, names: tuple[str, ...], bound: bool = False, preference: tuple[str, ...] = PREFERENCE
    ) -> ClientExchange | None:
        return choose(
            names,
            Credentials("mjl", "secret"),
            CountingEntropy(),
            bindings={"tls-exporter": b"E"} if bound else None,
            preference=preference,
        )

    def test_preference(self) -> None:
        """The strongest common mechanism is taken; PLAIN only when it is listed."""
        cases = [
            (MECHANISMS, True, "SCRAM-SHA-256-PLUS"),
            (MECHANISMS, False, "SCRAM-SHA-256"),
            (("scram-sha-1", "PLAIN"), True, "SCRAM-SHA-1"),
            (("CRAM-MD5", "PLAIN"), True, "CRAM-MD5"),
        ]
        for names, bound, want in cases:
            self.assertEqual(getattr(self._choose(names, bound), "mechanism", None), want)
        self.assertIsNone(self._choose(("PLAIN", "LOGIN")))
        for name in ("PLAIN", "LOGIN", "EXTERNAL"):
            self.assertEqual(getattr(self._choose((name,), preference=(name,)), "mechanism", None), name)
        self.assertIsNone(self._choose(("NTLM",), preference=("NTLM",)))

    def test_downgrade_is_told(self) -> None:
        """A client that could bind says so when the server offers no -PLUS, and not when it chose otherwise."""
        client = self._choose(("SCRAM-SHA-256",), bound=True)
        self.assertEqual((client.start() or b"")[:3] if client else b"", b"y,,")
        client = self._choose(("SCRAM-SHA-256",))
        self.assertEqual((client.start() or b"")[:3] if client else b"", b"n,,")

    def test_all_against_our_server(self) -> None:
        """Every mechanism that a client can choose logs in to our server."""
        backend = MemoryBackend({"mjl": "secret"})
        backend.key_login = "mjl"
        for name in MECHANISMS:
            client = self._choose((name,), bound=True, preference=(name,))
            server = begin(name, MECHANISMS, context(backend, bindings=BINDINGS, plus=False))
            if client is None or server is None:
                raise self.failureException(name)
            step = converse(client, server, initial=client.mechanism not in ("LOGIN", "CRAM-MD5"))
            self.assertEqual(step, Success("mjl", "mjl", "", name))
            client.finish()

    def test_signature_with_success(self) -> None:
        """Where success carries data, the server's signature may come with it, and must be right."""
        backend = MemoryBackend({"mjl": "secret"})
        for change, works in ((b"", True), (b"x", False)):
            client = ScramClient("SCRAM-SHA-1", Credentials("mjl", "secret"), CountingEntropy())
            server = ScramServer("SCRAM-SHA-1", context(backend))
            step = now(server.respond(client.start()))
            if isinstance(step, Challenge):
                step = now(server.respond(client.step(step.data)))
            if not isinstance(step, Challenge):
                raise self.failureException(step)
            self.assertTrue(step.final)
            self.assertIsInstance(now(server.respond(b"")), Success)
            if works:
                client.finish(step.data + change)
            else:
                self.assertRaises(ClientError, client.finish, step.data + change)

    def test_password_is_not_shown(self) -> None:
        """The representation of credentials has no password."""
        self.assertNotIn("secret", repr(Credentials("mjl", "secret")))


class WireTests(SynchronousTestCase):
    """Base64 lines."""

    def test_special_lines(self) -> None:
        """An equals sign is an empty initial response, a star cancels."""
        self.assertEqual(decode_response(b"=", initial=True), b"")
        self.assertEqual(decode_response(b""), b"")
        self.assertIsNone(decode_response(b"*"))
        self.assertRaises(WireError, decode_response, b"*", initial=True)
        self.assertRaises(WireError, decode_response, b"=")
        self.assertEqual(
            (encode_initial(None), encode_initial(b""), encode_initial(b"a")), (b"", b"=", b"YQ==")
        )

    def test_refused(self) -> None:
        """Bad base64 and overlong lines are refused, and not quoted."""
        for line in (b"YQ", b"YQ=", b"Y Q=", b"YQ==\n", b"YQ==YQ==", b"\xff", b"A" * (MAX_LINE_OCTETS + 4)):
            error: WireError = self.assertRaises(WireError, decode_response, line)
            self.assertIsNone(error.__cause__)

    @settings(max_examples=100)
    @given(st.binary(max_size=300))
    def test_round_trip(self, data: bytes) -> None:
        """What was encoded is decoded again."""
        self.assertEqual(decode_response(encode_challenge(data)), data)


class ReasonTests(SynchronousTestCase):
    """Reasons."""

    def test_codes(self) -> None:
        """Every reason has consistent codes and one ASCII line."""
        for reason in Reason:
            self.assertEqual(str(reason.reply_code)[0], reason.enhanced_code[0])
            self.assertEqual(reason.temporary, reason.reply_code < 500)
            self.assertTrue(reason.public_text.isascii() and reason.public_text.isprintable())
        self.assertEqual(Reason.BAD_CREDENTIALS.value, "badcreds")
