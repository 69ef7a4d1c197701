"""The files of the keys that domains sign with: read, and what is wrong with each told with its key in ``domains.conf``.

::

    problems, notes = Problems("domains.conf"), Problems("domains.conf")
    keys = read_signing_keys(loaded.directory, loaded.domains, problems, notes)
    keys["example.org"]["2026a"].record_text()       # "v=DKIM1;h=sha256;k=rsa;p=MIIBIjAN..."
    stamps = key_stamps(loaded.directory, loaded.domains)     # other than before: read again
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from moxtwisted.config.reading import Path as KeyPath
from moxtwisted.config.reading import Problems
from moxtwisted.config.schema import DKIMSelector, DomainsConfig
from moxtwisted.errors import MailError
from moxtwisted.identifiers import DomainError

if TYPE_CHECKING:
    # It needs the cryptographic library, which a server without keys does not.
    from moxtwisted.mailauth.dkim.keys import SigningKey

__all__ = ["KeyStamps", "check_signing", "key_stamps", "read_key_file", "read_signing_keys"]

#: An RSA key of 4096 bits has 3.3 KB in PEM.
MAX_KEY_FILE_OCTETS: Final = 64 * 1024

#: What changes when a file does: its time in ns, its octets, its inode; all 0 while it is not there.
KeyStamps = tuple[tuple[str, int, int, int], ...]


def _selectors(domains: DomainsConfig) -> Iterator[tuple[str, str, DKIMSelector]]:
    for name, domain in domains.domains.items():
        for selector, settings in domain.dkim.items():
            yield name, selector, settings


def read_key_file(path: Path, domain: str, selector: str) -> SigningKey:
    """A key from its file, tried out.

    :raises MailError: with what is wrong, and the path.
    """
    from moxtwisted.mailauth.dkim.keys import KeyDataError, SigningKey

    try:
        with path.open("rb") as file:
            pem = file.read(MAX_KEY_FILE_OCTETS)
    except OSError as e:
        raise MailError(f"{path}: cannot be read: {e.strerror}") from e
    try:
        key = SigningKey.from_pem(domain, selector, pem, primes_checked=False)
    except KeyDataError as e:
        raise MailError(f"{path}: {e.detail}") from e
    if not key.works():
        raise MailError(f"{path}: the key does not fit itself, the file is damaged")
    return key


def read_signing_keys(
    directory: Path, domains: DomainsConfig, problems: Problems, notes: Problems
) -> dict[str, dict[str, SigningKey]]:
    """All keys that can be used, by domain (as the file has it) and selector.

    :param directory: where relative paths start.
    :param problems: gets what is wrong with the others.
    :param notes: gets what should be otherwise.
    """
    keys: dict[str, dict[str, SigningKey]] = {}
    for name, selector, settings in _selectors(domains):
        at: KeyPath = ("domains", name, "dkim", selector, "private_key_file")
        path = directory / settings.private_key_file
        try:
            key = read_key_file(path, name, selector)
        except DomainError:
            continue  # which is said elsewhere
        except MailError as e:
            problems.add(at, e.detail or e.explanation)
            continue
        keys.setdefault(name, {})[selector] = key
        _check_mode(path, at, notes)
    return keys


def check_signing(directory: Path, domains: DomainsConfig, problems: Problems, notes: Problems) -> None:
    """Note key files that cannot be used, and domains that do not sign."""
    read_signing_keys(directory, domains, problems, notes)
    for name, domain in domains.domains.items():
        if "." not in name or domain.disabled:
            continue  # RFC 6376 section 3.5: d= has two labels at least; localhost signs nothing
        if not domain.dkim:
            notes.add(
                ("domains", name, "dkim"),
                f"no keys found, so its mail is not signed: moxmail dkim gen {name} makes some",
            )
        elif not any(settings.state == "active" for settings in domain.dkim.values()):
            notes.add(("domains", name, "dkim"), "no active key found, so its mail is not signed")


def _check_mode(path: Path, at: KeyPath, notes: Problems) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & 0o077:
        notes.add(
            at,
            f"{path} has mode {mode & 0o7777:04o}, so others than its owner can get at the key: chmod 600 {path}",
        )


def key_stamps(directory: Path, domains: DomainsConfig) -> KeyStamps:
    """What tells that key files changed."""
    found = []
    for file in dict.fromkeys(settings.private_key_file for _, _, settings in _selectors(domains)):
        try:
            status = (directory / file).stat()
        except OSError:
            found.append((file, 0, 0, 0))
        else:
            found.append((file, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)
