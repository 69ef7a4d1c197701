"""Commands on the keys of TLS clients: ``config tlspubkey``."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from moxtwisted.cli.output import print_report
from moxtwisted.cli.session import administer, call
from moxtwisted.errors import MailError

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def _fingerprint(text: str) -> str:
    """A fingerprint as people copy it, with colons or in capitals."""
    found = text.replace(":", "").lower()
    if _FINGERPRINT.fullmatch(found) is None:
        raise MailError(f"{text[:100]} is no fingerprint: 64 hexadecimal digits are")
    return found


def _of_certificate(pem: bytes, where: str) -> str:
    """The fingerprint of the key in a certificate.

    :raises MailError: when it is none, or the key is too weak.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    from moxtwisted.sasl.agent import public_key_sha256

    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
        digest = public_key_sha256(certificate)
    except ValueError as e:
        raise MailError(f"{where}: no certificate in PEM that can be read: {e}") from e
    # NIST SP 800-131A: RSA with less than 2048 bits is over.
    strong = (
        key.key_size >= 2048
        if isinstance(key, rsa.RSAPublicKey)
        else isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
    )
    if not strong:
        raise MailError(f"{where}: an Ed25519 or ECDSA key, or RSA with 2048 bits or more, is needed")
    return digest.hex()


def _read(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read(2**20) if path == "-" else Path(path).read_bytes()[: 2**20]
    except OSError as e:
        raise MailError(f"{path}: {e.strerror}") from e


def tlspubkey_list(arguments: argparse.Namespace) -> int:
    """``config tlspubkey list``."""
    rows = call(arguments, lambda administration, _: administration.tls_key_list(arguments.account))
    print_report(rows, as_json=arguments.json, empty="no keys")
    return 0


def tlspubkey_get(arguments: argparse.Namespace) -> int:
    """``config tlspubkey get``."""
    wanted = _fingerprint(arguments.fingerprint)
    rows: list[dict[str, Any]] = call(arguments, lambda administration, _: administration.tls_key_list(""))
    row = next((row for row in rows if row["fingerprint"] == wanted), None)
    if row is None:
        raise MailError(f"no account has the key {wanted}")
    if arguments.json:
        print(json.dumps(row, indent=2, ensure_ascii=False))
    else:
        print_report([{"fact": name, "value": value} for name, value in row.items()], as_json=False)
    return 0


def tlspubkey_add(arguments: argparse.Namespace) -> int:
    """``config tlspubkey add``."""
    path = arguments.certificate
    fingerprint = _of_certificate(_read(path), "standard input" if path == "-" else path)
    administer(
        arguments,
        lambda administration, _: administration.tls_key_add(
            arguments.address, fingerprint, arguments.name, not arguments.no_imap_preauth
        ),
    )
    print(f"{fingerprint} logs in as {arguments.address}")
    return 0


def tlspubkey_rm(arguments: argparse.Namespace) -> int:
    """``config tlspubkey rm``."""
    wanted = _fingerprint(arguments.fingerprint)
    return administer(arguments, lambda administration, _: administration.tls_key_remove(wanted))


def tlspubkey_gen(arguments: argparse.Namespace) -> int:
    """``config tlspubkey gen``."""
    from moxtwisted.config.atomic import create_file
    from moxtwisted.server.certificates.clientkey import client_key

    certificate, key = client_key(now=time.time())
    stem = Path(arguments.stem)
    made: list[Path] = []
    try:
        for suffix, octets, mode in (
            (".key.pem", key, 0o600),
            (".certificate.pem", certificate, 0o644),
            (".key-certificate.pem", key + certificate, 0o600),
        ):
            path = stem.with_name(stem.name + suffix)
            create_file(path, octets, mode)
            made.append(path)
    except OSError as e:
        for path in made:
            path.unlink(missing_ok=True)
        raise MailError(f"{e.filename or stem}: {e.strerror}") from e
    for path in made:
        print(path)
    print(f"fingerprint: {_of_certificate(certificate, str(stem))}")
    print(f"next: moxmail config tlspubkey add you@example.org {made[1]}")
    return 0
