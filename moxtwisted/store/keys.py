"""The store's encryption key: where it comes from, what is derived from it, how it is written down.

One master key of 32 octets; every database has a key of its own, derived from it and the database's name::

    key = MasterKey.from_file(Path("config/store.key"))
    key.derive("accounts/me")                      # 32 octets, HKDF-SHA256
    MasterKey.from_recovery(key.recovery) == key   # "ABCD-EFGH-…", to be written on paper

The data directory keeps a *key check*, a derived value that tells whether a key is the right one; so a wrong key is
refused before any database is opened.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from attrs import field, frozen

from moxtwisted.errors import KeyRefusedError

__all__ = ["KEY_OCTETS", "MasterKey", "check_key_value", "write_key_check"]

KEY_OCTETS: Final = 32
_CHECKSUM_OCTETS: Final = 3
_GROUP: Final = 4
_CHECK_LABEL: Final = "key check"
_OFF: Final = "off"


def _hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt, 32 octets: one block of output."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


@frozen
class MasterKey:
    """32 secret octets.

    :raises KeyRefusedError: for another length.
    """

    secret: bytes = field(repr=False)

    def __attrs_post_init__(self) -> None:
        if len(self.secret) != KEY_OCTETS:
            raise KeyRefusedError(f"the key has {len(self.secret)} octets instead of {KEY_OCTETS}")

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes] = os.urandom) -> MasterKey:
        """A new one."""
        return cls(entropy(KEY_OCTETS))

    def derive(self, name: str) -> bytes:
        """The key of the database of this name, 32 octets."""
        return _hkdf(self.secret, b"moxtwisted store\0" + name.encode())

    # -- written form --------------------------------------------------------------------------------------------

    @property
    def recovery(self) -> str:
        """14 groups of 4 letters and digits (RFC 4648 base32) with a checksum: for paper, and for the key file."""
        letters = base64.b32encode(self.secret + _checksum(self.secret)).decode()
        return "-".join(letters[place : place + _GROUP] for place in range(0, len(letters), _GROUP))

    @classmethod
    def from_recovery(cls, text: str) -> MasterKey:
        """From L{recovery}, in any case, with or without hyphens and spaces; 0 and 1 are read as O and I.

        :raises KeyRefusedError: when it has a mistake.
        """
        letters = "".join(text.upper().replace("-", "").split()).replace("0", "O").replace("1", "I")
        try:
            octets = base64.b32decode(letters)
        except (binascii.Error, ValueError) as e:
            raise KeyRefusedError("the key is not 56 letters and digits") from e
        secret, checksum = octets[:KEY_OCTETS], octets[KEY_OCTETS:]
        if not hmac.compare_digest(checksum, _checksum(secret)):
            raise KeyRefusedError("the key has a typing error: its checksum does not fit")
        return cls(secret)

    # -- sources -------------------------------------------------------------------------------------------------

    @classmethod
    def from_file(cls, path: Path) -> MasterKey:
        """From a file that its owner alone can read, holding the recovery form.

        :raises KeyRefusedError: when it is missing, open to others, or holds something else.
        """
        try:
            mode = path.stat().st_mode
            text = path.read_text("ascii")
        except (OSError, UnicodeDecodeError) as e:
            raise KeyRefusedError(f"the key file {path} cannot be read: {e}") from e
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyRefusedError(
                f"the key file {path} can be read by others (mode {stat.S_IMODE(mode):04o}): chmod 600 it"
            )
        return cls.from_recovery(text)

    def to_file(self, path: Path) -> None:
        """Write a new key file, mode 0600, on disk when this returns.

        :raises FileExistsError: an existing key is never overwritten.
        """
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(self.recovery + "\n")
            file.flush()
            os.fsync(handle)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    @classmethod
    def from_environment(cls, name: str, environment: Mapping[str, str] | None = None) -> MasterKey:
        """From an environment variable with the recovery form. :raises KeyRefusedError:"""
        text = (os.environ if environment is None else environment).get(name)
        if not text:
            raise KeyRefusedError(f"the environment variable {name} with the key is not set")
        return cls.from_recovery(text)

    @classmethod
    def from_credential(cls, name: str, environment: Mapping[str, str] | None = None) -> MasterKey:
        """From a systemd credential (LoadCredential=, SetCredentialEncrypted=) of this name.

        :raises KeyRefusedError: when there is none, or it holds something else.
        """
        directory = (os.environ if environment is None else environment).get("CREDENTIALS_DIRECTORY")
        if not directory or "/" in name:
            raise KeyRefusedError(f"systemd gave no credential {name}")
        try:
            # systemd guards the directory; the file's own mode is its business.
            return cls.from_recovery((Path(directory) / name).read_text("ascii"))
        except (OSError, UnicodeDecodeError) as e:
            raise KeyRefusedError(f"the credential {name} cannot be read: {e}") from e


def _checksum(secret: bytes) -> bytes:
    return hashlib.sha256(b"moxtwisted recovery\0" + secret).digest()[:_CHECKSUM_OCTETS]


# -- the key check -----------------------------------------------------------------------------------------------------


def _check_value(key: MasterKey | None) -> str:
    return _OFF if key is None else key.derive(_CHECK_LABEL).hex()


def write_key_check(path: Path, key: MasterKey | None) -> None:
    """Note which key this data directory is written with (None: encryption is off)."""
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="ascii") as file:
        new.chmod(0o600)
        file.write(_check_value(key) + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def check_key_value(path: Path, key: MasterKey | None) -> bool:
    """Compare a key with the note of the data directory; False when there is no note yet.

    :raises KeyRefusedError: when this data directory is written with another key, or encryption was on or off.
    """
    try:
        noted = path.read_text("ascii").strip()
    except FileNotFoundError:
        return False
    if hmac.compare_digest(noted, _check_value(key)):
        return True
    if noted == _OFF:
        raise KeyRefusedError("this data directory is not encrypted, but a key was given")
    if key is None:
        raise KeyRefusedError("this data directory is encrypted, and no key was given")
    raise KeyRefusedError("this data directory is encrypted with another key")
