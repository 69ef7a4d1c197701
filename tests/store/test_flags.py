"""Changing the flags of many messages at once does to each what changing it alone does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.flags import DELETED, FLAGGED, SEEN, MessageFlags
from moxtwisted.store import messages
from moxtwisted.store.changes import MailboxState
from moxtwisted.store.consistency import check
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.store import Store

_COUNT = 14
_FLAGS = st.tuples(
    st.sampled_from([0, SEEN, FLAGGED, DELETED, SEEN | DELETED]), st.sets(st.sampled_from(["$A", "b"]))
).map(lambda drawn: MessageFlags.of(*drawn))
_STEP = st.tuples(
    st.sets(st.integers(1, _COUNT + 3), min_size=1),
    st.booleans(),
    st.sampled_from(["add", "remove", "replace"]),
    _FLAGS,
    st.one_of(st.none(), st.integers(0, 12)),
)


def changed(old: MessageFlags, mode: str, flags: MessageFlags) -> MessageFlags:
    if mode == "add":
        return old.adding(flags)
    return old.removing(flags) if mode == "remove" else flags


class FlagsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(messages, "_DENSE_UIDS", 2)

    @settings(max_examples=60)
    @given(st.sets(st.integers(1, _COUNT), max_size=4), st.lists(_STEP, max_size=12))
    def test_as_one_by_one(self, gone: set[int], steps: list[Any]) -> None:
        """Whole ranges and single messages, with and without UNCHANGEDSINCE: flags, modseqs, counts and what sessions are
        told are those of a model."""
        store = Store.open(None, Path(self.mktemp()), None, threads=0)
        try:
            self.replay(store, gone, steps)
        finally:
            self.successResultOf(store.close())

    def replay(self, store: Store, gone: set[int], steps: list[Any]) -> None:
        account: Any = self.successResultOf(store.create_account("me"))
        staging = store.stage()
        staging.write(b"Subject: x\r\n\r\n")
        new = NewMessage(staging.finish(), b"", 1)
        for _ in range(_COUNT):
            self.successResultOf(account.add([Addition("INBOX", new)]))
        box = account.mailbox("INBOX").id
        if gone:
            self.successResultOf(account.expunge(box, sorted(gone), only_deleted=False))
        state = account.state(box)
        model = dict(zip(state.uids, zip(state.flags, state.modseqs, strict=True), strict=True))
        for uids, whole, mode, flags, since in steps:
            wanted = sorted(range(min(uids), max(uids) + 1) if whole else uids)
            self.step(account, state, model, (box, wanted, mode, flags, since))
        self.assertEqual(check(account.reader), [])

    def step(
        self,
        account: Any,
        state: Any,
        model: dict[int, tuple[MessageFlags, int]],
        what: tuple[int, list[int], Literal["add", "remove", "replace"], MessageFlags, int | None],
    ) -> None:
        _, wanted, mode, flags, since = what
        version = state.version
        done = self.successResultOf(account.store_flags(*what))
        refused = [uid for uid in wanted if since is not None and uid in model and model[uid][1] > since]
        expected = [
            uid
            for uid in wanted
            if uid in model
            and uid not in refused
            and changed(model[uid][0], mode, flags) is not model[uid][0]
        ]
        self.assertEqual((list(done.changed), list(done.refused)), (expected, refused))
        for uid in expected:
            model[uid] = changed(model[uid][0], mode, flags), done.modseq
        self.assertEqual(
            list(zip(state.uids, zip(state.flags, state.modseqs, strict=True), strict=True)),
            list(model.items()),
        )
        self.assertEqual(state.unseen, sum(not f.system & SEEN for f, _ in model.values()))
        self.assertEqual([list(uids) for uids in state.changes_since(version)], [[], expected])
        fresh = MailboxState.load(account.reader, state.id, state._table)
        self.assertEqual((fresh.flags, fresh.modseqs), (state.flags, state.modseqs))
