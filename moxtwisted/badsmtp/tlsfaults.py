"""TLS as it should not be, a port for each fault (and some ports as they should be, for comparison).

::

    contexts = TLSContexts(Authority(reactor.seconds))
    for fault in TLS_FAULTS:                                       # fault.number: added to the first port of the range
        creator = contexts.creator(fault)                          # for ServerTLS, startTLS, TLSMemoryBIOFactory
    contexts.ordinary()                                            # for the ordinary ports

All of it is in the creator of the connection, so that the protocol (SMTP, IMAP, POP3) knows nothing of it. Certificates are for the
name that the client asks for (SNI), else for the name that it says in EHLO, else for ``badsmtp.test``, and for our IP address.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from moxtwisted.badsmtp.certificates import Authority, Chain, Defect, certificate_name
from moxtwisted.badsmtp.tlsbehaviour import Behaviour, bent
from moxtwisted.errors import ConfigurationError

__all__ = ["TLS_FAULTS", "Creator", "Expected", "TLSContexts", "TLSFault", "hello_name_of", "tls_fault"]

_MOST_CONTEXTS: Final = 512
#: After so long a context is made anew: its certificate is valid for a day.
_RENEWAL_SECONDS: Final = 12 * 3600.0


class Expected(Enum):
    """What a client must do that knows our root and nothing else, and that wants TLS."""

    ACCEPT = "go on"
    REFUSE = "hang up, and send nothing"
    GIVE_UP = "stop waiting, and send nothing"
    IGNORE = "not believe what was said in clear"


@frozen(kw_only=True)
class TLSFault:
    """One row of the table.

    :ivar number: the port is so much above the first one of the range.
    :ivar what: one phrase for people.
    :ivar versions: the least and the greatest version of TLS, as OpenSSL numbers them; 0 = as OpenSSL likes.
    :ivar ciphers: OpenSSL's list of ciphers for TLS 1.2 and before; empty: those that it likes.
    :ivar starttls: whether there is a port with STARTTLS; ``implicit``: whether there is one without.
    """

    number: int
    name: str
    what: str
    expected: Expected
    defect: Defect = Defect.NONE
    behaviour: Behaviour = Behaviour.NONE
    versions: tuple[int, int] = (0, 0)
    ciphers: str = ""
    alpn: bytes = b""
    client_certificate: bool = False
    starttls: bool = True
    implicit: bool = True


_TLS10, _TLS11, _TLS12, _TLS13 = 0x301, 0x302, 0x303, 0x304
_ALL: Final = "ALL:@SECLEVEL=0"
_NO_RENEGOTIATION: Final = 0x40000000


def _table() -> tuple[TLSFault, ...]:
    refuse, accept, give_up, ignore = Expected.REFUSE, Expected.ACCEPT, Expected.GIVE_UP, Expected.IGNORE
    f, d, b = TLSFault, Defect, Behaviour
    rows: tuple[tuple[str, str, Expected, dict[str, Any]], ...] = (
        ("good", "nothing: trusted by who trusts the root", accept, {}),
        ("expired", "the certificate expired yesterday", refuse, {"defect": d.EXPIRED}),
        ("not-yet-valid", "the certificate is valid next year", refuse, {"defect": d.NOT_YET_VALID}),
        ("wrong-name", "the certificate is for wrong.host.badsmtp.test", refuse, {"defect": d.WRONG_NAME}),
        ("self-signed", "the certificate is signed by itself", refuse, {"defect": d.SELF_SIGNED}),
        ("unknown-ca", "the root is one that nobody knows", refuse, {"defect": d.UNKNOWN_AUTHORITY}),
        ("incomplete", "the intermediate certificate is missing", refuse, {"defect": d.MISSING_INTERMEDIATE}),
        ("not-a-ca", "the issuer may not sign certificates", refuse, {"defect": d.NOT_AN_AUTHORITY}),
        ("wrong-usage", "the certificate is for clients only", refuse, {"defect": d.WRONG_USAGE}),
        ("no-san", "the name is in the subject only", refuse, {"defect": d.NO_ALTERNATIVE_NAME}),
        ("weak-key", "RSA with 1024 bits", refuse, {"defect": d.WEAK_KEY, "ciphers": _ALL}),
        ("weak-signature", "signed with SHA-1", refuse, {"defect": d.WEAK_SIGNATURE, "ciphers": _ALL}),
        ("tls-1.0", "TLS 1.0 and nothing newer", refuse, {"versions": (_TLS10, _TLS10), "ciphers": _ALL}),
        ("tls-1.1", "TLS 1.1 and nothing newer", refuse, {"versions": (_TLS11, _TLS11), "ciphers": _ALL}),
        ("tls-1.2", "nothing: TLS 1.2", accept, {"versions": (_TLS12, _TLS12)}),
        ("tls-1.3", "nothing: TLS 1.3 and nothing older", accept, {"versions": (_TLS13, _TLS13)}),
        (
            "no-shared-cipher",
            "only ciphers that do not encrypt",
            refuse,
            {"versions": (_TLS12, _TLS12), "ciphers": "eNULL:@SECLEVEL=0"},
        ),
        ("client-certificate", "who shows no certificate is refused", refuse, {"client_certificate": True}),
        ("wrong-alpn", "a protocol is chosen that the client did not name", refuse, {"alpn": b"h2"}),
        ("stall", "the handshake is never answered", give_up, {"behaviour": b.STALL}),
        ("garbage", "the handshake is answered with nonsense", refuse, {"behaviour": b.GARBAGE}),
        ("plaintext", "an SMTP reply in clear, where TLS belongs", refuse, {"behaviour": b.PLAINTEXT}),
        ("close", "closed before the handshake (behind 220)", refuse, {"behaviour": b.CLOSE}),
        ("half", "closed in the middle of the handshake", refuse, {"behaviour": b.HALF}),
        ("half-stall", "silence in the middle of the handshake", give_up, {"behaviour": b.HALF_STALL}),
        ("no-close-notify", "closed without TLS's farewell", accept, {"behaviour": b.NO_CLOSE_NOTIFY}),
        (
            "injected-reply",
            "a reply to EHLO follows the 220 in clear",
            ignore,
            {"behaviour": b.INJECTED_REPLY, "implicit": False},
        ),
        (
            "pipelined",
            "commands that follow STARTTLS in clear are carried out inside TLS",
            ignore,
            {"behaviour": b.PIPELINED, "implicit": False},
        ),
        (
            "refused",
            "STARTTLS is offered, and answered with 454",
            refuse,
            {"behaviour": b.REFUSED, "implicit": False},
        ),
        ("stripped", "STARTTLS is not offered", refuse, {"behaviour": b.STRIPPED, "implicit": False}),
    )
    return tuple(
        f(number=number, name=name, what=what, expected=expected, **more)
        for number, (name, what, expected, more) in enumerate(rows)
    )


TLS_FAULTS: Final = _table()
"""By their number."""


def tls_fault(name: str) -> TLSFault:
    """The fault of this name. :raise KeyError: there is none."""
    return _BY_NAME[name]


_BY_NAME: Final = {fault.name: fault for fault in TLS_FAULTS}


def hello_name_of(protocol: Any) -> str:
    """What the client said in EHLO to this SMTP protocol; empty: nothing, or it is none."""
    return str(getattr(getattr(protocol, "machine", None), "hello_name", ""))


def _local_addresses(transport: Any) -> tuple[str, ...]:
    host = getattr(transport.getHost(), "host", "") if transport is not None else ""
    host = str(host).partition("%")[0].removeprefix("::ffff:")
    return (host,) if host else ()


@implementer(IOpenSSLServerConnectionCreator)
@frozen(eq=False)
class Creator:
    """Makes the OpenSSL connections of one listener; what Twisted's ``startTLS`` takes.

    :ivar hello_name: gives the name for a client that does not send SNI, from the protocol on top.
    """

    contexts: TLSContexts
    fault: TLSFault
    hello_name: Callable[[Any], str] = hello_name_of

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        """See ``IOpenSSLServerConnectionCreator``."""
        from OpenSSL import SSL

        inner = protocol.wrappedProtocol
        fallback = certificate_name(self.contexts.hostname, self.hello_name(inner))
        addresses = _local_addresses(getattr(inner, "transport", None))
        connection = SSL.Connection(self.contexts.context(self.fault, fallback, addresses), None)
        return bent(self.fault.behaviour, connection, protocol)


@frozen(kw_only=True)
class _Given:
    """A certificate and a key that the operator gave."""

    certificate: str
    key: str


class TLSContexts:
    """OpenSSL contexts by fault and name, bounded, the ones used longest ago forgotten.

    :param hostname: the name in certificates whatever the client says; empty: as asked for.
    :param certificate: path of a PEM chain for the ordinary ports, and ``key`` that of its key; empty: made by the authority.
    :raise ConfigurationError: the files cannot be used.
    """

    def __init__(
        self, authority: Authority, hostname: str = "", certificate: str = "", key: str = ""
    ) -> None:
        self.authority = authority
        self.hostname = hostname
        self._given = _Given(certificate=certificate, key=key or certificate) if certificate else None
        self._contexts: OrderedDict[tuple[str, str, tuple[str, ...]], tuple[float, Any]] = OrderedDict()
        if self._given is not None:
            self.context(_ORDINARY, "", ())

    @property
    def root_pem(self) -> bytes:
        """The root certificate that clients are given to trust."""
        return self.authority.root_pem

    def creator(self, fault: TLSFault, hello_name: Callable[[Any], str] = hello_name_of) -> Creator:
        """For a listener with this fault."""
        return Creator(self, fault, hello_name)

    def ordinary(self, hello_name: Callable[[Any], str] = hello_name_of) -> Creator:
        """For a listener without faults: the operator's certificate, or as BadSMTP has it one signed by itself."""
        return Creator(self, _ORDINARY, hello_name)

    def context(self, fault: TLSFault, name: str, addresses: Sequence[str]) -> Any:
        """The context for a name."""
        given = self._given if fault is _ORDINARY else None
        key = (fault.name, "" if given is not None else name, () if given is not None else tuple(addresses))
        made, context = self._contexts.get(key, (0.0, None))
        now = self.authority.seconds()
        if context is None or now - made > _RENEWAL_SECONDS:
            chain = self.authority.chain(fault.defect, name, addresses) if given is None else None
            context = self._new(fault, chain)
            self._contexts[key] = (now, context)
            if chain is not None:
                context.set_tlsext_servername_callback(self._asked_for(fault, name, addresses))
            while len(self._contexts) > _MOST_CONTEXTS:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(key)
        return context

    def _new(self, fault: TLSFault, chain: Chain | None) -> Any:
        from OpenSSL import SSL

        context: Any = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_options(SSL.OP_NO_COMPRESSION | _NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        least, most = fault.versions
        context.set_min_proto_version(least or _TLS12)
        if most:
            context.set_max_proto_version(most)
        if fault.ciphers:
            context.set_cipher_list(fault.ciphers.encode("ascii"))
        if chain is not None:
            context.use_certificate(chain.certificates[0])
            for certificate in chain.certificates[1:]:
                context.add_extra_chain_cert(certificate)
            context.use_privatekey(chain.key)
        elif self._given is not None:
            _use_files(context, self._given)
        if fault.client_certificate:
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
            context.set_session_id(b"badsmtp")
        if fault.alpn:
            # A server chooses among what the client named, or refuses; not so this one.
            context.set_alpn_select_callback(lambda _, __: fault.alpn)
        return context

    def _asked_for(self, fault: TLSFault, fallback: str, addresses: Sequence[str]) -> Callable[[Any], None]:
        def changed(connection: Any) -> None:
            asked = (connection.get_servername() or b"").decode("ascii", "replace")
            name = certificate_name(self.hostname, asked, fallback)
            if name != fallback:
                connection.set_context(self.context(fault, name, addresses))

        return changed


def _use_files(context: Any, given: _Given) -> None:
    from OpenSSL import SSL

    try:
        context.use_certificate_chain_file(str(Path(given.certificate)))
        context.use_privatekey_file(str(Path(given.key)))
        context.check_privatekey()
    except (SSL.Error, OSError) as error:
        words = error.args[0] if error.args and isinstance(error.args[0], list) else []
        why = "; ".join(str(word[-1]) for word in words) or str(error) or "unusable"
        raise ConfigurationError((f"{given.certificate}, {given.key}: {why}",)) from None


#: As the ordinary ports have it.
_ORDINARY: Final = TLSFault(
    number=-1, name="", what="nothing", expected=Expected.REFUSE, defect=Defect.SELF_SIGNED
)
