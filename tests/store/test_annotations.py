"""Annotations of mailboxes and of the account, and the limit of messages."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from moxtwisted.errors import LimitError, MailboxMissingError, OverQuotaError
from moxtwisted.store import mailboxes
from moxtwisted.store.accounts import Account
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.mailboxes import MailboxRefusedError
from tests.server.house import HouseCase


class AnnotationCase(HouseCase):
    def setUp(self) -> None:
        super().setUp()
        self.account: Account = self.house.store.account("alice")
        self.inbox = self.account.mailbox("INBOX").id  # type: ignore[union-attr]

    def annotate(self, mailbox: int, values: dict[str, bytes | None], *more: Any) -> None:
        self.successResultOf(self.account.annotate(mailbox, values, *more))


class AnnotationTests(AnnotationCase):
    def test_set_and_removed(self) -> None:
        """Values are kept by mailbox under names in lower case, and removed by None."""
        self.annotate(0, {"/private/Comment": b"\x00one"})
        self.annotate(self.inbox, {"/private/comment": b"two", "/shared/comment": b""})
        self.assertEqual(self.account.annotations(0), {"/private/comment": b"\x00one"})
        self.annotate(self.inbox, {"/private/comment": None})
        self.assertEqual(self.account.annotations(self.inbox), {"/shared/comment": b""})

    def test_told(self) -> None:
        """Who watches the account is called, and reads which entries changed."""
        calls: list[int] = []
        queue = self.account.watch(changed=lambda: calls.append(1))
        self.annotate(self.inbox, {"/private/comment": b"two", "/shared/x": None})
        (change,), dropped = queue.take()
        self.assertEqual((change.kind, change.name, dropped), ("annotated", "INBOX", False))
        self.assertEqual(change.entries, ("/private/comment", "/shared/x"))
        self.assertEqual(calls, [1])
        queue.close()
        self.annotate(0, {"/private/comment": b"two"})
        self.assertEqual(calls, [1])

    def test_with_special_use(self) -> None:
        """Annotations and special uses change together or not at all; the use leaves the mailbox that had it."""
        made = [self.successResultOf(self.account.create_mailbox(name)) for name in ("A", "B")]
        self.annotate(made[0].id, {}, ["\\Sent"])
        self.annotate(made[1].id, {"/private/comment": b"b"}, ["\\Sent", "\\Drafts"])
        self.assertEqual(self.account.mailbox("A").special_use, ())  # type: ignore[union-attr]
        self.assertEqual(self.account.mailbox("B").special_use, ("\\Sent", "\\Drafts"))  # type: ignore[union-attr]
        self.failureResultOf(
            self.account.annotate(made[0].id, {"/private/comment": b"a"}, ["Sent"]), MailboxRefusedError
        )
        self.assertEqual(self.account.annotations(made[0].id), {})
        self.failureResultOf(self.account.annotate(99, {"/private/comment": b"a"}), MailboxMissingError)

    def test_limits(self) -> None:
        """There are limits for a mailbox and for the account, in entries and octets; who takes away is let through."""
        with patch.multiple(
            mailboxes, MAX_ANNOTATIONS=2, MAX_ACCOUNT_ANNOTATIONS=3, MAX_ACCOUNT_ANNOTATION_OCTETS=100
        ):
            self.annotate(0, {"/private/a": b"1", "/private/b": b"2"})
            self.refused(0, {"/private/c": b"3"})
            self.refused(0, {"/private/a": b"x" * 90})
            self.annotate(0, {"/private/c": b"3", "/private/a": None})
            self.annotate(self.inbox, {"/private/a": b"1"})
            self.refused(self.inbox, {"/private/b": b"1"})
            self.annotate(self.inbox, {"/private/a": b"2"})
        self.refused(0, {"/private/" + "x" * 600: b"3"}, "LIMIT")
        self.assertEqual(self.account.annotations(0), {"/private/b": b"2", "/private/c": b"3"})

    def refused(self, mailbox: int, values: dict[str, bytes | None], code: str = "METADATA TOOMANY") -> None:
        error = self.failureResultOf(self.account.annotate(mailbox, values), LimitError).value
        self.assertEqual(error.imap_code, code)

    def test_renamed_and_deleted(self) -> None:
        """Annotations follow a mailbox that is renamed, are copied from INBOX, and go with a mailbox that is deleted."""
        self.annotate(self.inbox, {"/private/comment": b"i"})
        target = self.successResultOf(self.account.rename_mailbox("INBOX", "Old"))
        self.assertEqual(self.account.annotations(target.id), {"/private/comment": b"i"})
        self.assertEqual(self.account.annotations(self.inbox), {"/private/comment": b"i"})
        moved = self.successResultOf(self.account.rename_mailbox("Old", "Older"))
        self.assertEqual(self.account.annotations(moved.id), {"/private/comment": b"i"})
        self.successResultOf(self.account.delete_mailbox("Older"))
        made = self.successResultOf(self.account.create_mailbox("Older"))
        self.assertEqual(self.account.annotations(made.id), {})


class MessageQuotaTests(AnnotationCase):
    def add(self, count: int) -> Any:
        staging = self.house.store.stage()
        staging.write(b"Subject: hello\r\n\r\nIt works.\r\n")
        staged = staging.finish()
        self.addCleanup(staged.close)
        return self.account.add([Addition("INBOX", NewMessage(staged, b"", 1))] * count)

    def test_kept(self) -> None:
        """No more messages are added or copied than the account may have; those removed make room."""
        self.house.store.message_quota_of = lambda name: 3
        self.house.store.refresh_quotas()
        self.assertEqual(self.account.message_quota, 3)
        self.failureResultOf(self.add(4), OverQuotaError)
        self.successResultOf(self.add(2))
        self.failureResultOf(self.account.copy(self.inbox, [1, 2], self.inbox), OverQuotaError)
        self.successResultOf(self.account.copy(self.inbox, [1], self.inbox))
        self.failureResultOf(self.add(1), OverQuotaError)
        self.successResultOf(self.account.expunge(self.inbox, [1], only_deleted=False))
        self.successResultOf(self.add(1))
        self.assertEqual(self.account.usage()[1], 3)
