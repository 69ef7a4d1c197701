"""What ``moxmail config test`` looks at beyond the two files: certificates, user, key, directories.

A start looks at a part of it (`check_start`), so that both say the same; the rest imports the cryptographic library.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.privileges import UnknownUserError, closed_program, find_identity
from moxtwisted.config.reading import Path as KeyPath
from moxtwisted.config.reading import Problems, quoted
from moxtwisted.config.schema import Certificate
from moxtwisted.config.storekey import read_key
from moxtwisted.errors import KeyRefusedError
from moxtwisted.store.keys import MasterKey, check_key_value

_CREDENTIALS = re.compile(r"\s*[!-~]+\s*")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----")

__all__ = ["can_listen", "check_machine", "check_start", "store_key"]


def check_machine(loaded: LoadedConfig, problems: Problems, notes: Problems) -> None:
    """Note what is not there, cannot be read or is out of date.

    :param notes: gets what may be as it should.
    """
    static = loaded.static
    for name, listener in static.listeners.items():
        for i, ip in enumerate(listener.ips):
            at: KeyPath = ("listeners", name, "ips", i)
            if _is_ip(ip) and not can_listen(ip):
                notes.add(
                    at, f"{ip} is no address of this machine, the server can listen there only if it is"
                )
    for name, listener in static.listeners.items():
        for i, pair in enumerate(listener.tls.certificates if listener.tls is not None else ()):
            _check_certificate(loaded, pair, ("listeners", name, "tls", "certificates", i), problems)
    _check_sender_lists(loaded, notes)
    check_start(loaded, problems, notes)


def check_start(loaded: LoadedConfig, problems: Problems, notes: Problems) -> None:
    """The part of it that a server looks at before it starts: user, data directory, key."""
    static = loaded.static
    if static.user:
        try:
            identity = find_identity(static.user)
        except UnknownUserError as e:
            problems.add(("user",), f"{quoted(static.user)} found, a user of this machine expected: {e}")
        else:
            if os.geteuid() == 0 and (closed := closed_program(identity)):
                notes.add(("user",), closed)
    _check_data_directory(loaded.data_directory, problems)
    rspamd = static.scanners.rspamd
    if rspamd is not None and rspamd.password_file:
        try:
            loaded.resolve(rspamd.password_file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as e:
            problems.add(
                ("scanners", "rspamd", "password_file"),
                f"{loaded.resolve(rspamd.password_file)}: cannot be read: {_why(e)}",
            )
    _check_authority(loaded, problems)
    if problems.spoiled_below(("store",)) or problems.spoiled(("data_directory",)):
        return
    try:
        store_key(loaded)
    except KeyRefusedError as e:
        problems.add(("store",), e.detail)
    if static.store.encryption and not (static.store.key_environment or static.store.key_credential):
        _check_key_mode(loaded.resolve(static.store.key_file), notes)


def _check_authority(loaded: LoadedConfig, problems: Problems) -> None:
    authority = loaded.static.authentication.authority
    if authority is None:
        return
    for name, expected, is_good in (
        ("credentials_file", "name:password or a token, in one line", _CREDENTIALS.fullmatch),
        ("ca_file", "certificates in PEM", _CERTIFICATE.search),
    ):
        file = getattr(authority, name)
        try:
            found = loaded.resolve(file).read_text("utf-8") if file else None
        except (OSError, UnicodeDecodeError) as e:
            problems.add(
                ("authentication", "authority", name), f"{loaded.resolve(file)}: cannot be read: {_why(e)}"
            )
            continue
        if found is not None and not is_good(found):
            problems.add(("authentication", "authority", name), f"{file}: {expected} expected")


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _check_sender_lists(loaded: LoadedConfig, notes: Problems) -> None:
    """Files that may be written while the server runs: it starts without them, and goes on without a line that is no entry."""
    from moxtwisted.server.inbound.senderlists import parse_entries

    for key in ("allow_files", "block_files"):
        for i, file in enumerate(getattr(loaded.static.senders, key)):
            path = loaded.resolve(file)
            try:
                text = path.read_text("utf-8", "replace")
            except OSError as e:
                notes.add(("senders", key, i), f"{path}: cannot be read, and counts as empty: {_why(e)}")
                continue
            for problem in parse_entries(text, str(path))[1]:
                notes.add(("senders", key, i), f"{problem.where}: left out: {problem.problem}")


def store_key(loaded: LoadedConfig) -> bytes | None:
    """The key of the store, compared with what the data directory was written with; None when encryption is off.

    :raises KeyRefusedError: when it cannot be read, or is another.
    """
    key = read_key(loaded)
    try:
        check_key_value(loaded.data_directory / "key-check", MasterKey(key) if key is not None else None)
    except KeyRefusedError as e:
        raise KeyRefusedError(
            f"{_key_source(loaded)} does not fit the data directory {loaded.data_directory}: {e.detail}"
        ) from None
    except OSError as e:
        raise KeyRefusedError(f"{e.filename}: cannot be read: {e.strerror}") from None
    return key


def _key_source(loaded: LoadedConfig) -> str:
    store = loaded.static.store
    if not store.encryption:
        return "encryption = false"
    if store.key_environment:
        return f"the key in the environment variable {store.key_environment}"
    if store.key_credential:
        return f"the key in the credential {store.key_credential}"
    return f"the key in {loaded.resolve(store.key_file)}"


def _check_key_mode(path: Path, notes: Problems) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & 0o077:
        notes.add(
            ("store", "key_file"),
            f"{path} has mode {mode & 0o7777:04o}, so others than its owner can get at the key: chmod 600 {path}",
        )


def _check_data_directory(path: Path, problems: Problems) -> None:
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        problems.spoil(("data_directory",), f"{existing} is no directory")
    elif not os.access(existing, os.W_OK | os.X_OK):
        problems.spoil(("data_directory",), f"{existing} cannot be written to")


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def can_listen(ip: str) -> bool:
    """Whether this machine has the address (a container may be without IPv6)."""
    import socket

    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((ip, 0))
    except OSError:
        return False
    return True


def _check_certificate(loaded: LoadedConfig, pair: Certificate, path: KeyPath, problems: Problems) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificates

    data: dict[str, bytes] = {}
    for what in ("certificate", "key"):
        file = loaded.resolve(getattr(pair, what))
        try:
            data[what] = file.read_bytes()
        except OSError as e:
            problems.add((*path, what), f"{file}: cannot be read: {e.strerror}")
    if len(data) < 2:
        return
    try:
        certificate = load_pem_x509_certificates(data["certificate"])[0]
    except ValueError:
        problems.add((*path, "certificate"), "a PEM certificate expected")
        return
    try:
        key = load_pem_private_key(data["key"], None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        problems.add((*path, "key"), "a PEM private key without a passphrase expected")
        return
    if certificate.public_key() != key.public_key():
        problems.add((*path, "key"), "another certificate's key found")
    if certificate.not_valid_after_utc < datetime.now(UTC):
        problems.add(
            (*path, "certificate"),
            f"a certificate that ended {certificate.not_valid_after_utc:%Y-%m-%d} found",
        )
