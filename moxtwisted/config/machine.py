"""What ``moxmail config test`` looks at beyond the two files: certificates, user, key, directories.

It imports the cryptographic library, which a start of the server has no use for yet.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.privileges import UnknownUserError, find_identity
from moxtwisted.config.reading import Path as KeyPath
from moxtwisted.config.reading import Problems
from moxtwisted.config.schema import Certificate
from moxtwisted.config.storekey import read_key
from moxtwisted.errors import KeyRefusedError

__all__ = ["check_machine"]


def check_machine(loaded: LoadedConfig, problems: Problems) -> None:
    """Note what is not there, cannot be read or is out of date."""
    static = loaded.static
    for name, listener in static.listeners.items():
        for i, pair in enumerate(listener.tls.certificates if listener.tls is not None else ()):
            _check_certificate(loaded, pair, ("listeners", name, "tls", "certificates", i), problems)
    if static.user:
        try:
            find_identity(static.user)
        except UnknownUserError as e:
            problems.add(("user",), f'"{static.user}" found, a user of this machine expected: {e}')
    try:
        read_key(loaded)
    except KeyRefusedError as e:
        problems.add(("store",), e.detail)
    _check_data_directory(loaded.data_directory, problems)


def _check_data_directory(path: Path, problems: Problems) -> None:
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        problems.add(("data_directory",), f"{existing} is no directory")
    elif not os.access(existing, os.W_OK | os.X_OK):
        problems.add(("data_directory",), f"{existing} cannot be written to")


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
