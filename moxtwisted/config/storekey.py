"""The store's encryption key: 32 random octets, where they come from and how people write them.

People write it as the *recovery key*: base32 in groups of four, with a checksum, so that it can be put on paper and
typed again. The key file holds the same, so printing the file is a back-up::

    text = recovery_form(key)      # "MFRG-GZDF-MZTW-Q2LK-..." (14 groups)
    parse_key(text.lower())        # the 32 octets again; a slip of the pen is noticed

`read_key` takes it from the key file, from an environment variable or from a systemd credential, as
``[store]`` in ``mox.conf`` says.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from moxtwisted.config.atomic import create_file, replace_file
from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.oldkey import forget_old_key
from moxtwisted.config.schema import StaticConfig
from moxtwisted.errors import KeyRefusedError
from moxtwisted.store.keys import MasterKey

__all__ = [
    "configured_key",
    "create_key_file",
    "file_text",
    "key_variables",
    "new_key",
    "parse_key",
    "pending_path",
    "read_key",
    "recovery_form",
    "write_key",
]

#: 52 characters of base32 carry 256 bits; 4 more of the SHA-256 find all but one in a million typing errors.
_KEY_CHARACTERS = 52
_CHECK_CHARACTERS = 4
_MISREAD = str.maketrans({"0": "O", "1": "I", "8": "B"})
_HEADER = (
    "# The key of moxmail's mail store. Without it the mail cannot be read: keep a copy in a safe place.\n"
)
#: systemd.exec(5): credentials of a unit are files below the directory that this variable names.
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
#: A key is 80 octets; more is no key.
_MAX_CHARACTERS = 4096


def new_key() -> bytes:
    """A fresh key."""
    return MasterKey.generate().secret


def recovery_form(key: bytes) -> str:
    """The key for people: 14 groups of four characters."""
    text = base64.b32encode(key).decode("ascii").rstrip("=") + _checksum(key)
    return "-".join(text[i : i + 4] for i in range(0, len(text), 4))


def parse_key(text: str) -> bytes:
    """Read what `recovery_form` wrote; spaces, case and hyphens do not matter, 0, 1 and 8 are taken for O, I, B.

    Lines that begin with ``#`` are left out.

    :raises KeyRefusedError: when it is no key; the error does not repeat the text.
    """
    if len(text) > _MAX_CHARACTERS:
        raise KeyRefusedError("the key is too long")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    compact = "".join("".join(lines).split()).replace("-", "").upper().translate(_MISREAD)
    if len(compact) != _KEY_CHARACTERS + _CHECK_CHARACTERS:
        expected = _KEY_CHARACTERS + _CHECK_CHARACTERS
        raise KeyRefusedError(
            f"the key has {len(compact)} characters, {expected} expected (hyphens not counted)"
        )
    try:
        key = base64.b32decode(compact[:_KEY_CHARACTERS] + "====")
    except ValueError:
        raise KeyRefusedError("the key has characters other than A-Z and 2-7") from None
    if _checksum(key) != compact[_KEY_CHARACTERS:]:
        raise KeyRefusedError("the key's checksum is wrong: a character was mistyped, or the key was cut")
    return key


def _checksum(key: bytes) -> str:
    return base64.b32encode(hashlib.sha256(b"moxmail recovery key" + key).digest())[
        :_CHECK_CHARACTERS
    ].decode()


def read_key(loaded: LoadedConfig, environ: Mapping[str, str] | None = None) -> bytes | None:
    """The key as the configuration says, or None when encryption is off.

    :param environ: instead of the process's environment.
    :raises KeyRefusedError: when there is none, or it is none; the text says where it was looked for.
    """
    note = pending_path(loaded)
    if note.exists():
        raise KeyRefusedError(
            f"{note} is there: a change of the key was cut short; finish it: moxmail key rotate"
        )
    key = configured_key(loaded, environ)
    master = MasterKey(key) if key is not None else None
    forget_old_key(loaded.resolve(loaded.static.store.key_file), loaded.data_directory, master)
    return key


def configured_key(loaded: LoadedConfig, environ: Mapping[str, str] | None = None) -> bytes | None:
    """As `read_key`, also while a change of the key is under way."""
    if not loaded.static.store.encryption:
        return None
    text, where = _key_text(loaded, os.environ if environ is None else environ)
    try:
        return parse_key(text)
    except KeyRefusedError as e:
        raise KeyRefusedError(f"{where}: {e.detail}") from None


def _key_text(loaded: LoadedConfig, environ: Mapping[str, str]) -> tuple[str, str]:
    """The text of the key, and where it was."""
    store = loaded.static.store
    if store.key_environment:
        where = f"environment variable {store.key_environment}"
        if not environ.get(store.key_environment):
            raise KeyRefusedError(f"{where}: not set, the key of the store expected")
        return environ[store.key_environment], where
    if store.key_credential:
        directory = environ.get(_CREDENTIALS, "")
        where = f"credential {store.key_credential}"
        if not directory:
            raise KeyRefusedError(f"{where}: {_CREDENTIALS} is not set, a start by systemd expected")
        path = Path(directory) / store.key_credential
    else:
        path = loaded.resolve(store.key_file)
        where = str(path)
    try:
        with path.open("rb") as f:
            return f.read(8192).decode("ascii", "replace"), where
    except FileNotFoundError:
        raise KeyRefusedError(
            f"{where}: there is no key file; put the recovery key into it (a text file with mode 0600)"
        ) from None
    except OSError as e:
        raise KeyRefusedError(f"{where}: the key cannot be read: {e.strerror}") from None


def key_variables(static: StaticConfig) -> tuple[str, ...]:
    """Variables of the environment that have the key, or say where it is: nothing for processes that get it otherwise, or not at all."""
    return (*filter(None, [static.store.key_environment]), _CREDENTIALS)


def pending_path(loaded: LoadedConfig) -> Path:
    """Where the new key is while the databases are given it."""
    path = loaded.resolve(loaded.static.store.key_file)
    return path.with_name(path.name + ".next")


def create_key_file(path: Path, key: bytes) -> None:
    """Make the key file, for its owner only.

    :raises FileExistsError: when there is one; a key is never overwritten by accident.
    """
    create_file(path, file_text(key), 0o600)


def write_key(loaded: LoadedConfig, key: bytes) -> None:
    """Replace the key file, atomically.

    :raises KeyRefusedError: when the key does not come from a file, so that only the operator can replace it.
    """
    store = loaded.static.store
    if store.key_environment or store.key_credential:
        raise KeyRefusedError(
            "the key comes from the environment or a credential: it cannot be replaced from here"
        )
    replace_file(loaded.resolve(store.key_file), file_text(key), 0o600)


def file_text(key: bytes) -> bytes:
    """What a key file has."""
    return (_HEADER + recovery_form(key) + "\n").encode("ascii")
