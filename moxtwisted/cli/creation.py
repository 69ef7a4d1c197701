"""Making the files of a new server, all or none.

::

    with Creation(Path("/etc/moxmail")) as made:
        made.file("mox.conf", text)
        made.file("store.key", secret, 0o600)

When the block ends with an exception, what it made is removed again. A file that is there already is never
touched: the block fails then.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from moxtwisted.config.atomic import create_file
from moxtwisted.config.describe import toml_value
from moxtwisted.config.storekey import create_key_file, new_key, recovery_form
from moxtwisted.errors import MailError

__all__ = ["Creation", "domains_text"]


class Creation:
    """Remembers what was made below a directory.

    :param directory: made with mode 0700 if it is not there.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self._made: list[Path] = []
        self._kept = False

    def __enter__(self) -> Self:
        self._make_directory(self.directory)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or self._kept:
            return
        if (data := self.directory / "data") in self._made:
            shutil.rmtree(data, ignore_errors=True)
        for path in reversed(self._made):
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                else:
                    path.unlink(missing_ok=True)

    def _make_directory(self, path: Path) -> None:
        missing = []
        while not path.exists():
            missing.append(path)
            path = path.parent
        for directory in reversed(missing):
            try:
                directory.mkdir(mode=0o700)
            except OSError as e:
                raise MailError(f"{directory} cannot be made: {e.strerror}") from e
            self._made.append(directory)

    def file(self, name: str, data: str | bytes, mode: int = 0o640) -> Path:
        """Make a file.

        :raise MailError: when it is there already, or cannot be made.
        """
        path = self.directory / name
        octets = data.encode("utf-8") if isinstance(data, str) else data
        self._make_directory(path.parent)
        try:
            create_file(path, octets, mode)
        except FileExistsError:
            raise MailError(f"{path} is there already; nothing was changed") from None
        except OSError as e:
            raise MailError(f"{path} cannot be made: {e.strerror}") from e
        self._made.append(path)
        return path

    def data_directory(self, name: str = "data") -> Path:
        """Make the data directory; with an exception, it goes with everything in it."""
        path = self.directory / name
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            raise MailError(f"{path} is there already; nothing was changed") from None
        self._made.append(path)
        return path

    def keep(self) -> None:
        """Everything is there: whatever happens from now on, nothing is removed."""
        self._kept = True

    def key(self) -> str:
        """Make the store's key.

        :return: the recovery key.
        """
        key = new_key()
        path = self.directory / "store.key"
        try:
            create_key_file(path, key)
        except FileExistsError:
            raise MailError(f"{path} is there already; nothing was changed") from None
        self._made.append(path)
        return recovery_form(key)

    def certificate(self, stem: str, names: Sequence[str]) -> None:
        """Make a self-signed certificate ``tls/<stem>.crt`` with its key ``tls/<stem>.key``."""
        from moxtwisted.server.certificates.selfsigned import self_signed

        certificate, key = self_signed(names, now=time.time())
        self.file(f"tls/{stem}.crt", certificate)
        self.file(f"tls/{stem}.key", key, 0o600)

    def signing_keys(self, domain: str) -> list[tuple[str, str, str]]:
        """Make the keys that a domain signs with.

        :return: selector, path of the key from the directory on, and text of the DNS record of each.
        """
        from moxtwisted.config.editsigning import key_file_name, selector_names
        from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key

        keys = []
        # RFC 8463 section 3: RSA for those who know no Ed25519.
        for kind, selector in zip(("rsa", "ed25519"), selector_names(time.gmtime().tm_year), strict=False):
            pem = new_private_key(kind)
            name = key_file_name(domain, selector)
            self.file(name, pem, 0o600)
            record = SigningKey.from_pem(domain, selector, pem, primes_checked=False).record_text()
            keys.append((selector, name, record))
        return keys

    def give_to(self, uid: int, gid: int) -> None:
        """Let a user own the directory, everything that was made, and what is in the data directory."""
        paths = [self.directory, *self._made]
        data = self.directory / "data"
        if data in paths:
            paths += data.rglob("*")
        for path in paths:
            os.chown(path, uid, gid, follow_symlinks=False)


def domains_text(
    domain: str,
    account: str,
    address: str,
    notes: str,
    keys: Sequence[tuple[str, str, str]] = (),
    *,
    reports: bool = False,
) -> str:
    """A ``domains.conf`` with one account.

    :param keys: as ``Creation.signing_keys`` returns them.
    :param reports: whether the account gets the reports of other servers about the domain.
    """
    dkim = "".join(
        f'{selector} = {{private_key_file = {toml_value(path)}, state = "active"}}\n'
        for selector, path, _ in keys
    )
    if dkim:
        dkim = f"\n# Keys that sign its mail. Their DNS records: moxmail dkim records {domain}\n[domains.{toml_value(domain)}.dkim]\n{dkim}"
    told = _reports_text(domain, account) if reports else ""
    quoted = (
        toml_value(account)
        if not account.replace("-", "").replace("_", "").isalnum() or not account.isascii()
        else account
    )
    return f"""# Domains, accounts, addresses. The server reads this file again when it changes.
# Every key explained: moxmail config describe-domains
{notes}
[domains.{toml_value(domain)}]
{told}{dkim}
[accounts.{quoted}]
domain = {toml_value(domain)}

[accounts.{quoted}.addresses]
{toml_value(address)} = {{}}
"""


def _reports_text(domain: str, account: str) -> str:
    from moxtwisted.config.editreports import REPORT_LOCALPARTS

    lines = [
        f"{key} = {{address = {toml_value(f'{localpart}@{domain}')}, account = {toml_value(account)}}}\n"
        for key, localpart in REPORT_LOCALPARTS.items()
    ]
    return f"# What others report about it; moxmail reports shows it.\n{''.join(lines)}"
