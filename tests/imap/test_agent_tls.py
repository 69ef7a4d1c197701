"""The Twisted client with real TLS, over loopback."""

from __future__ import annotations

import gc
import os
from collections.abc import Collection, Mapping
from typing import Any

from service_identity.exceptions import CertificateError
from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from moxtwisted.imap.agent import ClientSettings, ClientTLS, IMAPClient, connect
from moxtwisted.imap.client.session import ConnectionFailedError
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.preauthentication import IPreauthenticator
from moxtwisted.imap.protocol import IMAPServerFactory, ServerTLS
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.sasl.client import ClientExchange, Credentials, choose
from moxtwisted.sasl.outcome import Accepted, Outcome
from tests.smtp.certificate import certificate

ALICE = Credentials("alice", "secret")


@implementer(IPreauthenticator)
class Known(MemoryAuthenticator):
    """Alice's key is known: it logs in with EXTERNAL, or before that when ``greets``."""

    greets = True

    async def external(self, username: str) -> Outcome:
        """See ``ISASLBackend``."""
        return Accepted("alice", "alice")

    async def preauthenticate(self, peer: Any) -> str | None:
        """See ``IPreauthenticator``."""
        return "alice" if self.greets else None


class TLSTests(TestCase):
    timeout = 30

    async def serve(self, *, implicit: bool, named: bool = True) -> str:
        """Start a server; where it is."""
        mail = MemoryMail()
        mail.add("INBOX", b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 100_000)
        factory = IMAPServerFactory(
            ServerSettings(hostname="mx.example"),
            MemoryAuthenticator({"alice": ("secret", mail)}, os.urandom),
            reactor,
            ServerTLS((certificate() if named else certificate(named=False)).options(), implicit=implicit),
        )
        self.factory = factory
        port: Any = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory)
        self.addCleanup(factory.shutdown)
        self.addCleanup(port.stopListening)
        return f"tcp:127.0.0.1:{port.getHost().port}"

    async def open(self, where: str, *, implicit: bool, name: str = "mx.example", **named: Any) -> IMAPClient:
        """A client that trusts the server's certificate."""
        trust = Certificate(certificate().original)
        tls = ClientTLS(optionsForClientTLS(name, trustRoot=trust), implicit=implicit)
        settings = ClientSettings(tls=tls, credentials=ALICE, **named)
        return await connect(reactor, clientFromString(reactor, where), settings)

    async def test_log_in_is_bound_to_the_connection(self) -> None:
        """By TLS from the start and by STARTTLS, the log-in is SCRAM-PLUS, and a large message passes."""
        for implicit in (True, False):
            chosen: list[str] = []

            def exchange(
                names: Collection[str], bindings: Mapping[str, bytes], chosen: list[str] = chosen
            ) -> ClientExchange | None:
                found = choose(names, ALICE, os.urandom, bindings=bindings)
                chosen.append(found.mechanism if found is not None else "")
                return found

            where = await self.serve(implicit=implicit)
            client = await self.open(where, implicit=implicit, exchange=exchange, compress=True)
            self.assertEqual(chosen, ["SCRAM-SHA-256-PLUS"])
            self.assertTrue(client.encrypted and client.machine.compressed)
            await client.select("INBOX")
            (message,) = await client.fetch([1], ["BODY.PEEK[]", "RFC822.SIZE"])
            self.assertEqual(len(message.section() or b""), message.size_octets)
            await client.close()

    async def test_known_by_a_key(self) -> None:
        """Who has a key and no password is logged in by PREAUTH or by EXTERNAL, and tries nothing else."""
        for greets in (True, False):
            where = await self.serve(implicit=True)
            known = Known({"alice": ("secret", MemoryMail())}, os.urandom, ("PLAIN", "EXTERNAL"))
            known.greets = greets
            self.factory.authenticator = known
            context: Any = self.factory.tls
            self.factory.tls = ServerTLS(context.context_factory, implicit=True, inspect=lambda _: (True, {}))
            tls = ClientTLS(
                optionsForClientTLS("mx.example", Certificate(certificate().original)), implicit=True
            )
            settings = ClientSettings(tls=tls, credentials=Credentials("alice", ""))
            client = await connect(reactor, clientFromString(reactor, where), settings)
            assert client.greeting is not None
            self.assertEqual(client.greeting.condition, "PREAUTH" if greets else "OK")
            self.assertEqual((await client.select("INBOX")).exists, 0)
            await client.close()

    async def test_another_name(self) -> None:
        """A certificate for another name is refused, before anything is said."""
        where = await self.serve(implicit=True)
        with self.assertRaises(ConnectionFailedError) as caught:
            await self.open(where, implicit=True, name="other.example")
        self.assertIn("TLS: the certificate is for another name", str(caught.exception.detail))

    async def test_no_name(self) -> None:
        """A certificate that names no host where names belong is refused, though Twisted lets it through."""
        trust = Certificate(certificate(named=False).original)
        for implicit in (True, False):
            where = await self.serve(implicit=implicit, named=False)
            tls = ClientTLS(optionsForClientTLS("mx.example", trustRoot=trust), implicit=implicit)
            with self.assertRaises(ConnectionFailedError) as caught:
                await connect(
                    reactor, clientFromString(reactor, where), ClientSettings(tls=tls, credentials=ALICE)
                )
            self.assertIn("names no host", str(caught.exception.detail))
            while self.factory.connections:
                await deferLater(reactor, 0.01)
        self.flushLoggedErrors(CertificateError)

    async def test_stranger(self) -> None:
        """A certificate that nobody known has signed is refused in words, and no error is left over that nobody took."""
        where = await self.serve(implicit=True)
        tls = ClientTLS(optionsForClientTLS("mx.example"), implicit=True)
        with self.assertRaises(ConnectionFailedError) as caught:
            await connect(reactor, clientFromString(reactor, where), ClientSettings(tls=tls))
        self.assertEqual(caught.exception.detail, "lost: TLS: certificate verify failed")
        # Its traceback holds the connection, and so does the reactor in this turn.
        del caught
        await deferLater(reactor, 0)
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_wrong_port(self) -> None:
        """TLS with a server that speaks first in clear fails."""
        where = await self.serve(implicit=False)
        with self.assertRaises(ConnectionFailedError):
            await self.open(where, implicit=True)
