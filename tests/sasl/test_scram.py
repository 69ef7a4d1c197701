"""SCRAM: the vectors of RFC 5802 and RFC 7677, channel binding, and what must be refused."""

from __future__ import annotations

import base64

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.sasl.client import ClientError, Credentials, ScramClient
from moxtwisted.sasl.credentials import PasswordVerifiers, scram_verifier
from moxtwisted.sasl.decoys import Decoys
from moxtwisted.sasl.exchange import MalformedError, ServerContext
from moxtwisted.sasl.outcome import Challenge, Failure, Reason, Success
from moxtwisted.sasl.scram import SCRAM_MECHANISMS, ScramServer
from moxtwisted.sasl.scrammessages import (
    parse_client_final,
    parse_client_first,
    parse_server_final,
    parse_server_first,
)
from tests.sasl.backends import CHEAP, CountingEntropy, MemoryBackend, context, converse, now

BINDINGS = {"tls-exporter": b"E" * 32, "tls-server-end-point": b"P" * 32}
SERVER_BINDINGS = {name: [data] for name, data in BINDINGS.items()}


def _vector(mechanism: str, nonces: tuple[bytes, bytes], salt: str) -> tuple[ScramClient, ScramServer]:
    """Both sides of an RFC example: user "user", password "pencil", 4096 iterations."""
    algorithm = mechanism.removeprefix("SCRAM-")
    verifier = scram_verifier(b"pencil", base64.b64decode(salt), 4096, algorithm)
    backend = MemoryBackend({})
    backend.users["user"] = PasswordVerifiers(
        argon2id="",
        scram_sha_256=verifier if algorithm == "SHA-256" else None,
        scram_sha_1=verifier if algorithm == "SHA-1" else None,
    )
    client = ScramClient(mechanism, Credentials("user", "pencil"), CountingEntropy())
    server = ScramServer(mechanism, context(backend))
    # The RFC's nonces are not the base64 of anything we would make.
    client._nonce = nonces[0]
    client._bare = b"n=user,r=" + nonces[0]
    return client, server


