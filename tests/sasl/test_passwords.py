"""PLAIN, LOGIN and EXTERNAL, both sides."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.sasl.client import ClientError, Credentials, ExternalClient, LoginClient, PlainClient
from moxtwisted.sasl.exchange import MAX_MESSAGE_OCTETS
from moxtwisted.sasl.external import ExternalServer
from moxtwisted.sasl.outcome import Challenge, Failure, Reason, Success
from moxtwisted.sasl.passwords import LoginServer, PlainServer
from tests.sasl.backends import MemoryBackend, context, converse, now

MJL = "mjl@example.org"


class PlainTests(SynchronousTestCase):
    """PLAIN (RFC 4616)."""

    def setUp(self) -> None:
        """One user."""
        self.backend = MemoryBackend({MJL: "secret"})

    def _respond(self, message: bytes) -> object:
        return now(PlainServer(context(self.backend)).respond(message))

    def test_both_ways(self) -> None:
        """The message may come as initial response or after an empty challenge."""
        for initial in (True, False):
            step = converse(
                PlainClient(Credentials(MJL, "secret")), PlainServer(context(self.backend)), initial=initial
            )
            self.assertEqual(step, Success(MJL, MJL, "", "PLAIN"))
        self.assertEqual(now(PlainServer(context(self.backend)).respond(None)), Challenge(b""))

    def test_wrong(self) -> None:
        """A wrong password and an unknown user get the same answer."""
        self.assertEqual(self._respond(b"\0mjl@example.org\0no"), Failure(Reason.BAD_CREDENTIALS, MJL))
        self.assertEqual(self._respond(b"\0x\0secret"), Failure(Reason.BAD_CREDENTIALS, "x"))

    def test_authorization_identity(self) -> None:
        """Only the own identity may be asked for, and a refusal comes after the check of the password."""
        self.assertEqual(
            self._respond(b"MJL@example.org\0mjl@example.org\0secret"),
            Success(MJL, MJL, "MJL@example.org", "PLAIN"),
        )
        for authzid, password, reason in (
            (b"root", b"secret", Reason.NOT_AUTHORIZED),
            (b"ro ot", b"secret", Reason.NOT_AUTHORIZED),
            (b"root", b"wrong", Reason.BAD_CREDENTIALS),
        ):
            step = self._respond(authzid + b"\0mjl@example.org\0" + password)
            self.assertEqual(getattr(step, "reason", None), reason)

    def test_malformed(self) -> None:
        """Messages that are not three parts of UTF-8 are refused and told to the backend once."""
        for message in (
            b"",
            b"x",
            b"\0x",
            b"\0x\0",
            b"\0\0secret",
            b"\0a\0b\0c",
            b"\0\xff\0secret",
            b"\0x\0\xff",
            b"\xff\0x\0y",
            b"\0x\0" + b"y" * MAX_MESSAGE_OCTETS,
        ):
            self.backend.told.clear()
            step = self._respond(message)
            self.assertEqual(getattr(step, "reason", None), Reason.BAD_PROTOCOL, message)
            self.assertEqual(len(self.backend.told), 1)

    def test_long_strings(self) -> None:
        """Three strings of 255 octets fit (RFC 4616 section 2)."""
        name = "n" * 255
        backend = MemoryBackend({name: "p" * 255})
        message = f"{name}\0{name}\0{'p' * 255}".encode()
        self.assertIsInstance(now(PlainServer(context(backend)).respond(message)), Success)

    def test_after_the_end(self) -> None:
        """An exchange that ended takes nothing more, and cancelling it is told once."""
        server = PlainServer(context(self.backend))
        now(server.respond(b"\0mjl@example.org\0secret"))
        self.assertEqual(getattr(now(server.respond(b"")), "reason", None), Reason.BAD_PROTOCOL)
        self.assertEqual(now(server.abort()).reason, Reason.ABORTED)
        self.assertEqual(len(self.backend.told), 1)
        server = PlainServer(context(self.backend))
        now(server.respond(None))
        self.assertEqual(now(server.abort()), Failure(Reason.ABORTED))
        self.assertEqual(self.backend.told[-1], ("", "PLAIN", Reason.ABORTED))
        now(server.abort())
        self.assertEqual(len(self.backend.told), 2)

    def test_none_twice(self) -> None:
        """Only the first message may be missing."""
        server = PlainServer(context(self.backend))
        now(server.respond(None))
        self.assertEqual(getattr(now(server.respond(None)), "reason", None), Reason.BAD_PROTOCOL)

    def test_backend_raises(self) -> None:
        """When the backend raises, the exchange is over and the exception comes through."""

        async def broken(*args: object) -> None:
            raise ZeroDivisionError

        self.patch(self.backend, "check_password", broken)
        server = PlainServer(context(self.backend))
        self.assertRaises(ZeroDivisionError, now, server.respond(b"\0a\0b"))
        self.assertIsInstance(now(server.respond(b"\0a\0b")), Failure)

    @settings(max_examples=200)
    @given(st.binary(max_size=60))
    def test_any_octets(self, data: bytes) -> None:
        """Any octets are answered; none get in."""
        self.assertIsInstance(self._respond(data), Failure)

    def test_client_refuses(self) -> None:
        """The client sends one message, no NUL within, and answers no second challenge."""
        client = PlainClient(Credentials("u", "p"))
        client.start()
        self.assertRaises(ClientError, client.step, b"")
        self.assertRaises(ClientError, PlainClient(Credentials("u\0", "p")).start)
        self.assertRaises(ClientError, PlainClient(Credentials("u", "p")).step, b"x" * 5000)


class LoginTests(SynchronousTestCase):
    """LOGIN."""

    def setUp(self) -> None:
        """One user."""
        self.backend = MemoryBackend({MJL: "secret"})

    def test_prompts(self) -> None:
        """The server asks for the name and for the password in the words that clients know."""
        server = LoginServer(context(self.backend))
        self.assertEqual(now(server.respond(None)), Challenge(b"Username:"))
        self.assertEqual(now(server.respond(MJL.encode())), Challenge(b"Password:"))
        self.assertEqual(now(server.respond(b"secret")), Success(MJL, MJL, "", "LOGIN"))

    def test_initial_response(self) -> None:
        """The name may come as initial response."""
        server = LoginServer(context(self.backend))
        self.assertEqual(now(server.respond(MJL.encode())), Challenge(b"Password:"))
        self.assertEqual(getattr(now(server.respond(b"no")), "reason", None), Reason.BAD_CREDENTIALS)

    def test_client(self) -> None:
        """Our client gets in, and does not answer a third time."""
        client = LoginClient(Credentials(MJL, "secret"))
        step = converse(client, LoginServer(context(self.backend)), initial=False)
        self.assertIsInstance(step, Success)
        self.assertRaises(ClientError, client.step, b"Again:")

    def test_malformed(self) -> None:
        """Empty and undecodable answers are refused."""
        for messages in ([b""], [b"\xff"], [b"a\0b"], [b"a", b""], [b"a", b"\xff"]):
            server = LoginServer(context(self.backend))
            steps = [now(server.respond(message)) for message in messages]
            self.assertEqual(getattr(steps[-1], "reason", None), Reason.BAD_PROTOCOL)


class ExternalTests(SynchronousTestCase):
    """EXTERNAL (RFC 4422 appendix A)."""

    def setUp(self) -> None:
        """One user with a key."""
        self.backend = MemoryBackend({MJL: "secret"})
        self.backend.key_login = MJL

    def test_with_and_without_name(self) -> None:
        """The key's own identity is the default; it may be named."""
        for authzid in ("", MJL):
            for initial in (True, False):
                step = converse(
                    ExternalClient(authzid), ExternalServer(context(self.backend)), initial=initial
                )
                self.assertEqual(step, Success(MJL, MJL, authzid, "EXTERNAL"))

    def test_refused(self) -> None:
        """Another identity, or no key, is refused; octets that are no text are malformed."""
        step = converse(ExternalClient("root"), ExternalServer(context(self.backend)))
        self.assertEqual(getattr(step, "reason", None), Reason.BAD_CREDENTIALS)
        self.backend.key_login = ""
        step = converse(ExternalClient(), ExternalServer(context(self.backend)))
        self.assertEqual(getattr(step, "reason", None), Reason.BAD_CREDENTIALS)
        step = now(ExternalServer(context(self.backend)).respond(b"\xff"))
        self.assertEqual(getattr(step, "reason", None), Reason.BAD_PROTOCOL)

    def test_client_says_it_once(self) -> None:
        """The client answers no second challenge."""
        client = ExternalClient()
        client.start()
        self.assertRaises(ClientError, client.step, b"")
