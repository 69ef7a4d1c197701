"""The store's encryption key, and what is derived from it.

One master key of 32 octets; every database has a key of its own, derived from it and the database's name::

    key = MasterKey(secret)
    key.derive("accounts/me")                      # 32 octets, HKDF-SHA256

The data directory keeps a *key check*, a derived value that tells whether a key is the right one; so a wrong key is
refused before any database is opened. Where the key lies, and how people write it down, is the configuration's affair.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import field, frozen

from moxtwisted.errors import KeyRefusedError

__all__ = ["KEY_OCTETS", "MasterKey", "check_key_value", "write_key_check"]

KEY_OCTETS: Final = 32
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