class VectorTests(SynchronousTestCase):
    """The examples of the RFCs, octet by octet on the client side."""

    def _check(self, mechanism: str, first: bytes, final: bytes, verifier: bytes) -> None:
        nonce = first.split(b",")[0][2:]
        salt = first.split(b",")[1][2:].decode()
        client_nonce = b"fyko+d2lbbFgONRv9qkxdawL" if b"fyko" in nonce else b"rOprNGfwEbeRWgbNEkqO"
        client, _ = _vector(mechanism, (client_nonce, b""), salt)
        self.assertEqual(client.start(), b"n,,n=user,r=" + client_nonce)
        self.assertEqual(client.step(first), final)
        self.assertEqual(client.step(verifier), b"")
        client.finish()
        self.assertTrue(client.verified)

    def test_rfc5802_section_5(self) -> None:
        """The client gives the answers of the SCRAM-SHA-1 example in RFC 5802 section 5."""
        self._check(
            "SCRAM-SHA-1",
            b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        )

    def test_rfc7677_section_3(self) -> None:
        """The client gives the answers of the SCRAM-SHA-256 example in RFC 7677 section 3."""
        nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        self._check(
            "SCRAM-SHA-256",
            b"r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"c=biws,r=" + nonce + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        )

    def _server_check(
        self, mechanism: str, nonces: tuple[bytes, bytes], salt: str, proof: bytes
    ) -> Challenge:
        _, server = _vector(mechanism, nonces, salt)
        first = now(server.respond(b"n,,n=user,r=" + nonces[0]))
        if not isinstance(first, Challenge):
            raise self.failureException(first)
        # put the RFC's nonce in the place of ours
        server._nonce = nonces[0] + nonces[1]
        server._server_first = b"r=%b,s=%b,i=4096" % (server._nonce, salt.encode())
        final = now(server.respond(b"c=biws,r=" + server._nonce + b",p=" + proof))
        if not isinstance(final, Challenge):
            raise self.failureException(final)
        self.assertEqual(now(server.respond(b"")), Success("user", "user", "", mechanism))
        return final

    def test_server_rfc5802(self) -> None:
        """The server accepts the proof of RFC 5802 section 5 and answers with its signature."""
        final = self._server_check(
            "SCRAM-SHA-1",
            (b"fyko+d2lbbFgONRv9qkxdawL", b"3rfcNHYJY1ZVvWVs7j"),
            "QSXCR+Q6sek8bf92",
            b"v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        )
        self.assertEqual(final, Challenge(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", final=True))

    def test_server_rfc7677(self) -> None:
        """The server accepts the proof of RFC 7677 section 3 and answers with its signature."""
        final = self._server_check(
            "SCRAM-SHA-256",
            (b"rOprNGfwEbeRWgbNEkqO", b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"),
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        )
        self.assertEqual(final, Challenge(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", final=True))


class ExchangeTests(SynchronousTestCase):
    """Our client against our server."""

    def setUp(self) -> None:
        """One user."""
        self.backend = MemoryBackend({"mjl@example.org": "sécret pass"})

    def _client(
        self, mechanism: str, user: str = "mjl@example.org", password: str = "sécret pass"
    ) -> ScramClient:
        return ScramClient(mechanism, Credentials(user, password), CountingEntropy(), bindings=BINDINGS)

    def test_every_mechanism(self) -> None:
        """Every SCRAM mechanism logs in with the right password, and the client sees the server's proof."""
        for mechanism in SCRAM_MECHANISMS:
            for initial in (True, False):
                client = self._client(mechanism)
                server = ScramServer(mechanism, context(self.backend, bindings=SERVER_BINDINGS))
                step = converse(client, server, initial=initial)
                self.assertEqual(step, Success("mjl@example.org", "mjl@example.org", "", mechanism))
                client.finish()

    def test_wrong_password(self) -> None:
        """A wrong password is refused at the end and told to the backend once."""
        server = ScramServer("SCRAM-SHA-256", context(self.backend))
        step = converse(self._client("SCRAM-SHA-256", password="other"), server)
        self.assertEqual(step, Failure(Reason.BAD_CREDENTIALS, "mjl@example.org"))
        self.assertEqual(self.backend.told, [("mjl@example.org", "SCRAM-SHA-256", Reason.BAD_CREDENTIALS)])

    def test_unknown_user_looks_the_same(self) -> None:
        """An unknown user gets the same salt each time, however written, and fails only at the end."""
        firsts = []
        for user in ("nobody@example.org", "Nobody@EXAMPLE.org"):
            server = ScramServer("SCRAM-SHA-256", context(self.backend))
            client = self._client("SCRAM-SHA-256", user=user)
            step = now(server.respond(client.start()))
            if not isinstance(step, Challenge):
                raise self.failureException(step)
            firsts.append(parse_server_first(step.data))
            end = now(server.respond(client.step(step.data)))
            self.assertEqual(end, Failure(Reason.BAD_CREDENTIALS, user))
        self.assertEqual(firsts[0], firsts[1])
        self.assertEqual(firsts[0].iterations, CHEAP.sha256_iterations)

    def test_salts_of_strangers_differ(self) -> None:
        """Two unknown users get two salts, and another server secret other ones."""
        decoys, others = Decoys(b"0" * 16), Decoys(b"1" * 16)
        salts = {
            d.scram(user, algorithm).salt
            for d in (decoys, others)
            for user in ("a", "b")
            for algorithm in ("SHA-256", "SHA-1")
        }
        self.assertEqual(len(salts), 8)

    def test_spellings_of_strangers(self) -> None:
        """Names that would be one user share a salt, as the host says which those are; by default only case is mapped."""
        decoys = Decoys(b"0" * 16, canonical=lambda name: name.partition("+")[0])
        self.assertEqual(decoys.scram("a+x", "SHA-256"), decoys.scram("a", "SHA-256"))
        self.assertNotEqual(decoys.scram("A", "SHA-256"), decoys.scram("a", "SHA-256"))
        self.assertEqual(decoys.cram("a+x"), decoys.cram("a"))
        default = Decoys(b"0" * 16)
        self.assertEqual(default.scram("A", "SHA-1"), default.scram("a", "SHA-1"))
        self.assertNotEqual(default.scram("a+x", "SHA-1"), default.scram("a", "SHA-1"))

    def test_downgrade(self) -> None:
        """A client that could bind but was shown no -PLUS is refused when -PLUS was on offer."""
        client = ScramClient(
            "SCRAM-SHA-256",
            Credentials("mjl@example.org", "sécret pass"),
            CountingEntropy(),
            bindings=BINDINGS,
            server_lacks_plus=True,
        )
        self.assertTrue(client.start().startswith(b"y,,"))
        step = converse(client, ScramServer("SCRAM-SHA-256", context(self.backend, bindings=SERVER_BINDINGS)))
        self.assertIsInstance(step, Failure)
        self.assertEqual(self.backend.told[-1][2], Reason.BAD_CHANNEL_BINDING)

    def test_y_without_plus_on_offer(self) -> None:
        """The same client gets in when the server really has no -PLUS."""
        client = ScramClient(
            "SCRAM-SHA-256",
            Credentials("mjl@example.org", "sécret pass"),
            CountingEntropy(),
            bindings=BINDINGS,
            server_lacks_plus=True,
        )
        step = converse(client, ScramServer("SCRAM-SHA-256", context(self.backend)))
        self.assertIsInstance(step, Success)

    def test_other_connection(self) -> None:
        """With -PLUS, channel-binding data of another connection is refused as such."""
        server = ScramServer(
            "SCRAM-SHA-256-PLUS", context(self.backend, bindings={"tls-exporter": [b"other"]})
        )
        step = converse(self._client("SCRAM-SHA-256-PLUS"), server)
        self.assertEqual(step, Failure(Reason.BAD_CHANNEL_BINDING, "mjl@example.org"))

    def test_binding_flags(self) -> None:
        """p= needs -PLUS and an available type; -PLUS needs p=."""
        cases = [
            ("SCRAM-SHA-256", b"p=tls-exporter,,n=u,r=abc"),
            ("SCRAM-SHA-256-PLUS", b"n,,n=u,r=abc"),
            ("SCRAM-SHA-256-PLUS", b"y,,n=u,r=abc"),
            ("SCRAM-SHA-256-PLUS", b"p=tls-unheard-of,,n=u,r=abc"),
        ]
        for mechanism, message in cases:
            server = ScramServer(mechanism, context(self.backend, bindings=SERVER_BINDINGS))
            step = now(server.respond(message))
            if not isinstance(step, Failure):
                raise self.failureException(step)
            self.assertEqual(step.reason, Reason.BAD_CHANNEL_BINDING, message)

    def test_authorization_identity(self) -> None:
        """The own identity may be asked for in any case, another one not, and only after the proof."""
        for authzid, want in (("mjl@example.org", Success), ("MJL@example.org", Success), ("root", Failure)):
            credentials = Credentials("mjl@example.org", "sécret pass", authzid)
            client = ScramClient("SCRAM-SHA-1", credentials, CountingEntropy())
            step = converse(client, ScramServer("SCRAM-SHA-1", context(self.backend)))
            self.assertIsInstance(step, want, authzid)

    def test_disabled(self) -> None:
        """A disabled account is refused although the proof was right."""
        self.backend.disabled.add("mjl@example.org")
        step = converse(self._client("SCRAM-SHA-1"), ScramServer("SCRAM-SHA-1", context(self.backend)))
        self.assertEqual(step, Failure(Reason.DISABLED, "mjl@example.org"))

    def test_backend_refuses_early(self) -> None:
        """A failure that the backend gives for the verifiers ends the exchange at once."""
        self.backend.refuse_all = Failure(Reason.LIMITED)
        step = converse(self._client("SCRAM-SHA-1"), ScramServer("SCRAM-SHA-1", context(self.backend)))
        self.assertEqual(step, Failure(Reason.LIMITED))
        self.assertEqual(self.backend.told, [])

    def test_data_in_the_empty_response(self) -> None:
        """The response to the server's signature must be empty."""
        client = self._client("SCRAM-SHA-1")
        server = ScramServer("SCRAM-SHA-1", context(self.backend))
        first = now(server.respond(client.start()))
        if not isinstance(first, Challenge):
            raise self.failureException(first)
        final = now(server.respond(client.step(first.data)))
        self.assertTrue(isinstance(final, Challenge) and final.final)
        step = now(server.respond(b"x"))
        self.assertIsInstance(step, Failure)
        # told once, with the success
        self.assertEqual(len(self.backend.told), 1)

    def test_names_with_commas(self) -> None:
        """User names with commas and equals signs survive the escaping."""
        name = "o=d,d==2C"
        self.backend.users[name] = self.backend.users["mjl@example.org"]
        step = converse(
            self._client("SCRAM-SHA-1", user=name), ScramServer("SCRAM-SHA-1", context(self.backend))
        )
        self.assertEqual(step, Success(name, name, "", "SCRAM-SHA-1"))

    @settings(max_examples=60)
    @given(position=st.integers(0, 300), turn=st.integers(0, 1), value=st.integers(1, 255))
    def test_mutation(self, position: int, turn: int, value: int) -> None:
        """One changed octet in either client message is refused and never raises."""
        server = ScramServer("SCRAM-SHA-256", context(self.backend))
        client = self._client("SCRAM-SHA-256")
        message: bytes = client.start()
        for step_number in range(2):
            if step_number == turn:
                octets = bytearray(message)
                octets[position % len(octets)] ^= value
                message = bytes(octets)
            step = now(server.respond(message))
            if isinstance(step, Failure):
                return
            if not isinstance(step, Challenge):
                raise self.failureException(step)
            if step.final:
                break
            try:
                message = client.step(step.data)
            except ClientError:
                return
        raise self.failureException("a changed message was accepted")

    @settings(max_examples=25)
    @given(
        user=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20),
        password=st.text(
            st.characters(min_codepoint=33, max_codepoint=0x2FF, categories=("L", "N")),
            min_size=1,
            max_size=20,
        ),
    )
    def test_any_user(self, user: str, password: str) -> None:
        """Whatever the name and password, the two sides agree."""
        backend = MemoryBackend({user: password})
        step = converse(
            self._client("SCRAM-SHA-256", user, password), ScramServer("SCRAM-SHA-256", context(backend))
        )
        self.assertIsInstance(step, Success)


class MessageTests(SynchronousTestCase):
    """The parsers."""

    def test_refused(self) -> None:
        """Messages that break the grammar of RFC 5802 section 7 are refused."""
        for message in (
            b"",
            b"n,,",
            b"n,,n=user",
            b"x,,n=user,r=a",
            b"n,b=x,n=user,r=a",
            b"n,,n=,r=a",
            b"n,,n=user,r=",
            b"n,,n=us=er,r=a",
            b"n,,n=us=2cer,r=a",
            b"n,,r=a,n=user",
            b"n,,m=x,n=user,r=a",
            b"n,,n=user,r=a,m=x",
            b"n,,n=user,r=a,zz",
            b"n,,n=user,r=a b",
            b"n,,n=us\xffer,r=a",
            b"n,,n=us\0er,r=a",
            b"p=,,n=user,r=a",
            b"p=a b,,n=user,r=a",
            b"n,,n=user,r=" + b"a" * 600,
        ):
            self.assertRaises(MalformedError, parse_client_first, message)
        for message in (
            b"",
            b"c=biws",
            b"c=biws,r=a",
            b"c=biw,r=a,p=YQ==",
            b"c=biws,r=a,p=YR==",
            b"c=biws,r=a,x=1",
            b"c=bi ws,r=a,p=YQ==",
            b"r=a,c=biws,p=YQ==",
            b"c=biws,r=a,m=1,p=YQ==",
        ):
            self.assertRaises(MalformedError, parse_client_final, message)
        for message in (
            b"",
            b"r=a,s=YQ==",
            b"r=a,s=YQ==,i=0",
            b"r=a,s=YQ==,i=-1",
            b"r=a,s=YQ==,i=99999999999",
            b"r=a,s=Y,i=4096",
            b"r=a,i=4096,s=YQ==",
            b"m=1,r=a,s=YQ==,i=4096",
        ):
            self.assertRaises(MalformedError, parse_server_first, message)
        for message in (b"", b"v=", b"e=", b"x=YQ==", b"v=*"):
            self.assertRaises(MalformedError, parse_server_final, message)

    def test_extensions_are_ignored(self) -> None:
        """Optional extensions are skipped and count in the proof."""
        first = parse_client_first(b"n,,n=user,r=abc,x=1,y=2")
        self.assertEqual(first.bare, b"n=user,r=abc,x=1,y=2")
        final = parse_client_final(b"c=biws,r=abc,x=1,p=YQ==")
        self.assertEqual(final.without_proof, b"c=biws,r=abc,x=1")

    @settings(max_examples=200)
    @given(st.binary(max_size=200))
    def test_any_octets(self, data: bytes) -> None:
        """Any octets are read or refused, nothing else happens."""
        for parse in (parse_client_first, parse_client_final, parse_server_first, parse_server_final):
            try:
                parse(data)
            except MalformedError:
                continue


class ClientTests(SynchronousTestCase):
    """A client that does not trust its server."""

    def _started(self) -> ScramClient:
        client = ScramClient("SCRAM-SHA-1", Credentials("user", "pencil"), CountingEntropy())
        client.start()
        return client

    def test_success_without_signature(self) -> None:
        """Success without the server's signature is an error."""
        self.assertRaises(ClientError, self._started().finish)

    def test_foreign_nonce_and_cheap_iterations(self) -> None:
        """A nonce that does not continue ours and iteration counts out of range are refused."""
        nonce = self._started()._nonce
        for message in (
            b"r=zzz,s=YQ==,i=4096",
            b"r=" + nonce + b",s=YQ==,i=4096",
            b"r=" + nonce + b"x,s=YQ==,i=4095",
            b"r=" + nonce + b"x,s=YQ==,i=9999999",
        ):
            self.assertRaises(ClientError, self._started().step, message)

    def test_wrong_signature_and_error(self) -> None:
        """A wrong signature and a server error are refused."""
        for final in (b"v=YQ==", b"e=other-error", b""):
            client = self._started()
            client.step(b"r=" + client._nonce + b"x,s=YQ==,i=4096")
            self.assertRaises(ClientError, client.step, final)

    def test_binding_needs_data(self) -> None:
        """A -PLUS mechanism cannot be begun without channel-binding data."""
        self.assertRaises(
            ClientError, ScramClient, "SCRAM-SHA-1-PLUS", Credentials("u", "p"), CountingEntropy()
        )

    def test_mechanism_names(self) -> None:
        """A server for another mechanism cannot be made."""
        context_ = ServerContext(MemoryBackend({}), CountingEntropy(), Decoys(b"0" * 16))
        self.assertRaises(ValueError, ScramServer, "SCRAM-MD5", context_)
