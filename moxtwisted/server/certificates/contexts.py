"""OpenSSL contexts from certificates: which protocol versions, ciphers, tickets and questions to the client.

What pyOpenSSL allows, and what follows from it:

 - It has no access to the keys of session tickets. OpenSSL makes them anew for each context, so the store rotates
   them by making new contexts; a ticket of an old one leads to a full handshake, which clients do not notice.
 - ``OP_NO_TICKET`` stops tickets in TLS 1.2. In TLS 1.3 OpenSSL then still sends two short tickets that name a
   session in the cache; the cache is off, so they lead to a full handshake. ``SSL_CTX_set_num_tickets(0)``, which would
   stop them, is not there.
 - All contexts of a listener share one session id context, or OpenSSL would break off when a client with a
   certificate resumes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen, validators

from moxtwisted.errors import ConfigurationError
from moxtwisted.server.certificates.files import Pair

if TYPE_CHECKING:
    from OpenSSL import SSL

__all__ = ["MODERN_CIPHERS", "OPPORTUNISTIC_CIPHERS", "TLSProfile", "build_context"]

MODERN_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!SHA1"
"""TLS 1.2 suites for clients of users: forward secrecy and AEAD only (RFC 9325 section 4.2)."""

OPPORTUNISTIC_CIPHERS = (
    MODERN_CIPHERS.removesuffix(":!SHA1") + ":ECDHE+AES:AES128-GCM-SHA256:AES256-GCM-SHA384"
)
"""TLS 1.2 suites for port 25, where a sender that finds none in common would send in clear (RFC 7435 section 3)."""

_SESSION_ID_CONTEXT = b"moxtwisted"
_VERSIONS = ("1.2", "1.3")


@frozen
class TLSProfile:
    """How a kind of listener does TLS.

    :ivar minimum_version: ``"1.2"`` or ``"1.3"``; older versions are gone (RFC 8996).
    :ivar ciphers: TLS 1.2 suites in OpenSSL's words; those of TLS 1.3 are all fine.
    :ivar session_tickets: let clients resume sessions; off for port 25, see ``contexts``.
    :ivar session_seconds: how long a session may be resumed.
    :ivar request_client_certificate: ask for a certificate. Any is accepted, nobody checks who signed it: only its key
        counts, by `client_key_fingerprint <moxtwisted.server.certificates.binding.client_key_fingerprint>`.
    :ivar alpn: application protocols we speak, the preferred first (``b"imap"``, ``b"smtp"``). A client that offers
        none of them is not refused.
    """

    minimum_version: str = field(default="1.2", validator=validators.in_(_VERSIONS))
    ciphers: str = MODERN_CIPHERS
    session_tickets: bool = True
    session_seconds: int = field(default=7200, validator=validators.ge(1))
    request_client_certificate: bool = False
    alpn: tuple[bytes, ...] = ()

    @staticmethod
    def inbound(*, minimum_version: str = "1.2", session_tickets: bool = False) -> TLSProfile:
        """For port 25: whatever is better than no TLS."""
        return TLSProfile(
            minimum_version=minimum_version, ciphers=OPPORTUNISTIC_CIPHERS, session_tickets=session_tickets
        )


def _accept_any(connection: SSL.Connection, certificate: object, error: int, depth: int, ok: int) -> bool:
    return True


def _choose_protocol(ours: Sequence[bytes]) -> Callable[[SSL.Connection, list[bytes]], object]:
    from OpenSSL import SSL

    def choose(connection: SSL.Connection, theirs: list[bytes]) -> object:
        return next((name for name in ours if name in theirs), SSL.NO_OVERLAPPING_PROTOCOLS)

    return choose


def build_context(
    pairs: Sequence[Pair], profile: TLSProfile, on_name: Callable[[SSL.Connection], None] | None = None
) -> Any:
    """A server context.

    :param pairs: at most one of each kind of key; OpenSSL chooses by what the client can verify.
    :param on_name: called during the handshake when the client said which name it wants.
    :raise ConfigurationError: when OpenSSL does not take a certificate, with the names of its files.
    """
    from OpenSSL import SSL

    context: Any = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(
        SSL.TLS1_3_VERSION if profile.minimum_version == "1.3" else SSL.TLS1_2_VERSION
    )
    options: int = SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | vars(SSL)["OP_NO_RENEGOTIATION"]
    if not profile.session_tickets:
        options |= SSL.OP_NO_TICKET
    context.set_options(options)
    # an idle connection then keeps no 2 × 16 KiB of buffers
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # tickets need no memory here; the cache would
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(_SESSION_ID_CONTEXT)
    context.set_timeout(profile.session_seconds)
    try:
        context.set_cipher_list(profile.ciphers.encode("ascii"))
    except SSL.Error:
        raise ConfigurationError((f"no usable TLS cipher suite in {profile.ciphers!r}",)) from None
    for pair in pairs:
        _use(context, pair, alone=len(pairs) == 1)
    # for channel binding after a session was resumed, when OpenSSL does not know any more which one it was
    context.set_app_data(tuple(pair.leaf for pair in pairs))
    if profile.request_client_certificate:
        context.set_verify(SSL.VERIFY_PEER, _accept_any)
    if profile.alpn:
        context.set_alpn_select_callback(_choose_protocol(profile.alpn))
    if on_name is not None:
        context.set_tlsext_servername_callback(on_name)
    return context


def _use(context: Any, pair: Pair, *, alone: bool) -> None:
    from OpenSSL import SSL

    files = pair.files
    try:
        if alone:
            context.use_certificate(pair.leaf)
            for certificate in pair.chain:
                context.add_extra_chain_cert(certificate)
        else:
            _use_with_own_chain(context, pair)
        context.use_privatekey(pair.private_key)
        context.check_privatekey()
    except (SSL.Error, OSError, TypeError) as e:
        parts = e.args[0] if e.args and isinstance(e.args[0], list) else []
        detail = "; ".join(str(part[-1]) for part in parts) or str(e)
        raise ConfigurationError(
            (f"{files.certificate}: TLS cannot use the certificate or the key in {files.key}: {detail}",)
        ) from None


def _use_with_own_chain(context: Any, pair: Pair) -> None:
    """Give a certificate a chain that the certificates of other kinds do not get.

    ``add_extra_chain_cert`` puts one chain under all of them; only reading a file does not. The file is a
    temporary one, for the operator's may have changed since we checked it, or be unreadable after dropping privileges.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    with _temporary_file() as file:
        for certificate in (pair.leaf, *pair.chain):
            file.write(certificate.public_bytes(Encoding.PEM))
        file.flush()
        context.use_certificate_chain_file(
            file.name if isinstance(file.name, str) else f"/proc/self/fd/{file.fileno()}"
        )


def _temporary_file() -> Any:
    """In memory where that can be done: a receiver of mail has no directory for it."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("moxtwisted-chain"), "w+b")
    return tempfile.NamedTemporaryFile(prefix="moxtwisted-chain-")
