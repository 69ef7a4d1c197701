"""Changes of the keys that domains sign with: made, put into use one after the other, taken away.

::

    editor.dkim_generate("example.org", ["rsa", "ed25519"], "")     # 2026a and 2026b; standby, when others sign already
    editor.dkim_rotate("example.org")                             # once their records are published: they sign now
    editor.dkim_remove("example.org", "2025a")                    # a week later

Key files are in ``dkim`` beside ``domains.conf``, for the server's user alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from moxtwisted.config.atomic import create_file
from moxtwisted.config.document import (
    AlreadyThereError,
    DomainsFile,
    NotThereError,
    domain_key,
    domain_table,
    inline_table,
    set_key,
    subtable,
)
from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.schema import DKIMSelector
from moxtwisted.config.signingkeys import read_key_file
from moxtwisted.errors import MailError
from moxtwisted.identifiers import Domain as DomainName
from moxtwisted.server.control.interfaces import Report

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

__all__ = ["KEY_DIRECTORY", "KeyMaker", "SigningEdits", "key_file_name", "selector_names"]

#: Beside the configuration files.
KEY_DIRECTORY: Final = "dkim"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_KINDS: Final = ("rsa", "ed25519")
_MAX_SELECTORS: Final = 100

#: Makes a private key of a kind, in PEM.
KeyMaker = Callable[[str], bytes]


def key_file_name(domain: str, selector: str) -> str:
    """Where a key is kept, from the configuration's directory on."""
    return f"{KEY_DIRECTORY}/{DomainName.parse(domain).ascii}.{selector}.pem"


def selector_names(year: int) -> Iterator[str]:
    """Names for new keys: 2026a, 2026b, … 2026z, 2026aa …"""
    for number in count():
        high, low = divmod(number, len(_LETTERS))
        yield f"{year}{_LETTERS[high - 1] if 0 < high <= len(_LETTERS) else ''}{_LETTERS[low]}"


def _new_key(kind: str) -> bytes:
    from moxtwisted.mailauth.dkim.keys import new_private_key

    return new_private_key(kind)


