"""The messages of SCRAM (RFC 5802 section 7), read and written; no secrets, no state.

::

    C: n,,n=user,r=rOprNGfwEbeRWgbNEkqO
    S: r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096
    C: c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=
    S: v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=
"""

from __future__ import annotations

import binascii
import re

from attrs import frozen

from moxtwisted.sasl.exchange import MalformedError, decode_text

__all__ = [
    "ClientFinal",
    "ClientFirst",
    "ServerFirst",
    "decode_base64",
    "encode_base64",
    "escape_name",
    "parse_client_final",
    "parse_client_first",
    "parse_server_final",
    "parse_server_first",
]

MAX_NONCE_OCTETS = 512
MAX_SALT_OCTETS = 256
MAX_ITERATIONS = 10_000_000

_NONCE = re.compile(rb"[\x21-\x2b\x2d-\x7e]+\Z")
_CB_NAME = re.compile(rb"[A-Za-z0-9.-]+\Z")
_POSITIVE = re.compile(rb"[1-9][0-9]{0,8}\Z")
_ATTRIBUTE = re.compile(rb"[A-Za-z]=[^\0,]+\Z")


@frozen
class ClientFirst:
    """The client's first message.

    :ivar gs2_header: the octets up to and with the second comma.
    :ivar binding_flag: ``"n"``, ``"y"`` or ``"p"``.
    :ivar binding_name: the channel-binding type after ``p=``, else empty.
    :ivar bare: the message without the GS2 header.
    """

    gs2_header: bytes
    binding_flag: str
    binding_name: str
    authzid: str
    username: str
    nonce: bytes
    bare: bytes


@frozen
class ServerFirst:
    """The server's first message."""

    nonce: bytes
    salt: bytes
    iterations: int


@frozen
class ClientFinal:
    """The client's last message.

    :ivar without_proof: its octets before ``,p=``.
    """

    binding_input: bytes
    nonce: bytes
    proof: bytes
    without_proof: bytes


def _error(detail: str, value: bytes = b"invalid-encoding") -> MalformedError:
    return MalformedError("SCRAM: " + detail, data=b"e=" + value)


def encode_base64(octets: bytes) -> bytes:
    """Base64 without line ends."""
    return binascii.b2a_base64(octets, newline=False)


def decode_base64(octets: bytes, what: str) -> bytes:
    """Strict base64: no other characters, right padding, canonical.

    :raise MalformedError: when it is not.
    """
    try:
        decoded = binascii.a2b_base64(octets, strict_mode=True)
    except binascii.Error:
        raise _error(f"bad base64 in {what}") from None
    if binascii.b2a_base64(decoded, newline=False) != octets:
        raise _error(f"base64 in {what} is not canonical")
    return decoded


def escape_name(name: str) -> bytes:
    """A saslname: comma and equals sign escaped (RFC 5802 section 5.1)."""
    return name.replace("=", "=3D").replace(",", "=2C").encode("utf-8")


def _unescape_name(octets: bytes, what: str) -> str:
    text = decode_text(octets, what)
    if not text:
        raise _error(f"empty {what}")
    # RFC 5802 section 5.1: an equals sign that begins neither =2C nor =3D makes the authentication fail.
    if re.search("=(?!2C|3D)", text):
        raise _error(f"bad escape in {what}", b"invalid-username-encoding")
    return text.replace("=2C", ",").replace("=3D", "=")


def _attribute(part: bytes, letter: bytes, what: str) -> bytes:
    if part[:1] == b"m":
        # RFC 5802 section 5.1: an unknown mandatory extension must make the authentication fail.
        raise _error("mandatory extension", b"extensions-not-supported")
    if part[:2] != letter + b"=" or len(part) < 3:
        raise _error(f"no {what} where it belongs")
    return part[2:]


def _nonce(part: bytes) -> bytes:
    nonce = _attribute(part, b"r", "nonce")
    if len(nonce) > MAX_NONCE_OCTETS or not _NONCE.match(nonce):
        raise _error("bad nonce")
    return nonce


def _extensions(parts: list[bytes]) -> None:
    # RFC 5802 section 5.1: unknown optional extensions are ignored, if they are well-formed.
    for part in parts:
        if part[:2] == b"m=":
            raise _error("mandatory extension", b"extensions-not-supported")
        if not _ATTRIBUTE.match(part):
            raise _error("malformed extension")


def parse_client_first(data: bytes) -> ClientFirst:
    """Read a client-first-message.

    :raise MalformedError: when it is none.
    """
    decode_text(data, "message")
    parts = data.split(b",")
    if len(parts) < 4:
        raise _error("client-first-message is too short")
    flag, authzid_part, name_part, nonce_part, *extensions = parts
    binding_name = ""
    if flag[:2] == b"p=":
        if not _CB_NAME.match(flag[2:]):
            raise _error("bad channel-binding name")
        binding_name = flag[2:].decode("ascii")
    elif flag not in (b"n", b"y"):
        raise _error("bad GS2 header")
    authzid = ""
    if authzid_part:
        if authzid_part[:2] != b"a=":
            raise _error("bad GS2 header")
        authzid = _unescape_name(authzid_part[2:], "authorization identity")
    username = _unescape_name(_attribute(name_part, b"n", "user name"), "user name")
    nonce = _nonce(nonce_part)
    _extensions(extensions)
    header = flag + b"," + authzid_part + b","
    return ClientFirst(
        gs2_header=header,
        binding_flag=flag[:1].decode("ascii"),
        binding_name=binding_name,
        authzid=authzid,
        username=username,
        nonce=nonce,
        bare=data[len(header) :],
    )


def parse_server_first(data: bytes) -> ServerFirst:
    """Read a server-first-message.

    :raise MalformedError: when it is none.
    """
    decode_text(data, "message")
    parts = data.split(b",")
    nonce = _nonce(parts[0])
    if len(parts) < 3:
        raise _error("server-first-message is too short")
    salt = decode_base64(_attribute(parts[1], b"s", "salt"), "salt")
    count = _attribute(parts[2], b"i", "iteration count")
    if not _POSITIVE.match(count) or int(count) > MAX_ITERATIONS:
        raise _error("bad iteration count")
    if len(salt) > MAX_SALT_OCTETS:
        raise _error("salt too long")
    _extensions(parts[3:])
    return ServerFirst(nonce=nonce, salt=salt, iterations=int(count))


def parse_client_final(data: bytes) -> ClientFinal:
    """Read a client-final-message.

    :raise MalformedError: when it is none.
    """
    decode_text(data, "message")
    parts = data.split(b",")
    if len(parts) < 3:
        raise _error("client-final-message is too short")
    binding_input = decode_base64(_attribute(parts[0], b"c", "channel binding"), "channel binding")
    nonce = _nonce(parts[1])
    _extensions(parts[2:-1])
    proof = decode_base64(_attribute(parts[-1], b"p", "proof"), "proof")
    return ClientFinal(
        binding_input=binding_input,
        nonce=nonce,
        proof=proof,
        without_proof=data[: len(data) - len(parts[-1]) - 1],
    )


def parse_server_final(data: bytes) -> tuple[bytes, str]:
    """Read a server-final-message: the server's signature and ``""``, or ``b""`` and the server's error word.

    :raise MalformedError: when it is none.
    """
    decode_text(data, "message")
    first, *extensions = data.split(b",")
    if first[:2] == b"e=" and len(first) > 2:
        return b"", first[2:].decode("utf-8")
    signature = decode_base64(_attribute(first, b"v", "verifier"), "verifier")
    _extensions(extensions)
    return signature, ""
