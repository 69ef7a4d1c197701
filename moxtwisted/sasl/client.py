"""The client side of all mechanisms, for sending mail through a smarthost and for tests.

::

    client = choose(("SCRAM-SHA-256", "PLAIN"), Credentials("mjl@example.org", "secret"), entropy)
    initial = client.start()                    # bytes, or None: the server speaks first
    answer = client.step(challenge)             # for each challenge
    client.finish()                             # after the server's success: raises unless it proved itself

Only octets before base64 pass here. Every call raises ``ClientError`` when the server breaks the rules; the
caller then cancels (``*``) and closes.
"""

from __future__ import annotations

import abc
import hmac
from collections.abc import Callable, Collection, Mapping

from attrs import field, frozen

from moxtwisted.errors import MailError
from moxtwisted.sasl import prep
from moxtwisted.sasl.credentials import scram_keys
from moxtwisted.sasl.exchange import MAX_MESSAGE_OCTETS, MalformedError
from moxtwisted.sasl.scram import SCRAM_MECHANISMS, hash_name
from moxtwisted.sasl.scrammessages import (
    encode_base64,
    escape_name,
    parse_server_final,
    parse_server_first,
)

__all__ = [
    "PREFERENCE",
    "ClientError",
    "ClientExchange",
    "CramMD5Client",
    "Credentials",
    "ExternalClient",
    "LoginClient",
    "PlainClient",
    "ScramClient",
    "choose",
]

PREFERENCE = (*SCRAM_MECHANISMS, "CRAM-MD5")
"""What is tried unless the operator lists mechanisms: nothing that shows the password (as mox does)."""

BINDING_PREFERENCE = ("tls-exporter", "tls-unique", "tls-server-end-point")

MIN_ITERATIONS = 4096
MAX_ITERATIONS = 1_000_000


class ClientError(MailError):
    """The server broke the mechanism's rules or did not prove itself; ``detail`` is for the log."""

    reply_code = 454
    enhanced_code = "4.7.0"
    public_text = "authentication with the next server failed"


@frozen
class Credentials:
    """Who we are.

    :ivar password: not shown by ``repr``.
    :ivar authzid: whom we want to act for; mostly empty.
    """

    username: str
    password: str = field(repr=False, default="")
    authzid: str = ""


class ClientExchange(abc.ABC):
    """One exchange, client side.

    :ivar mechanism: the name for the AUTH or AUTHENTICATE command.
    """

    mechanism: str

    def start(self) -> bytes | None:
        """The initial response, or ``None`` when the server speaks first."""
        return None

    def step(self, challenge: bytes) -> bytes:
        """Answer a challenge.

        :raise ClientError: when the server may not ask this.
        """
        if len(challenge) > MAX_MESSAGE_OCTETS:
            raise ClientError("challenge too long")
        try:
            return self._step(challenge)
        except MalformedError as e:
            raise ClientError(e.detail) from None

    @abc.abstractmethod
    def _step(self, challenge: bytes) -> bytes:
        """The mechanism's own answer."""

    def finish(self, data: bytes | None = None) -> None:
        """The server reported success.

        :param data: what it sent with it, in protocols that have this.
        :raise ClientError: when it should have proved that it knows us, and has not; most mechanisms prove nothing.
        """
        return


class PlainClient(ClientExchange):
    """PLAIN (RFC 4616)."""

    mechanism = "PLAIN"

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._sent = False

    def start(self) -> bytes:
        """The whole exchange."""
        self._sent = True
        c = self._credentials
        if "\0" in c.authzid + c.username + c.password:
            raise ClientError("NUL in credentials")
        return f"{c.authzid}\0{c.username}\0{c.password}".encode()

    def _step(self, challenge: bytes) -> bytes:
        if self._sent:
            raise ClientError("PLAIN has one message")
        return self.start()


class LoginClient(ClientExchange):
    """LOGIN; the prompts are not compared, servers word them as they like."""

    mechanism = "LOGIN"

    def __init__(self, credentials: Credentials) -> None:
        self._answers = [credentials.password.encode(), credentials.username.encode()]

    def _step(self, challenge: bytes) -> bytes:
        if not self._answers:
            raise ClientError("LOGIN asked a third time")
        return self._answers.pop()


class ExternalClient(ClientExchange):
    """EXTERNAL (RFC 4422 appendix A)."""

    mechanism = "EXTERNAL"

    def __init__(self, authzid: str = "") -> None:
        self._authzid = authzid
        self._sent = False

    def start(self) -> bytes:
        """The whole exchange."""
        self._sent = True
        return self._authzid.encode()

    def _step(self, challenge: bytes) -> bytes:
        if self._sent:
            raise ClientError("EXTERNAL has one message")
        return self.start()


class CramMD5Client(ClientExchange):
    """CRAM-MD5 (RFC 2195)."""

    mechanism = "CRAM-MD5"

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._sent = False

    def _step(self, challenge: bytes) -> bytes:
        if self._sent or not challenge:
            raise ClientError("CRAM-MD5 has one challenge")
        self._sent = True
        key = prep.password(self._credentials.password).encode()
        return b"%b %b" % (
            self._credentials.username.encode(),
            hmac.new(key, challenge, "md5").hexdigest().encode(),
        )