class SigningEdits(DomainsFile):
    """The operations on keys; they are a part of ``IConfigurationEditor``."""

    #: Another one in tests: RSA keys take a tenth of a second.
    make_key: KeyMaker = staticmethod(_new_key)

    async def dkim_list(self, domain: str) -> Report:
        """See ``IConfigurationOperations``."""
        loaded = self.load()
        domains = loaded.domains.domains
        wanted = domain_key(loaded.domains, domain) if domain else ""
        return [
            _described(loaded, name, selector, found)
            for name, configured in sorted(domains.items())
            if not wanted or name == wanted
            for selector, found in configured.dkim.items()
        ]

    async def dkim_generate(self, domain: str, kinds: Sequence[str], state: str) -> Report:
        """See ``IConfigurationOperations``."""
        if not kinds or any(kind not in _KINDS for kind in kinds):
            raise MailError(f"keys of the kinds {', '.join(_KINDS)} can be made")
        if state and state not in ("active", "standby"):
            raise MailError(f"a new key is active or standby, not {state[:100]}")
        domain_key(self.load().domains, domain)
        pems = [(await self._in_thread(self.make_key, kind)) for kind in kinds[:_MAX_SELECTORS]]
        made: list[Path] = []
        names: list[str] = []

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            name = domain_key(loaded.domains, domain)
            known = loaded.domains.domains[name].dkim
            signs = any(settings.state == "active" for settings in known.values())
            chosen = state or ("standby" if signs else "active")
            table = subtable(domain_table(document, loaded, name), "dkim")
            for pem in pems:
                selector, path = self._unused(loaded, name, {*known, *names})
                self._write(path, pem, loaded, made)
                settings = {"private_key_file": key_file_name(name, selector), "state": chosen}
                set_key(table, selector, inline_table(settings))
                names.append(selector)

        try:
            self.edit(change)
        except BaseException:
            for path in made:
                path.unlink(missing_ok=True)
            raise
        return [row for row in await self.dkim_list(domain) if row["selector"] in names]

    @staticmethod
    def _unused(loaded: LoadedConfig, domain: str, taken: set[str]) -> tuple[str, Path]:
        """A selector that is not in use, and neither is its file: a retired one may still be published."""
        if len(taken) >= _MAX_SELECTORS:
            raise AlreadyThereError(f"{domain} has {len(taken)} keys: remove some (moxmail dkim rm)")
        names = selector_names(time.gmtime().tm_year)
        return next(
            (name, path)
            for name in names
            if name not in taken and not (path := loaded.resolve(key_file_name(domain, name))).exists()
        )

    @staticmethod
    def _write(path: Path, pem: bytes, loaded: LoadedConfig, made: list[Path]) -> None:
        """A new file for the one whom ``domains.conf`` belongs to: the server's user, also when root runs the command."""
        owner = loaded.domains_path.stat()
        try:
            if not path.parent.exists():
                path.parent.mkdir(mode=0o700)
                with suppress(PermissionError):
                    os.chown(path.parent, owner.st_uid, owner.st_gid)
            create_file(path, pem, 0o600)
            made.append(path)
            with suppress(PermissionError):
                os.chown(path, owner.st_uid, owner.st_gid)
        except OSError as e:
            raise MailError(f"{path}: cannot be made: {e.strerror}") from e

    async def dkim_state(self, domain: str, selector: str, state: str) -> None:
        """See ``IConfigurationOperations``."""
        self.edit(lambda document, loaded: _set_state(document, loaded, (domain, selector), state))

    async def dkim_rotate(self, domain: str) -> list[str]:
        """See ``IConfigurationOperations``."""
        notes: list[str] = []
        kinds = {row["selector"]: row["algorithm"] for row in await self.dkim_list(domain)}

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            known = loaded.domains.domains[domain_key(loaded.domains, domain)].dkim
            coming = [selector for selector, settings in known.items() if settings.state == "standby"]
            if not coming:
                raise NotThereError(
                    f"{domain} has no key in standby: make some with moxmail dkim gen {domain}"
                )
            replaced = {kinds[selector] for selector in coming}
            for selector, settings in known.items():
                if settings.state == "active" and kinds[selector] in replaced:
                    _set_state(document, loaded, (domain, selector), "retired")
                    notes.append(
                        f"{selector} is retired: leave its record in the DNS for a week, then moxmail dkim rm {domain} {selector}"
                    )
            for selector in coming:
                _set_state(document, loaded, (domain, selector), "active")
                notes.append(f"{selector} signs now")

        self.edit(change)
        return notes

    async def dkim_remove(self, domain: str, selector: str) -> list[str]:
        """See ``IConfigurationOperations``."""
        notes: list[str] = []

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            table = _selector_table(document, loaded, domain, selector)
            notes.append(f"its key is still in {loaded.resolve(str(table['private_key_file']))}")
            del domain_table(document, loaded, domain)["dkim"][selector]

        self.edit(change)
        return notes


def _selector_table(document: TOMLDocument, loaded: LoadedConfig, domain: str, selector: str) -> Any:
    dkim: Any = domain_table(document, loaded, domain).get("dkim", {})
    if selector not in dkim:
        raise NotThereError(f"{domain} has no key {selector[:100]}")
    return dkim[selector]


def _set_state(document: TOMLDocument, loaded: LoadedConfig, where: tuple[str, str], state: str) -> None:
    set_key(_selector_table(document, loaded, *where), "state", state)


def _described(loaded: LoadedConfig, domain: str, selector: str, settings: DKIMSelector) -> dict[str, Any]:
    """A row; without the key's facts when it cannot be read."""
    path = loaded.resolve(settings.private_key_file)
    row: dict[str, Any] = {
        "domain": domain,
        "selector": selector,
        "state": settings.state,
        "algorithm": "",
        "bits": 0,
        "file": str(path),
        "name": f"{selector}._domainkey.{DomainName.parse(domain).ascii}",
        "record": "",
        "problem": "",
    }
    try:
        key = read_key_file(path, domain, selector)
    except MailError as e:
        row["problem"] = e.detail
    else:
        row |= {"algorithm": key.kind, "bits": key.bits, "record": key.record_text()}
    return row
