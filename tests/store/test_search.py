"""The index finds what reading every message finds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, cycle
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import fail
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import StoreFullError, StoreUnavailableError
from moxtwisted.message.casemap import casemap
from moxtwisted.message.flags import FLAGGED, MessageFlags
from moxtwisted.message.mime import Scanner
from moxtwisted.message.text import body_text, header_text
from moxtwisted.store import fieldtexts, pacing, search
from moxtwisted.store.accounts import Account
from moxtwisted.store.consistency import check
from moxtwisted.store.database import connect
from moxtwisted.store.interfaces import Addition, NewMessage, SearchTerm
from moxtwisted.store.store import Store
from moxtwisted.store.vocabulary import MAX_BEHIND, Vocabulary
from tests.store.mail import go_back


def folded(text: str) -> str:
    return casemap(text)


def plain(octets: bytes, field: str, needle: str) -> bool:
    """What a search without an index says."""
    scanner = Scanner()
    scanner.feed(octets)
    scanned = scanner.finish()
    needle = folded(needle)
    if field == "body":
        texts = list(body_text(scanned, lambda o, n: octets[o : o + n]))
    elif field == "header":
        texts = [header_text(scanned.header)]
    elif field == "text":
        texts = [header_text(scanned.header), *body_text(scanned, lambda o, n: octets[o : o + n])]
    else:
        name = field.encode()
        if name not in scanned.header.values:
            return False
        texts = [header_text(scanned.header, frozenset((name,)))]
    return not needle or any(needle in folded(text) for text in texts)


def letter(subject: str, body: str, extra: str = "") -> bytes:
    head = f"From: Anna <anna@example.org>\r\nSubject: {subject}\r\n{extra}"
    head += "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    return (head + body.replace("\n", "\r\n") + "\r\n").encode("utf-8", "replace")


class SearchCase(SynchronousTestCase):
    def setUp(self) -> None:
        # How much is done in a slice must not depend on how busy this machine is.
        self.patch(search, "SLICE_SECONDS", 1000.0)
        self.store = Store.open(None, Path(self.mktemp()), None, threads=0)
        self.clock: Clock = self.store._clock
        self.addCleanup(self.end)
        self.account: Account = self.successResultOf(self.store.create_account("me"))
        self.letters: dict[int, bytes] = {}

    def end(self) -> None:
        """Whatever was indexed or searched, the account agrees with itself; then close the files."""
        if not self.account._lane.closed:
            self.assertEqual(check(self.account.reader), [])
        self.successResultOf(self.store.close())

    def add(self, *letters: bytes) -> None:
        for octets in letters:
            staging = self.store.stage()
            staging.write(octets)
            staged = staging.finish()
            (added,) = self.successResultOf(
                self.account.add([Addition("INBOX", NewMessage(staged, b"", 1_700_000_000))])
            )
            staged.close()
            self.letters[added.uid] = octets

    def wait(self, deferred: Any) -> Any:
        for _ in range(10_000):
            if deferred.called:
                break
            self.clock.advance(0.01)
        return self.successResultOf(deferred)

    def index(self) -> None:
        self.wait(self.account.index.complete())

    @property
    def inbox(self) -> int:
        found = self.account.mailbox("INBOX")
        assert found is not None
        return found.id

    def found(self, field: str, needle: str, uids: Sequence[int] | None = None) -> set[int]:
        wanted = sorted(self.letters) if uids is None else uids
        result: set[int] = self.wait(self.account.search(self.inbox, SearchTerm(field, needle), wanted))
        return result

    def assert_agrees(self, field: str, needle: str) -> set[int]:
        found = self.found(field, needle)
        self.assertEqual(
            found,
            {uid for uid, octets in self.letters.items() if plain(octets, field, needle)},
            (field, needle),
        )
        return found


WORDS = [
    "alpha",
    "beta",
    "alphabet",
    "Straße",
    "STRASSE",
    "naïve",
    "nai\u0308ve",
    "日本語",
    "本",
    "x_y",
    "a.b",
    "e\u0301t",
    "İ",
    "ﬁn",
]
TEXTS = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join),
    st.lists(st.sampled_from([*WORDS, "-", " ", "\n", "'", ", "]), max_size=8).map("".join),
    st.text(
        st.characters(codec="utf-8", exclude_characters="\r\n\0\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e"),
        max_size=20,
    ),
)
NEEDLES = st.one_of(
    TEXTS, st.sampled_from(["a", "lph", "a b", "ta al", "本語", "ss", "e\u0301", "\u0301t", "subject: a"])
)


class IndexTests(SearchCase):
    @settings(max_examples=80)
    @given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), st.integers(0, 5), st.data())
    def test_agrees_with_a_plain_scan(self, texts: list[tuple[str, str]], late: int, data: Any) -> None:
        """Whatever is in the messages and is looked for, the index and reading every message agree, indexed or not."""
        self.setUp()
        try:
            letters = [letter(subject.replace("\n", " "), body) for subject, body in texts]
            self.add(*letters[late:])
            self.index()
            self.add(*letters[:late])
            everything = "\n".join(f"{subject}\n{body}" for subject, body in texts)
            start = data.draw(st.integers(0, max(0, len(everything) - 1)))
            piece = everything[start : start + data.draw(st.integers(1, 9))]
            for needle in (piece, data.draw(NEEDLES)):
                if "\n" in needle:
                    continue  # no IMAP client can send it, and a plain scan sees line ends as they are
                for field in ("text", "body", "header", "subject", "from", "x-none"):
                    self.assert_agrees(field, needle)
        finally:
            self.doCleanups()

    def test_words_and_what_lies_between(self) -> None:
        """Parts of words, words with punctuation between them, and any case are found."""
        self.add(
            letter("Quarterly figures", "Best offer, the last!\nRe: well-known"),
            letter("other", "a better deal; coffers the lid"),
        )
        self.index()
        self.assertEqual(self.assert_agrees("text", "OFFER, T"), {1})
        self.assertEqual(self.assert_agrees("body", "offer"), {1, 2})
        self.assertEqual(self.assert_agrees("body", "ll-kno"), {1})
        self.assertEqual(self.assert_agrees("subject", "arterly FIG"), {1})
        self.assertEqual(self.assert_agrees("header", "anna@example"), {1, 2})
        self.assertEqual(self.assert_agrees("text", "offers the"), {2})
        self.assertEqual(self.assert_agrees("text", "no such words"), set())

    def test_scripts_without_spaces(self) -> None:
        """In a run of Chinese or Japanese text any part is found."""
        self.add(letter("件名", "これは日本語の本文です。"), letter("x", "日本"))
        self.index()
        self.assertEqual(self.assert_agrees("text", "本語の本"), {1})
        self.assertEqual(self.assert_agrees("text", "日本"), {1, 2})
        self.assertEqual(self.assert_agrees("subject", "名"), {1})

    def test_encoded_words_and_parts(self) -> None:
        """What is encoded in the header or body is compared decoded."""
        octets = (
            b"Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
            b"--x\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            b'<b>Stra=DFe</b> &amp; more\r\n--x\r\nContent-Type: application/pdf; name="Rechnung 7.pdf"\r\n\r\nxx\r\n--x--\r\n'
        )
        self.add(octets)
        for _ in range(2):
            self.assertEqual(self.found("subject", "GRÜSSE"), {1})
            self.assertEqual(self.found("text", "grüße"), {1})
            self.assertEqual(self.found("body", "strasse & m"), {1})
            self.assertEqual(self.found("body", "rechnung 7"), {1})
            self.assertEqual(self.found("body", "<b>"), set())
            self.index()

    def test_folded_field(self) -> None:
        """A needle that lies across a folded line is found."""
        self.add(letter("one two\r\n three", "x"))
        for _ in range(2):
            self.assertEqual(self.found("subject", "two three"), {1})
            self.assertEqual(self.found("text", "two three"), {1})
            self.index()

    def test_machine_fields(self) -> None:
        """Trace and signature fields are compared when they are named, and are not part of the text."""
        self.add(
            letter("x", "y", "DKIM-Signature: v=1; d=signer.example\r\nReceived: from relay.example\r\n")
        )
        self.index()
        self.assertEqual(self.found("dkim-signature", "signer"), {1})
        self.assertEqual(self.found("received", "RELAY"), {1})
        self.assertEqual(self.found("text", "signer"), set())

    def test_empty_needle(self) -> None:
        """An empty needle is in every text, and in a field when the message has it."""
        self.add(letter("x", "y"), letter("x", "y", "X-Flag:\r\n"))
        self.assertEqual(self.found("text", ""), {1, 2})
        self.assertEqual(self.found("x-flag", ""), {2})
        self.assertEqual(self.found("subject", ""), {1, 2})

    def test_only_the_asked(self) -> None:
        """Only messages that were asked about, and only of that mailbox, are answered."""
        self.add(letter("needle", "x"), letter("needle", "x"), letter("needle", "x"))
        self.index()
        other = self.successResultOf(self.account.create_mailbox("Other"))
        self.successResultOf(self.account.copy(self.inbox, [1, 2], other.id))
        self.assertEqual(self.found("text", "needle", [2, 3, 9]), {2, 3})
        found = self.wait(self.account.search(other.id, SearchTerm("text", "needle"), [1, 2, 3]))
        self.assertEqual(found, {1, 2})

    def test_endless_word(self) -> None:
        """A word longer than the index can keep is found by its end, and a text longer than is indexed by its last words."""
        self.add(letter("x", "q" * 50_000 + "tail"), letter("y", "lorem ipsum " * 40_000 + "finis"))
        self.index()
        self.assertEqual(self.found("text", "qtail"), {1})
        self.assertEqual(self.found("body", "finis"), {2})

    def test_no_text_at_all(self) -> None:
        """Empty messages and octets that are no text are indexed like others."""
        self.add(
            b"\r\n",
            b"Subject: \xff\xfe\r\n\r\n\x00\x01\xed\xa0\x80 z\r\n",
            letter("a\ud800b".encode("utf-8", "replace").decode(), "x"),
        )
        self.index()
        self.assertEqual(self.account.index.indexed(), 3)
        self.assertEqual(self.found("text", "\ud800"), self.found("text", "?"))


class WorkTests(SearchCase):
    def test_behind_the_deliveries(self) -> None:
        """Messages are indexed a second after the last one came, at most ten seconds after the first."""
        self.add(letter("a", "x"))
        self.account.index.wake()
        self.assertTrue(self.account.index.busy)
        self.clock.advance(0.9)
        self.assertEqual(self.account.index.indexed(), 0)
        self.clock.advance(0.2)
        self.assertEqual(self.account.index.indexed(), 1)
        self.assertFalse(self.account.index.busy)

    def test_rests_while_mail_comes(self) -> None:
        """When messages come in while a batch is written, the next one waits; closing does not wait for it."""
        self.add(*(letter(f"number {n}", "word") for n in range(120)))
        index = self.account.index
        rested: list[bool] = []
        real = index._submit

        def submit(job: Any) -> Any:
            if not rested:
                self.add(letter("in between", "x"))
            rested.append(index.busy)
            return real(job)

        index._submit = submit
        done = index.complete()
        self.assertEqual(index.indexed(), 50)
        self.clock.advance(pacing.MAX_REST_SECONDS)
        self.successResultOf(done)
        self.assertEqual(index.indexed(), 121)
        rested.clear()
        self.add(*(letter(f"number {n}", "word") for n in range(60)))
        done = index.complete()
        self.assertNoResult(done)
        self.successResultOf(self.account.close())
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_rests_while_somebody_writes(self) -> None:
        """Whatever is changed, the index waits until nothing was for a second; after ten seconds it goes on with pauses."""
        self.add(*(letter(f"number {n}", "word") for n in range(220)))
        index = self.account.index
        real = index._submit
        modes = cycle(("add", "remove"))
        # Batches take so long that the longest pause is made.
        index._seconds = count().__next__
        self.patch(pacing, "MAX_REST_SECONDS", 0.27)

        def write() -> None:
            mode: Any = next(modes)
            self.successResultOf(self.account.store_flags(self.inbox, [1], mode, MessageFlags(FLAGGED)))

        def submit(job: Any) -> Any:
            write()
            return real(job)

        index._submit = submit
        done = index.complete()
        for _ in range(19):
            self.clock.advance(0.5)
            write()
            self.assertEqual(index.indexed(), 50)
        self.clock.advance(0.5)
        write()
        self.assertEqual(index.indexed(), 50)
        for batch in (2, 3):
            self.clock.advance(0.26)
            self.assertEqual(index.indexed(), 50 * (batch - 1))
            self.clock.advance(0.02)
            self.assertEqual(index.indexed(), 50 * batch)
        index._submit = real
        self.clock.advance(0.28)
        self.assertEqual(index.indexed(), 220)
        self.successResultOf(done)

    def test_complete_now(self) -> None:
        """Who asks for all of it does not wait for a pause."""
        self.add(*(letter(f"number {n}", "word") for n in range(60)))
        index = self.account.index
        real = index._submit

        def submit(job: Any) -> Any:
            index._submit = real
            index.disturb()
            return real(job)

        index._submit = submit
        first = index.complete()
        self.assertNoResult(first)
        self.assertEqual(index.indexed(), 50)
        self.successResultOf(index.complete())
        self.assertEqual(index.indexed(), 60)
        self.successResultOf(first)

    def test_full_disk(self) -> None:
        """When there is no room it tries again after a minute, with a line in the log and no traceback."""
        self.add(letter("a", "x"))
        self.clock.advance(pacing.QUIET_SECONDS + 1)
        self.add(letter("b", "x"))
        index, tries = self.account.index, count(1)
        real = index._submit

        def submit(job: Any) -> Any:
            next(tries)
            return fail(StoreFullError("the disk is full"))

        index._submit = submit
        self.clock.advance(pacing.QUIET_SECONDS)
        self.assertTrue(index.busy)
        for _ in range(3):
            self.clock.advance(search.FULL_SECONDS / 2 - 1)
        self.assertEqual(next(tries), 3)
        index._submit = real
        self.clock.advance(search.FULL_SECONDS)
        self.assertEqual(index.indexed(), 2)

    def test_expunged_meanwhile(self) -> None:
        """A message that is expunged while it is being indexed leaves nothing in the index."""
        self.add(letter("gone", "x"), letter("stays", "x"))
        index = self.account.index
        with patch.object(search, "SLICE_SECONDS", -1.0):
            done = index.complete()
            self.successResultOf(self.account.expunge(self.inbox, [1], only_deleted=False))
            self.wait(done)
        self.letters.pop(1)
        self.assertEqual(self.found("text", "stays"), {2})
        rows = self.account.reader.execute("SELECT rowid FROM words WHERE words MATCH '\"gone\"'").fetchall()
        self.assertEqual(rows, [])
        self.assertEqual(check(self.account.reader, deep=False), [])

    def test_swept(self) -> None:
        """When a body is deleted its words go."""
        self.add(letter("unusual", "x"))
        self.index()
        self.successResultOf(self.account.expunge(self.inbox, [1], only_deleted=False))
        self.assertEqual(
            self.account.reader.execute("SELECT count(*) FROM words WHERE words MATCH 'unusual'").get, 0
        )

    def test_indexed_while_searching(self) -> None:
        """A message that gets into the index in the middle of a search is not missed."""
        self.add(letter("first", "needle"))
        self.index()
        self.add(letter("second", "needle"))
        with patch.object(search, "SLICE_SECONDS", -1.0):
            looking = self.account.search(self.inbox, SearchTerm("text", "needle"), [1, 2])
            with patch.object(search, "SLICE_SECONDS", 1000.0):
                self.account.index.complete()
            self.assertEqual(self.account.index.indexed(), 2)
            self.assertEqual(self.wait(looking), {1, 2})

    def test_in_slices(self) -> None:
        """Searching and indexing many messages gives the reactor its turn again and again."""
        self.add(*(letter(f"number {n}", "word " * 200) for n in range(30)))
        turns = Mock(wraps=deferLater)
        with patch.object(search, "SLICE_SECONDS", -1.0), patch("moxtwisted.store.search.deferLater", turns):
            self.wait(self.account.index.complete())
            self.assertGreater(turns.call_count, 30)
            self.assertEqual(self.found("body", "word w"), set(range(1, 31)))
            self.assertGreater(turns.call_count, 60)

    def test_closed_in_the_middle(self) -> None:
        """When the account closes, the indexing ends with what it has, and a search fails with a clear error."""
        self.add(*(letter(f"number {n}", "word") for n in range(5)))
        with patch.object(search, "SLICE_SECONDS", -1.0):
            indexing = self.account.index.complete()
            looking = self.account.search(self.inbox, SearchTerm("text", "word"), [1, 2, 3])
            closed = self.account.close()
            for _ in range(100):
                self.clock.advance(0)
            self.successResultOf(indexing)
            self.successResultOf(closed)
            self.failureResultOf(looking, StoreUnavailableError)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_damaged_body(self) -> None:
        """A body that cannot be read is logged and passed over; the others are indexed and found."""
        self.add(letter("one", "needle"), letter("two", "needle"))
        self.successResultOf(
            self.account.submit(
                lambda ledger: ledger.connection.execute("UPDATE chunk SET codec = 9 WHERE id >> 16 = 1")
            )
        )
        self.index()
        self.assertEqual(self.account.index.indexed(), 2)
        self.assertEqual(self.found("text", "needle"), {2})

    def test_again_after_start(self) -> None:
        """What was not indexed when the store closed is indexed after it is opened again."""
        self.add(letter("one", "x"))
        path = self.store._directory
        self.successResultOf(self.store.close())
        self.store = Store.open(None, path, None, threads=0)
        self.clock = self.store._clock
        self.account = self.store.account("me")
        self.assertTrue(self.account.index.busy)
        self.clock.advance(2)
        self.assertEqual(self.account.index.indexed(), 1)

    def test_words_of_before(self) -> None:
        """Words that an earlier version folded otherwise go, and are indexed anew."""
        self.add(letter("one", "MÜLLER"))
        with patch.object(search, "_folded", str.lower):
            self.index()
        path = self.store._directory
        self.successResultOf(self.store.close())
        connection = connect(path / "accounts" / "me.db", None)
        go_back(connection, 3)
        connection.close()
        self.store = Store.open(None, path, None, threads=0)
        self.clock = self.store._clock
        self.account = self.store.account("me")
        self.assertEqual(self.account.index.indexed(), 0)
        self.assertEqual(self.found("body", "müller"), {1})
        self.index()
        self.assertEqual(self.account.index.indexed(), 1)
        self.assertEqual(self.found("body", "MU\u0308LLER"), {1})


class RememberedTests(SearchCase):
    """What searches remember does not make them miss what came later."""

    def test_new_messages(self) -> None:
        """A search after the first finds messages that came since, and not those that went."""
        self.add(letter("alpha one", "x"), letter("beta", "x"))
        self.assertEqual(self.assert_agrees("subject", "alpha"), {1})
        self.add(letter("more alpha", "x"), letter("ALPHA ü", "x"))
        self.assertEqual(self.assert_agrees("subject", "alpha"), {1, 3, 4})
        self.successResultOf(self.account.expunge(self.inbox, [1], only_deleted=False))
        del self.letters[1]
        self.assertEqual(self.assert_agrees("subject", "alpha"), {3, 4})
        self.assertEqual(self.found("subject", "alpha", [3]), {3})

    def test_new_words(self) -> None:
        """Words that got into the index after the vocabulary was read are found."""
        self.add(letter("one", "alpha"))
        self.index()
        self.assertEqual(self.assert_agrees("text", "lph"), {1})
        for number in range(MAX_BEHIND + 2):
            self.add(letter("more", f"calpha{number} dolphin"))
            self.index()
            self.assertEqual(self.assert_agrees("text", "lph"), set(self.letters))
            self.assertEqual(self.assert_agrees("body", "olph"), set(self.letters) - {1})

    def test_learning(self) -> None:
        """Words that are indexed while the vocabulary is remembered get into it, without reading it again."""
        self.add(letter("one", "alpha"))
        self.index()
        self.assertEqual(self.assert_agrees("text", "lph"), {1})
        self.patch(Vocabulary, "read", None)
        for number in range(MAX_BEHIND):
            self.add(letter("more", f"calpha{number} Straße"), letter("more", "ΑΛΦΑ naïve"))
            self.index()
            self.assertEqual(self.assert_agrees("text", "lph"), {1, *range(2, 2 * number + 3, 2)})
            self.assertEqual(self.assert_agrees("text", "trass"), set(range(2, 2 * number + 3, 2)))
            self.assertEqual(self.assert_agrees("text", "λφ"), set(range(3, 2 * number + 4, 2)))

    def test_forgetting(self) -> None:
        """After the account forgot, the same is found."""
        self.add(letter("alpha", "beta"))
        self.index()
        for _ in range(2):
            self.assertEqual(self.assert_agrees("subject", "lph"), {1})
            self.assertEqual(self.assert_agrees("text", "et"), {1})
            self.account.index.forget()

    def test_in_steps(self) -> None:
        """Many texts are put together in steps."""
        self.patch(fieldtexts, "_FIELDS_AT_ONCE", 2)
        self.patch(fieldtexts, "_TEXTS_AT_ONCE", 3)
        self.add(*[letter(f"alpha {number}" if number % 3 else "grüße", "x") for number in range(15)])
        for _ in range(2):
            self.assert_agrees("subject", "alpha")
            self.assert_agrees("subject", "")
            self.assert_agrees("subject", "RÜ")

    def test_too_many(self) -> None:
        """In a mailbox with very many messages a field is compared message by message."""
        self.patch(fieldtexts, "_MAX_TEXTS", 1)
        self.add(letter("alpha", "x"), letter("beta", "x"), letter("Alpha", "x"))
        self.assertEqual(self.assert_agrees("subject", "alpha"), {1, 3})
        self.assertEqual(self.assert_agrees("subject", ""), {1, 2, 3})
