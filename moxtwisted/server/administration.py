"""What an operator can do, done: over the running server's store, or over the closed files.

The configuration's part of an operation is the editor's, the mail's part is the store's; here they are put together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.errors import MailError, no_account
from moxtwisted.sasl.credentials import MIN_PASSWORD_OCTETS, derive
from moxtwisted.sasl.prep import PreparationError
from moxtwisted.server.bans import Bans
from moxtwisted.server.control.bans import BanOperations
from moxtwisted.server.control.delegation import ConfigurationOperations
from moxtwisted.server.control.interfaces import (
    JSON,
    IAdministration,
    IConfigurationEditor,
    NotRunningError,
    Progress,
    Report,
)
from moxtwisted.server.control.junk import JunkOperations
from moxtwisted.server.control.reports import ReportOperations
from moxtwisted.server.control.sharing import SharingOperations
from moxtwisted.server.credentials import PASSWORD
from moxtwisted.server.lending.interfaces import AllHere, IPlaces
from moxtwisted.store import maintenance, transfer
from moxtwisted.store.accounts import Account
from moxtwisted.store.grants import Grants
from moxtwisted.store.interfaces import Usage
from moxtwisted.store.queue import Queue
from moxtwisted.store.reports import ReportRecords
from moxtwisted.store.store import Store

__all__ = ["Administered", "Administration", "time_text"]

_log = Logger()


@define(eq=False, kw_only=True)
class Administered:
    """What the administration works on.

    :ivar initial_mailboxes: (name, special use) of those that a new account gets beside INBOX.
    :ivar retire_after_seconds: how long expunged messages are remembered; 0 is for ever.
    :ivar cram_md5: whether new passwords get the weaker form that CRAM-MD5 needs.
    :ivar changed_account: called with the name of an account whose password changed or that is gone.
    :ivar facts: about the running server; empty when it is down.
    :ivar keepers: what is known of each, when it is asked for; none: the server serves IMAP alone.
    :ivar stop: begins to shut the running server down.
    :ivar shutdown_seconds: how long messages under way may take then.
    :ivar log_levels: of the running server.
    :ivar bans: of the running server.
    :ivar metrics: those of the running server, as text.
    :ivar reports: of other servers.
    :ivar places: where the accounts are; what an operation opens comes home first.
    """

    reactor: Any
    store: Store
    queue: Queue
    initial_mailboxes: Sequence[tuple[str, str]]
    retire_after_seconds: float
    cram_md5: bool
    changed_account: Callable[[str], None] = lambda name: None
    facts: Mapping[str, JSON] = field(factory=dict)
    keepers: Callable[[], Report] = list
    stop: Callable[[], None] | None = None
    shutdown_seconds: float = 0.0
    log_levels: Any = None
    bans: Bans | None = None
    metrics: Callable[[], bytes] | None = None
    reports: ReportRecords | None = None
    places: IPlaces = field(factory=AllHere)


@implementer(IAdministration)
class Administration(
    SharingOperations, BanOperations, JunkOperations, ReportOperations, ConfigurationOperations
):
    """See ``IAdministration``."""

    def __init__(
        self,
        editor: IConfigurationEditor,
        administered: Administered,
    ) -> None:
        super().__init__(editor)
        self._on = administered
        self._importing: set[str] = set()

    # -- accounts ------------------------------------------------------------------------------------------------

    async def account_add(self, name: str, address: str, full_name: str, password: str) -> list[str]:
        """See ``IAdministration``."""
        verifiers = await self._derive(password) if password else None
        store = self._on.store
        kept = (await self._usage(name)).messages if name in store.accounts() else 0
        self._editor.add_account(name, address, full_name)
        account = await self._made(name)
        if verifiers is not None:
            await account.set_secret(PASSWORD, verifiers)
        return [
            f"the mail that was kept of an earlier account {name} belongs to it: {kept:,} message{'s' * (kept != 1)}"
        ] * bool(kept)

    async def account_remove(self, name: str, keep_mail: bool) -> list[str]:
        """See ``IAdministration``."""
        store = self._on.store
        there = name in store.accounts()
        held: list[Account] = []
        for owner in sorted(store.grants.naming(name) - {name}) if there and not keep_mail else []:
            # Who shares something with it is here, or on his way: its name could not be taken off his lists before he is.
            with suppress(MailError):
                held.append(await self._existing(owner))
        if there:
            # First, and not opened, which a damaged one cannot be: nobody logs in again who is not in the configuration any more.
            await self._on.places.home(name)
        notes = self._editor.remove_account(name)
        if not keep_mail and there:
            await store.remove_account(name)
            await self._on.queue.disown(name)
        self._on.changed_account(name)
        return notes

    async def account_list(self) -> Report:
        """See ``IAdministration``."""
        there = set(self._on.store.accounts())
        report: Report = []
        for row in self._editor.accounts():
            used = await self._usage(row["name"]) if row["name"] in there else Usage(0, 0, None, None)
            report.append({**row, **used._asdict()})
        return report

    async def _usage(self, name: str) -> Usage:
        """Asked for where the account is: who looks at a list disconnects nobody."""
        places = self._on.places
        if places.is_away(name):
            return Usage(*await places.ask(name, "usage"))
        return Usage.of(self._on.store.account(name))

    async def set_password(self, account: str, password: str) -> None:
        """See ``IAdministration``."""
        if account not in {row["name"] for row in self._editor.accounts()}:
            raise MailError(no_account(account))
        verifiers = await self._derive(password)
        # Held to the end: it is not lent before those who logged in with the old one are told.
        held = await self._made(account)
        await held.set_secret(PASSWORD, verifiers)
        self._on.changed_account(account)

    async def _derive(self, password: str) -> bytes:
        if len(password.encode("utf-8", "replace")) < MIN_PASSWORD_OCTETS:
            raise MailError(f"the password is too short: {MIN_PASSWORD_OCTETS} octets or more expected")

        def work() -> bytes:
            return derive(password, os.urandom, cram_md5=self._on.cram_md5).to_bytes()

        try:
            return await deferToThread(work)
        except PreparationError as e:
            raise MailError(f"this password cannot be used: {e}") from e

    async def _made(self, name: str) -> Account:
        """The account's mail, made ready when it is not there yet."""
        if name in self._on.store.accounts():
            return await self._existing(name)
        return await self._on.store.create_account(name, self._on.initial_mailboxes)

    # -- mail ----------------------------------------------------------------------------------------------------

    async def import_mbox(self, account: str, mailbox: str, path: str, progress: Progress) -> dict[str, int]:
        """See ``IAdministration``."""
        return await self._import(transfer.import_mbox, account, mailbox, path, progress)

    async def import_maildir(
        self, account: str, mailbox: str, path: str, progress: Progress
    ) -> dict[str, int]:
        """See ``IAdministration``."""
        return await self._import(transfer.import_maildir, account, mailbox, path, progress)

    async def import_imap(
        self, account: str, url: str, password: str, options: JSON, progress: Progress
    ) -> dict[str, JSON]:
        """See ``IAdministration``."""
        # A client, and TLS: nothing that every start should load.
        from moxtwisted.server.importing.remote import Options, Source
        from moxtwisted.server.importing.work import Import

        source, wanted, target = Source.parse(url), Options.of(options), await self._existing(account)
        if account in self._importing:
            raise MailError(f"mail is being imported into {account} already")
        self._importing.add(account)
        work = Import(self._on.reactor, self._on.store, target, source, password, wanted)
        try:
            report = await work.run(progress)
        finally:
            self._importing.discard(account)
            _log.info(
                "import from {source} into {account} has ended: {added} messages added",
                source=source.name,
                account=account,
                added=work.added,
            )
        for line in (*report["unreadable"], *report["failed"]):
            _log.warn("import into {account}: {problem}", account=account, problem=line)
        return report

    async def _import(
        self, work: Any, account: str, mailbox: str, path: str, progress: Progress
    ) -> dict[str, int]:
        target = await self._existing(account)
        done = await work(self._on.store, target, mailbox, Path(path), self._on.reactor, progress)
        for name in done.skipped:
            _log.warn("import into {account}: skipped {file}", account=account, file=name)
        return {"messages": done.messages, "skipped": len(done.skipped)}

    async def export_mbox(self, account: str, mailbox: str, path: str, progress: Progress) -> dict[str, int]:
        """See ``IAdministration``."""
        source = await self._existing(account)
        done = await transfer.export_mbox(source, mailbox, Path(path), self._on.reactor, progress)
        return {"messages": done.messages}

    async def export_maildir(
        self, account: str, mailbox: str, path: str, progress: Progress
    ) -> dict[str, int]:
        """See ``IAdministration``."""
        source = await self._existing(account)
        done = await transfer.export_maildir(source, mailbox, Path(path), self._on.reactor, progress)
        return {"messages": done.messages}

    async def queue_list(self) -> Report:
        """See ``IAdministration``."""
        return [
            {
                "id": entry.id,
                "account": entry.account,
                "sender": entry.sender,
                "recipient": entry.recipient,
                "size": entry.size,
                "queued": time_text(entry.queued),
                "next_attempt": time_text(entry.next_attempt),
                "why": entry.why,
            }
            for entry in self._on.queue.entries()
        ]

    async def queue_remove(self, ids: Sequence[int]) -> list[str]:
        """See ``IAdministration``."""
        removed = await self._on.queue.remove(ids)
        return [f"removed {entry.id}: from {entry.sender or '<>'} to {entry.recipient}" for entry in removed]

    @property
    def _grants(self) -> Grants:
        return self._on.store.grants

    @property
    def _bans(self) -> Bans:
        if self._on.bans is None:
            raise NotRunningError
        return self._on.bans

    @property
    def _reports(self) -> ReportRecords:
        if self._on.reports is None:
            raise NotRunningError
        return self._on.reports

    @property
    def _clock(self) -> Any:
        return self._on.reactor

    async def _existing(self, name: str) -> Account:
        """An account at home; it stays as long as the object is held.

        :raises MailError: when there is none, or it does not come.
        """
        if name not in self._on.store.accounts():
            raise MailError(no_account(name))
        await self._on.places.home(name)
        # Nothing may be waited for between the two.
        return self._on.store.account(name)

    def _chosen(self, account: str) -> Sequence[str]:
        """The name of one, or all when it is empty. They are opened one after the other, so that each is back with its users soon."""
        there = self._on.store.accounts()
        if account and account not in there:
            raise MailError(no_account(account))
        return [account] if account else there

    # -- upkeep --------------------------------------------------------------------------------------------------

    async def verify_data(self, account: str, progress: Progress) -> list[str]:
        """See ``IAdministration``."""
        problems: list[str] = []
        chosen = self._chosen(account)
        for done, name in enumerate(chosen, 1):
            found = await maintenance.verify_opened(self._existing(name))
            problems += [f"{name}: {problem}" for problem in found]
            progress(done, len(chosen), "accounts")
        return problems

    async def reparse(self, account: str, progress: Progress) -> dict[str, int]:
        """See ``IAdministration``."""
        messages = 0
        for name in self._chosen(account):
            messages += await maintenance.reparse(await self._existing(name), self._on.reactor, progress)
        return {"messages": messages}

    async def recalculate_counts(self, account: str, progress: Progress) -> dict[str, int]:
        """See ``IAdministration``."""
        mailboxes = changed = 0
        for name in self._chosen(account):
            counted, wrong = await maintenance.recount(await self._existing(name))
            mailboxes, changed = mailboxes + counted, changed + wrong
        return {"mailboxes": mailboxes, "changed": changed}

    async def retire(self, account: str, progress: Progress) -> dict[str, int]:
        """See ``IAdministration``."""
        now = int(datetime.now(UTC).timestamp())
        messages = 0
        for name in self._chosen(account):
            messages += await maintenance.retire(
                await self._existing(name), self._on.retire_after_seconds, now
            )
        return {"messages": messages}

    # -- the running server --------------------------------------------------------------------------------------

    async def status(self) -> dict[str, JSON]:
        """See ``IAdministration``."""
        facts = {"running": self._on.stop is not None, **self._on.facts}
        keepers = self._on.keepers()
        return {**facts, "keepers": keepers} if keepers else facts

    async def metrics(self) -> str:
        """See ``IAdministration``."""
        if self._on.metrics is None:
            raise NotRunningError
        return self._on.metrics().decode()

    async def log_levels(self) -> dict[str, str]:
        """See ``IAdministration``."""
        levels: dict[str, str] = self._levels().list()
        return levels

    async def set_log_level(self, level: str, package: str) -> list[str]:
        """See ``IAdministration``."""
        self._levels().set(package, level)
        if not package or _is_package(package):
            return []
        return [f"noted, but no part of the program is called {package} (moxtwisted.smtp is one)"]

    def _levels(self) -> Any:
        if self._on.log_levels is None:
            raise NotRunningError
        return self._on.log_levels

    async def stop(self) -> float:
        """See ``IAdministration``."""
        if self._on.stop is None:
            raise NotRunningError
        self._on.stop()
        return self._on.shutdown_seconds

    async def close(self) -> None:
        """Close the files; for the administration of a server that is down."""
        if self._on.reports is not None:
            await self._on.reports.close()
        await self._on.queue.close()
        await self._on.store.close()


def _is_package(name: str) -> bool:
    """Whether there is a module of that name; only what belongs to packages that are in use is looked for."""
    if name in sys.modules:
        return True
    if name.partition(".")[0] not in sys.modules:
        return False
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def time_text(seconds: int) -> str:
    """Seconds since 1970 as people and programs read them: ``2026-01-31T12:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