class ScramClient(ClientExchange):
    """SCRAM (RFC 5802, RFC 7677).

    :param mechanism: one of ``SCRAM_MECHANISMS``.
    :param bindings: channel-binding data of the connection by type name; a -PLUS mechanism needs one.
    :param server_lacks_plus: whether the server offered no -PLUS although we could bind; it then gets to know
        (``y``) and can tell a downgrade.
    """

    def __init__(
        self,
        mechanism: str,
        credentials: Credentials,
        entropy: Callable[[int], bytes],
        *,
        bindings: Mapping[str, bytes] | None = None,
        server_lacks_plus: bool = False,
    ) -> None:
        self.mechanism = mechanism
        self._credentials = credentials
        self._hash = hash_name(mechanism)
        self._nonce = encode_base64(entropy(18))
        self._binding, flag = b"", "n"
        if mechanism.endswith("-PLUS"):
            name = next((n for n in BINDING_PREFERENCE if n in (bindings or {})), None)
            if bindings is None or name is None:
                raise ClientError("no channel-binding data for a -PLUS mechanism")
            self._binding, flag = bindings[name], "p=" + name
        elif bindings and server_lacks_plus:
            flag = "y"
        authzid = b"a=" + escape_name(credentials.authzid) if credentials.authzid else b""
        self._header = flag.encode() + b"," + authzid + b","
        self._bare = b"n=" + escape_name(credentials.username) + b",r=" + self._nonce
        self._signature = b""
        self._turn = 0
        self.verified = False

    def start(self) -> bytes:
        """The client-first-message."""
        self._turn = 1
        return self._header + self._bare

    def _step(self, challenge: bytes) -> bytes:
        if self._turn == 0 and not challenge:
            return self.start()
        if self._turn == 1:
            self._turn = 2
            return self._answer_first(challenge)
        if self._turn == 2:
            self._verify(challenge)
            return b""
        raise ClientError("SCRAM: challenge out of turn")

    def _answer_first(self, challenge: bytes) -> bytes:
        first = parse_server_first(challenge)
        if not first.nonce.startswith(self._nonce) or len(first.nonce) == len(self._nonce):
            raise ClientError("SCRAM: the server's nonce does not go on from ours")
        if not MIN_ITERATIONS <= first.iterations <= MAX_ITERATIONS:
            raise ClientError(f"SCRAM: iteration count {first.iterations} is not acceptable")
        algorithm, name = self._hash
        password = prep.password(self._credentials.password).encode()
        without_proof = b"c=" + encode_base64(self._header + self._binding) + b",r=" + first.nonce
        message = b",".join((self._bare, challenge, without_proof))
        keys = scram_keys(password, first.salt, first.iterations, algorithm)
        signature = hmac.digest(keys.stored_key, message, name)
        proof = (int.from_bytes(keys.client_key) ^ int.from_bytes(signature)).to_bytes(len(signature))
        self._signature = hmac.digest(keys.server_key, message, name)
        return without_proof + b",p=" + encode_base64(proof)

    def _verify(self, message: bytes) -> None:
        self._turn = 3
        signature, error = parse_server_final(message)
        if error:
            raise ClientError(f"SCRAM: the server says {error[:40]!r}")
        if not hmac.compare_digest(signature, self._signature):
            raise ClientError("SCRAM: the server's signature is wrong")
        self.verified = True

    def finish(self, data: bytes | None = None) -> None:
        """See ``ClientExchange.finish``; the server's signature must have come, now or before."""
        if self._turn == 2 and data is not None:
            try:
                self._verify(data)
            except MalformedError as e:
                raise ClientError(e.detail) from None
        if not self.verified:
            # RFC 5802 section 5: without a valid signature the client must take the authentication as failed.
            raise ClientError("SCRAM: success without the server's signature")


def choose(
    names: Collection[str],
    credentials: Credentials,
    entropy: Callable[[int], bytes],
    *,
    bindings: Mapping[str, bytes] | None = None,
    preference: tuple[str, ...] = PREFERENCE,
) -> ClientExchange | None:
    """Begin an exchange with the first mechanism of ``preference`` that the server offers.

    :param names: what the server offers, in any case.
    :param bindings: channel-binding data of the connection by type name; empty or ``None`` without TLS.
    :return: the exchange, or ``None`` when there is no common mechanism.
    """
    have = {name.upper() for name in names}
    plus = any(name in have for name in SCRAM_MECHANISMS if name.endswith("-PLUS"))
    for name in preference:
        if name not in have or (name.endswith("-PLUS") and not bindings):
            continue
        if name in SCRAM_MECHANISMS:
            return ScramClient(
                name, credentials, entropy, bindings=bindings, server_lacks_plus=bool(bindings) and not plus
            )
        if name == "EXTERNAL":
            return ExternalClient(credentials.authzid)
        simple: dict[str, Callable[[Credentials], ClientExchange]] = {
            "PLAIN": PlainClient,
            "LOGIN": LoginClient,
            "CRAM-MD5": CramMD5Client,
        }
        if name in simple:
            return simple[name](credentials)
    return None
