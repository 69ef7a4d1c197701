"""What an operator can ask of the server, and what the administration needs from the configuration.

Every operation is an ``async`` method with plain arguments (text, whole numbers, truth values, lists of
text) and a result that JSON can carry, so that the same object serves the unix socket, the commands that work on
closed files, and later the web. An operation that takes long has a last argument ``progress``, called
now and then::

    await administration.import_mbox("alice", "Archive", "/tmp/old.mbox", progress=show)

    def show(done: int, total: int, what: str) -> None: ...    # total is 0 while it is not known

An operation that cannot be done raises `MailError`; one that would make the configuration invalid raises
`ConfigurationError` with every reason, and has changed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from zope.interface import Interface

from moxtwisted.errors import MailError

__all__ = [
    "JSON",
    "IAdministration",
    "IConfigurationEditor",
    "IConfigurationOperations",
    "IMailAdministration",
    "IOfflineAdministration",
    "NotRunningError",
    "Progress",
    "Report",
]

#: What JSON can carry.
JSON = Any
#: A table for people and for --json: one dictionary for each row.
Report = list[dict[str, JSON]]


class NotRunningError(MailError):
    """The operation is about a running server."""

    public_text = "the server does not run"


class Progress(Protocol):
    """Takes how far a long operation has come."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """``total`` is 0 while it is not known; ``what`` is a unit or a name, as ``"messages"``."""


class IMailAdministration(Interface):
    """Operations on accounts, mail and the running server."""

    # -- accounts (they change the configuration and the store) -------------------------------------------------
    async def account_add(name: str, address: str, full_name: str, password: str) -> list[str]:
        """Add an account with its first address; an empty password means that nobody can log in yet.

        What the operator should know besides, in sentences: mail that was kept belongs to it again.
        """

    async def account_remove(name: str, keep_mail: bool) -> list[str]:
        """Remove the account, its addresses and, unless kept, its mail. What else had to go, in sentences."""

    async def account_list() -> Report:
        """``name``, ``domain``, ``full_name``, ``disabled``, ``addresses``, ``octets``, ``messages``, ``quota_octets``,
        ``quota_messages``."""

    async def set_password(account: str, password: str) -> None:
        """Set a password, of an account that the configuration has; its mail is made if it is not there yet.

        :raises MailError: when the password is too short or has characters that PRECIS refuses (RFC 8265).
        """

    # -- mail --------------------------------------------------------------------------------------------------
    async def import_mbox(account: str, mailbox: str, path: str, progress: Progress) -> dict[str, int]:
        """Read an mbox file, absolute path, that the server can read. ``{"messages": n, "skipped": n}``."""

    async def import_maildir(account: str, mailbox: str, path: str, progress: Progress) -> dict[str, int]:
        """Read a Maildir (with the flags in its names, and dovecot-keywords), as `import_mbox`."""

    async def import_imap(
        account: str, url: str, password: str, options: JSON, progress: Progress
    ) -> dict[str, JSON]:
        """Fetch the mail of an account on another server, ``imaps://user@host:port/``; again, only what is new.

        :param options: of `moxtwisted.server.importing.remote.Options`, by name.
        :returns: ``messages``, ``known``, ``flags``, ``removed`` and ``skipped`` (numbers), ``unreadable`` and ``failed`` (sentences),
            ``left_out`` (name and reason), ``mailboxes`` (a table).
        """

    async def export_mbox(account: str, mailbox: str, path: str, progress: Progress) -> dict[str, int]:
        """Write mbox files below the directory ``path``, for one mailbox or, when it is empty, all. ``{"messages": n}``."""

    async def export_maildir(account: str, mailbox: str, path: str, progress: Progress) -> dict[str, int]:
        """Write Maildirs below the directory ``path``, as `export_mbox`."""

    async def queue_list() -> Report:
        """``id``, ``sender``, ``recipient``, ``size``, ``queued``, ``next_attempt``, ``why`` (why it waits)."""

    async def queue_remove(ids: Sequence[int]) -> list[str]:
        """Drop what waits for these recipients, all of them or (when one is not there) none; what went, in sentences."""

    async def acl_list(account: str, mailbox: str) -> Report:
        """``mailbox``, ``identifier``, ``rights`` of one mailbox or, when it is empty, all that are shared."""

    async def acl_set(account: str, mailbox: str, identifier: str, rights: str) -> None:
        """Give an account (by name or address), or ``anyone``, rights on a mailbox: ``lr``, ``+s``, ``-s``.

        :raises MailError: when a right or an account is not known.
        """

    async def acl_remove(account: str, mailbox: str, identifier: str) -> None:
        """Take all of them away. :raises MailError: when there are none."""

    # -- upkeep; account is empty for all -----------------------------------------------------------------------
    async def verify_data(account: str, progress: Progress) -> list[str]:
        """Check everything that is kept; the problems that were found, in sentences."""

    async def reparse(account: str, progress: Progress) -> dict[str, int]:
        """Render all messages again. ``{"messages": n}``."""

    async def recalculate_counts(account: str, progress: Progress) -> dict[str, int]:
        """Count messages and sizes again. ``{"mailboxes": n, "changed": n}``."""

    async def retire(account: str, progress: Progress) -> dict[str, int]:
        """Forget expunged messages that are older than the configuration says. ``{"messages": n}``."""

    # -- junk filters ------------------------------------------------------------------------------------------
    async def junk_status(account: str) -> Report:
        """``account``, ``ham`` and ``junk`` (messages learned), ``words``, ``waiting`` (to be learned), ``judges`` (whether that is
        enough), of one account or, when it is empty, all."""

    async def junk_check(account: str, message: str) -> dict[str, JSON]:
        """What the filter of an account thinks of a message, in base64: ``probability``, ``sum``, ``significant``, ``words`` (a table),
        ``learned`` (a row of `junk_status`). Nothing is kept."""

    async def junk_train(
        account: str, path: str, junk: bool, mailbox: str, progress: Progress
    ) -> dict[str, JSON]:
        """Put the messages of a directory, a Maildir or an mbox file that the server can read into a mailbox, labelled, and learn them:
        ``messages``, ``known`` (there already), ``left_out`` (sentences), ``learned`` (a row of `junk_status`)."""

    async def junk_retrain(account: str, progress: Progress) -> Report:
        """Forget all and learn it again from the flags of the messages, of one account or, when it is empty, all. As `junk_status`."""

    # -- reports of other servers ------------------------------------------------------------------------------
    async def reports_list(kind: str, domain: str, limit: int, details: bool) -> Report:
        """``received``, ``organization``, ``domain``, ``begin``, ``end``, ``total``, ``failed``, ``sender``, ``report_id``, the latest
        first; of one domain or, when it is empty, all. With details, ``detail``: all of it as a text in JSON, empty where it is too much.

        :param kind: ``dmarc`` or ``tls``.
        """

    # -- the running server ------------------------------------------------------------------------------------
    async def status() -> dict[str, JSON]:
        """``running``, ``version``, ``hostname``, ``pid``, ``started`` and the like; where other processes serve IMAP, ``keepers``, a row
        for each: ``keeper`` (its number), ``pid`` (None: there is no process), ``ready``, ``connections`` (how many), ``accounts`` (their
        names, sorted). They are not asked: one that hangs is no reason to wait."""

    async def metrics() -> str:
        """Counters in the text format of Prometheus."""

    async def log_levels() -> dict[str, str]:
        """Level by package; the default has the empty name."""

    async def set_log_level(level: str, package: str) -> list[str]:
        """Until the next start; an empty package is the default. Warnings, in sentences."""

    async def stop() -> float:
        """Begin to shut down; the answer comes before that: how many seconds messages under way may take to finish."""

    async def bans_list() -> Report:
        """``network``, ``cause``, ``why``, ``begun``, ``ends`` (None: until it is lifted), ``times``; the latest first."""

    async def bans_add(network: str, why: str, seconds: float) -> list[str]:
        """Keep a network out, 0 seconds: until it is lifted; connections from there are ended. What was done, in sentences.

        :raises MailError: when it is no network, or one that is never banned.
        """

    async def bans_lift(network: str) -> list[str]:
        """Let a network in again or, when it is empty, all. What was done, in sentences.

        :raises MailError: when it is not banned.
        """


class IConfigurationOperations(Interface):
    """Operations that change the configuration alone."""

    async def account_disable(name: str, message: str) -> None:
        """Nobody logs in any more, and is told this."""

    async def account_enable(name: str) -> None:
        """Log-ins work again."""

    async def address_list() -> Report:
        """``address``, ``account``, ``mailbox``, of all accounts."""

    async def address_add(address: str, account: str, mailbox: str) -> None:
        """Give an account one more address, or ``@domain`` for a catch-all."""

    async def address_remove(address: str) -> list[str]:
        """Take an address away, also from aliases. What else had to go, in sentences."""

    async def tls_key_list(account: str) -> Report:
        """``account``, ``fingerprint``, ``name``, ``login``, ``imap_preauth``; of one account or, when it is empty, all."""

    async def tls_key_add(login: str, fingerprint: str, name: str, imap_preauth: bool) -> None:
        """Let the key of a TLS client log in as this address. ``fingerprint``: SHA-256 of its SubjectPublicKeyInfo, hexadecimal."""

    async def tls_key_remove(fingerprint: str) -> None:
        """It logs in no more."""

    async def domain_list() -> Report:
        """``name``, ``disabled``, ``description``, ``addresses`` and ``aliases`` (how many)."""

    async def domain_add(name: str, description: str, disabled: bool) -> None:
        """Take mail for one more domain."""

    async def domain_remove(name: str) -> list[str]:
        """Remove a domain. What went with it, in sentences.

        :raises MailError: while accounts belong to it or have addresses in it.
        """

    async def domain_reports(name: str, account: str) -> list[str]:
        """Give a domain the addresses for reports that it has not: dmarcreports@ and tlsreports@, for an account or, when it is empty,
        the postmaster's. What was added, in sentences."""

    async def domain_records(name: str) -> Report:
        """``name``, ``type``, ``value`` and ``why`` of what belongs into the DNS for a domain."""

    async def domain_disable(name: str) -> None:
        """Refuse its mail for now."""

    async def domain_enable(name: str) -> None:
        """Take its mail again."""

    async def dkim_list(domain: str) -> Report:
        """``domain``, ``selector``, ``state``, ``algorithm`` (``rsa``, ``ed25519``), ``bits``, ``file``, ``name`` and ``record`` (in
        the DNS), ``problem`` (why the key cannot be read, or empty); of one domain or, when it is empty, all."""

    async def dkim_generate(domain: str, kinds: Sequence[str], state: str) -> Report:
        """Make a key of each kind. ``state``: ``active``, ``standby``, or empty: standby when others sign already. As `dkim_list`, the new
        ones."""

    async def dkim_state(domain: str, selector: str, state: str) -> None:
        """Put a key into a state: ``active``, ``standby``, ``retired``."""

    async def dkim_rotate(domain: str) -> list[str]:
        """Keys in standby sign from now on, those of their kinds that did are retired. What to do next, in sentences."""

    async def dkim_remove(domain: str, selector: str) -> list[str]:
        """Take a key away; its file stays. Where that is, in a sentence."""

    async def alias_list(domain: str) -> Report:
        """``address``, ``members``, ``post_public``, ``allow_message_from``; of one domain or, when it is empty, all."""

    async def alias_add(
        address: str, members: Sequence[str], post_public: bool, allow_message_from: bool
    ) -> None:
        """Add an alias."""

    async def alias_update(address: str, post_public: bool | None, allow_message_from: bool | None) -> None:
        """Change what is not None."""

    async def alias_remove(address: str) -> None:
        """Remove an alias."""

    async def alias_add_members(address: str, members: Sequence[str]) -> None:
        """Add members that are not there yet."""

    async def alias_remove_members(address: str, members: Sequence[str]) -> None:
        """Remove members; the last one cannot go."""


class IAdministration(IMailAdministration, IConfigurationOperations):
    """All that can be asked."""


class IOfflineAdministration(IAdministration):
    """The administration of files that no server has open."""

    async def close() -> None:
        """Close them; what was done is on disk."""


class IConfigurationEditor(IConfigurationOperations):
    """Changes the configuration files (implemented above the server, in ``config``, and passed in).

    When a method is done the file is replaced and the server has been told.
    """

    def add_account(name: str, address: str, full_name: str) -> None:
        """The configuration's part of `account_add`."""

    def remove_account(name: str) -> list[str]:
        """The configuration's part of `account_remove`."""

    def accounts() -> Report:
        """The configuration's part of `account_list`, by name."""
