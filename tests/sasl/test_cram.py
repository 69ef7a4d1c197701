"""CRAM-MD5: the vector of RFC 2195, the MD5 states against hashlib, both sides."""

from __future__ import annotations

import hmac

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.sasl.client import ClientError, CramMD5Client, Credentials
from moxtwisted.sasl.cram import CramMD5Server
from moxtwisted.sasl.cramkeys import CramContexts, cram_contexts
from moxtwisted.sasl.outcome import Challenge, Failure, Reason, Success
from tests.sasl.backends import MemoryBackend, context, converse, now

CHALLENGE = b"<1896.697170952@postoffice.reston.mci.net>"
DIGEST = b"b913a602c7eda7a495b4e6e7334d3890"


class ContextTests(SynchronousTestCase):
    """MD5 states in place of the password."""

    def test_rfc2195(self) -> None:
        """The contexts of the RFC's password give the RFC's digest."""
        self.assertEqual(cram_contexts(b"tanstaaftanstaaf").hmac(CHALLENGE).hex().encode(), DIGEST)

    @settings(max_examples=60)
    @given(st.binary(max_size=150), st.binary(max_size=300))
    def test_against_hashlib(self, key: bytes, text: bytes) -> None:
        """For any password and text the digest is that of the standard library."""
        self.assertEqual(cram_contexts(key).hmac(text), hmac.digest(key, text, "md5"))

    def test_bounds(self) -> None:
        """Texts and contexts of wrong length are refused."""
        self.assertRaises(ValueError, cram_contexts(b"x").hmac, b"x" * 4097)
        self.assertRaises(ValueError, CramContexts, b"x" * 16, b"x" * 15)


class ExchangeTests(SynchronousTestCase):
    """The exchange."""

    def setUp(self) -> None:
        """A user with contexts."""
        self.backend = MemoryBackend({"tim": "tanstaaftanstaaf"})

    def test_client_vector(self) -> None:
        """The client answers the RFC's challenge as the RFC does."""
        client = CramMD5Client(Credentials("tim", "tanstaaftanstaaf"))
        self.assertIsNone(client.start())
        self.assertEqual(client.step(CHALLENGE), b"tim " + DIGEST)
        self.assertRaises(ClientError, client.step, CHALLENGE)

    def test_success(self) -> None:
        """The right password gets in; each challenge is new and names our host."""
        challenges = set()
        for _ in range(2):
            server = CramMD5Server(context(self.backend))
            step = converse(CramMD5Client(Credentials("tim", "tanstaaftanstaaf")), server, initial=False)
            self.assertEqual(step, Success("tim", "tim", "", "CRAM-MD5"))
        shared = context(self.backend)
        for _ in range(2):
            step = now(CramMD5Server(shared).respond(None))
            if not isinstance(step, Challenge):
                raise self.failureException(step)
            challenges.add(step.data)
            self.assertRegex(step.data, rb"^<[0-9a-f]{32}@mail\.example\.org>$")
        self.assertEqual(len(challenges), 2)

    def test_refused(self) -> None:
        """A wrong password, an unknown user and a user without contexts get the same answer."""
        self.backend.users["old"] = MemoryBackend({"old": "secret"}, cram_md5=False).users["old"]
        for user, password in (("tim", "wrong"), ("nobody", "x"), ("old", "secret")):
            server = CramMD5Server(context(self.backend))
            step = converse(CramMD5Client(Credentials(user, password)), server, initial=False)
            self.assertEqual(step, Failure(Reason.BAD_CREDENTIALS, user))

    def test_backend_refuses_early(self) -> None:
        """A failure that the backend gives for the verifiers is the end."""
        self.backend.refuse_all = Failure(Reason.LIMITED)
        server = CramMD5Server(context(self.backend))
        step = converse(CramMD5Client(Credentials("tim", "x")), server, initial=False)
        self.assertEqual(step, Failure(Reason.LIMITED))

    def test_malformed(self) -> None:
        """An initial response and responses that are no name and digest are refused."""
        step = now(CramMD5Server(context(self.backend)).respond(b"tim " + DIGEST))
        self.assertEqual(getattr(step, "reason", None), Reason.BAD_PROTOCOL)
        for message in (
            b"",
            b"tim",
            b" " + DIGEST,
            b"tim " + DIGEST[1:],
            b"tim zz" + DIGEST[2:],
            b"\xff " + DIGEST,
        ):
            server = CramMD5Server(context(self.backend))
            now(server.respond(None))
            self.assertEqual(getattr(now(server.respond(message)), "reason", None), Reason.BAD_PROTOCOL)

    def test_spaces_and_case(self) -> None:
        """The name may have spaces, the digest may be in capitals."""
        self.backend.users["tim o"] = self.backend.users["tim"]
        server = CramMD5Server(context(self.backend))
        step = now(server.respond(None))
        if not isinstance(step, Challenge):
            raise self.failureException(step)
        digest = hmac.new(b"tanstaaftanstaaf", step.data, "md5").hexdigest().upper().encode()
        self.assertIsInstance(now(server.respond(b"tim o " + digest)), Success)
