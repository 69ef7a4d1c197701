r"""GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208).

::

    C: a1 GETQUOTAROOT INBOX
    S: * QUOTAROOT INBOX ""
    S: * QUOTA "" (STORAGE 10 512 MESSAGE 42 1000)
    S: a1 OK GETQUOTAROOT completed
"""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from moxtwisted.imap.connection import Answer, Connection, RefusalError, mailbox_name
from moxtwisted.imap.quota import IQuotaSession, Quota
from moxtwisted.imap.wire import render
from moxtwisted.imap.wire.mailboxcommands import GetQuota, GetQuotaRoot, SetQuota
from moxtwisted.imap.wire.mailboxname import canonical

__all__ = ["get_quota", "get_quota_root", "set_quota"]

_UNIT: Final = 1024
"""RFC 9208 section 5.1: octets in one of STORAGE."""


def _session(connection: Connection) -> Any:
    if not IQuotaSession.providedBy(connection.mail):
        raise RefusalError("there are no quotas here", "CANNOT")
    return connection.mail


def _line(connection: Connection, root: str, quota: Quota) -> bytes:
    """The QUOTA response: what is not limited is left out (RFC 9208 section 4.2.1)."""
    resources = []
    if quota.octets_limit is not None:
        resources.append(b"STORAGE %d %d" % (-(-quota.octets // _UNIT), -(-quota.octets_limit // _UNIT)))
    if quota.messages_limit is not None:
        resources.append(b"MESSAGE %d %d" % (quota.messages, quota.messages_limit))
    return b"* QUOTA %b (%b)\r\n" % (render.string(root, utf8=connection.utf8), b" ".join(resources))


def _told(connection: Connection, quota: Quota | None) -> Quota | None:
    """A quota with the limits that the user may be told; None when there are none.

    RFC 9208 section 7: a QUOTA response has one resource at least; so without limits there is no root.
    """
    if quota is None:
        return None
    if "QUOTA=RES-STORAGE" not in connection.offered:
        quota = evolve(quota, octets_limit=None)
    if "QUOTA=RES-MESSAGE" not in connection.offered:
        quota = evolve(quota, messages_limit=None)
    return quota if quota.limited else None


def get_quota(connection: Connection, command: GetQuota) -> Answer:
    """GETQUOTA."""
    quota = _told(connection, _session(connection).quota(command.root))
    if quota is None:
        raise RefusalError("no such quota root", "NONEXISTENT")
    connection.out.append(_line(connection, command.root, quota))
    return None


def get_quota_root(connection: Connection, command: GetQuotaRoot) -> Answer:
    """GETQUOTAROOT."""
    session = _session(connection)
    mailbox = mailbox_name(command.mailbox)
    root = session.quota_root(mailbox)
    quota = _told(connection, session.quota(root) if root is not None else None)
    name = render.mailbox(canonical(mailbox), utf8=connection.utf8)
    if quota is None:
        connection.out.append(b"* QUOTAROOT %b\r\n" % name)
    else:
        connection.out.append(b"* QUOTAROOT %b %b\r\n" % (name, render.string(root, utf8=connection.utf8)))
        connection.out.append(_line(connection, root, quota))
    return None


def set_quota(connection: Connection, command: SetQuota) -> Answer:
    """SETQUOTA: refused. QUOTASET is not announced; a client of RFC 2087 may try, and learns who could."""
    raise RefusalError("limits are in the hands of the server's administrator", "NOPERM")
