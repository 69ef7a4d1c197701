"""What is kept in place of a password, and how it is made from one.

::

    stored = derive("correct horse", entropy).to_bytes()        # slow on purpose: run it in a thread
    verifiers = PasswordVerifiers.from_bytes(stored)
    verify_password(verifiers.argon2id, "correct horse")         # True; slow likewise
    verifiers.scram("SHA-256").stored_key                        # for SCRAM-SHA-256

Passwords are prepared by the OpaqueString profile first, here and at each comparison. The argon2id hash
answers PLAIN and LOGIN; the SCRAM keys cannot be used to log in either by somebody who reads them, but a
guess is cheaper to try against them than against argon2id, so the database should be encrypted.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import msgspec
from attrs import field, frozen, validators

from moxtwisted.errors import ConsistencyError
from moxtwisted.sasl import prep
from moxtwisted.sasl.cramkeys import CramContexts, cram_contexts

__all__ = [
    "DEFAULT_COSTS",
    "MIN_PASSWORD_OCTETS",
    "Costs",
    "PasswordVerifiers",
    "ScramKeys",
    "ScramVerifier",
    "derive",
    "needs_rehash",
    "scram_keys",
    "scram_verifier",
    "verify_password",
]

Entropy = Callable[[int], bytes]

MIN_PASSWORD_OCTETS = 8
"""What an administrator's tool should demand of a new password (as mox does); ``derive`` does not enforce it."""

_MAX_STORED_OCTETS = 8192
_SALT_OCTETS = 16


@frozen
class Costs:
    """How much work a password check is made to be.

    :ivar memory_kib: memory of one argon2id hash, in KiB.
    :ivar passes: argon2id passes over that memory.
    :ivar lanes: argon2id lanes (threads).
    :ivar sha256_iterations: PBKDF2 iterations for SCRAM-SHA-256; every client pays them at each login.
    :ivar sha1_iterations: likewise for SCRAM-SHA-1.
    """

    # OWASP's second argon2id profile: 19 MiB, 2 passes, 1 lane; about 20 ms of one core, and two checks at once
    # stay under 40 MiB. RFC 9106's 64 MiB profile would double the memory of a small server.
    memory_kib: int = field(default=19456, validator=validators.ge(8))
    passes: int = field(default=2, validator=validators.ge(1))
    lanes: int = field(default=1, validator=validators.ge(1))
    # RFC 7677 section 4: at least 4096; the more the better as long as old phones bear it.
    sha256_iterations: int = field(default=15000, validator=validators.ge(4096))
    sha1_iterations: int = field(default=8192, validator=validators.ge(4096))


DEFAULT_COSTS = Costs()


class ScramVerifier(msgspec.Struct, frozen=True):
    """The SCRAM keys of one password under one hash (RFC 5802 section 3); no secret to log in with."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


@frozen(repr=False)
class ScramKeys:
    """The three keys of RFC 5802 section 3; the client key is as good as the password."""

    client_key: bytes
    stored_key: bytes
    server_key: bytes


class PasswordVerifiers(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is kept of one password.

    :ivar argon2id: the encoded argon2id hash, ``$argon2id$v=19$...``.
    :ivar scram_sha_256: keys for SCRAM-SHA-256 and SCRAM-SHA-256-PLUS.
    :ivar scram_sha_1: keys for SCRAM-SHA-1 and SCRAM-SHA-1-PLUS.
    :ivar cram_md5: contexts for CRAM-MD5, when they were asked for.
    """

    argon2id: str
    scram_sha_256: ScramVerifier | None = None
    scram_sha_1: ScramVerifier | None = None
    cram_md5: CramContexts | None = None

    def scram(self, algorithm: str) -> ScramVerifier | None:
        """The keys for ``"SHA-256"`` or ``"SHA-1"``."""
        return self.scram_sha_256 if algorithm == "SHA-256" else self.scram_sha_1

    def to_bytes(self) -> bytes:
        """JSON, octet strings in base64, about 600 octets."""
        return msgspec.json.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> PasswordVerifiers:
        """Read what ``to_bytes`` wrote.

        :raise ConsistencyError: when it is something else; the message does not quote it.
        """
        if len(data) > _MAX_STORED_OCTETS:
            raise ConsistencyError("stored password verifiers are too long")
        try:
            return _decoder.decode(data)
        except (msgspec.MsgspecError, ValueError) as e:
            raise ConsistencyError(f"stored password verifiers are damaged ({type(e).__name__})") from None

    def __repr__(self) -> str:
        return "<PasswordVerifiers>"


_decoder = msgspec.json.Decoder(PasswordVerifiers)


def _hash_name(algorithm: str) -> str:
    return {"SHA-256": "sha256", "SHA-1": "sha1"}[algorithm]


def scram_keys(password: bytes, salt: bytes, iterations: int, algorithm: str) -> ScramKeys:
    """Derive the SCRAM keys (RFC 5802 section 3). Slow in proportion to ``iterations``.

    :param password: prepared, in UTF-8.
    :param algorithm: ``"SHA-256"`` or ``"SHA-1"``.
    """
    name = _hash_name(algorithm)
    salted = hashlib.pbkdf2_hmac(name, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", name)
    return ScramKeys(
        client_key=client_key,
        stored_key=hashlib.new(name, client_key).digest(),
        server_key=hmac.digest(salted, b"Server Key", name),
    )


def scram_verifier(password: bytes, salt: bytes, iterations: int, algorithm: str) -> ScramVerifier:
    """What a server keeps of ``scram_keys``: all but the client key."""
    keys = scram_keys(password, salt, iterations, algorithm)
    return ScramVerifier(
        salt=salt, iterations=iterations, stored_key=keys.stored_key, server_key=keys.server_key
    )


def derive(
    password: str, entropy: Entropy, *, cram_md5: bool = False, costs: Costs = DEFAULT_COSTS
) -> PasswordVerifiers:
    """Make the verifiers of a new password; about 35 ms of work with the default costs, so use a thread.

    :param password: as typed.
    :param entropy: ``entropy(n)`` gives n unpredictable octets, as ``os.urandom``.
    :param cram_md5: also make the CRAM-MD5 contexts, which equal the password for that mechanism.
    :raise moxtwisted.sasl.prep.PreparationError: for an empty or overlong password or one with control characters.
    """
    from argon2.low_level import Type, hash_secret  # here, not above: start-up budget

    octets = prep.password(password).encode("utf-8")
    encoded = hash_secret(
        octets,
        entropy(_SALT_OCTETS),
        time_cost=costs.passes,
        memory_cost=costs.memory_kib,
        parallelism=costs.lanes,
        hash_len=32,
        type=Type.ID,
    )
    return PasswordVerifiers(
        argon2id=encoded.decode("ascii"),
        scram_sha_256=scram_verifier(octets, entropy(_SALT_OCTETS), costs.sha256_iterations, "SHA-256"),
        scram_sha_1=scram_verifier(octets, entropy(_SALT_OCTETS), costs.sha1_iterations, "SHA-1"),
        cram_md5=cram_contexts(octets) if cram_md5 else None,
    )


def verify_password(argon2id: str, password: str) -> bool:
    """Whether the password has this hash; about 20 ms of work with the default costs, so use a thread.

    :param argon2id: the encoded hash.
    :param password: as typed; one that the PRECIS profile refuses is wrong.
    :raise ConsistencyError: when the hash is damaged.
    """
    from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
    from argon2.low_level import Type, verify_secret

    try:
        octets = prep.password(password).encode("utf-8")
    except prep.PreparationError:
        octets = b"\0"  # no password has this form; the work is done all the same
    try:
        return verify_secret(argon2id.encode("ascii"), octets, Type.ID)
    except VerifyMismatchError:
        return False
    except (InvalidHashError, VerificationError, UnicodeError) as e:
        raise ConsistencyError(f"stored password hash cannot be used ({type(e).__name__})") from None


def needs_rehash(verifiers: PasswordVerifiers, *, costs: Costs = DEFAULT_COSTS) -> bool:
    """Whether the verifiers were made with other costs than these, so that the next login should renew them."""
    wanted = f"$argon2id$v=19$m={costs.memory_kib},t={costs.passes},p={costs.lanes}$"
    sha256, sha1 = verifiers.scram_sha_256, verifiers.scram_sha_1
    return (
        not verifiers.argon2id.startswith(wanted)
        or sha256 is None
        or sha256.iterations != costs.sha256_iterations
        or sha1 is None
        or sha1.iterations != costs.sha1_iterations
    )
