"""The table of reputation, row by row."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.server.judgement.reasons import Reason
from moxtwisted.server.judgement.reputation import Question, reputation
from moxtwisted.store.interfaces import Sender
from tests.server.judgement.samples import DAY, NOW, YEAR, FakeReputation, Remembered

MARY = Sender(
    localpart="mary",
    domain="news.a.example",
    organizational_domain="a.example",
    validated=True,
    dkim_domains=("a.example", "esp.example"),
    spf_localpart="bounce",
    spf_domain="esp.example",
    helo_domain="mx.esp.example",
    ip="192.0.2.1",
)
FORGED = evolve(MARY, validated=False, dkim_domains=(), spf_domain="", spf_localpart="", helo_domain="")
#: Who is known by nothing but the network.
STRANGER = Sender(ip="192.0.2.1")


def colleague(name: str, *, validated: bool = True) -> Sender:
    """Somebody else at the domain, sending from elsewhere."""
    return Sender(
        localpart=name, domain="news.a.example", organizational_domain="a.example", validated=validated
    )


def cousin(name: str, *, validated: bool = True) -> Sender:
    """Somebody else at the organization."""
    return Sender(
        localpart=name, domain="b.a.example", organizational_domain="a.example", validated=validated
    )


def signed(*domains: str) -> Sender:
    """Somebody who is known by signatures only."""
    return Sender(dkim_domains=domains)


def by_spf(localpart: str, domain: str) -> Sender:
    """Somebody who is known by SPF only."""
    return Sender(spf_localpart=localpart, spf_domain=domain)


def near(ip: str) -> Sender:
    """Somebody who is known by the client's address only."""
    return Sender(ip=ip)


def past(*messages: tuple[Sender, bool | None], age: int = DAY) -> FakeReputation:
    """A memory; the first message is the newest, each a minute older than the one before."""
    return FakeReputation([Remembered(s, junk, NOW - age - 60 * i) for i, (s, junk) in enumerate(messages)])


HAM, JUNK = False, True
NOTHING = (Reason.NONE, None, False)

#: (what it is, who asks, the past, method, junk, conclusive)
TABLE: list[tuple[str, Sender, FakeReputation, tuple[Reason, bool | None, bool]]] = [
    ("no past", MARY, past(), NOTHING),
    ("a past without flags", MARY, past((MARY, None)), NOTHING),
    ("another mailbox", MARY, past((evolve(MARY, origin="Lists"), HAM)), NOTHING),
    # msgfromfull, proved
    ("one good", MARY, past((MARY, HAM)), (Reason.MSGFROMFULL, HAM, True)),
    ("one junk", MARY, past((MARY, JUNK)), (Reason.MSGFROMFULL, JUNK, True)),
    ("the newest good", MARY, past((MARY, HAM), (MARY, JUNK)), (Reason.MSGFROMFULL, HAM, True)),
    ("the newest junk", MARY, past((MARY, JUNK), (MARY, HAM)), (Reason.MSGFROMFULL, HAM, True)),
    ("both junk", MARY, past((MARY, JUNK), (MARY, JUNK)), (Reason.MSGFROMFULL, JUNK, True)),
    (
        "only the two newest count",
        MARY,
        past((MARY, JUNK), (MARY, JUNK), (MARY, HAM)),
        (Reason.MSGFROMFULL, JUNK, True),
    ),
    ("a little less than three years", MARY, past((MARY, HAM), age=3 * YEAR - DAY), (Reason.MSGFROMFULL, HAM, True)),
    ("more than three years", MARY, past((MARY, HAM), age=3 * YEAR + DAY), NOTHING),
    # msgfromfull, not proved
    ("not proved, as before, good", FORGED, past((FORGED, HAM)), (Reason.MSGFROMFULL, HAM, False)),
    ("not proved, as before, junk", FORGED, past((FORGED, JUNK)), (Reason.MSGFROMFULL, JUNK, False)),
    ("not proved, was before, good", FORGED, past((MARY, HAM)), (Reason.MSGFROMFULL, JUNK, False)),
    ("not proved, was before, junk", FORGED, past((MARY, JUNK)), (Reason.MSGFROMFULL, JUNK, True)),
    (
        "not proved, was before, junk and good",
        FORGED,
        past((MARY, JUNK), (MARY, HAM)),
        (Reason.MSGFROMFULL, JUNK, False),
    ),
    # msgtofull
    (
        "the account wrote there",
        MARY,
        FakeReputation([], [("mary@news.a.example", "", "", NOW - 3 * YEAR + DAY)]),
        (Reason.MSGTOFULL, HAM, True),
    ),
    (
        "the account wrote there long ago",
        MARY,
        FakeReputation([], [("mary@news.a.example", "", "", NOW - 3 * YEAR - DAY)]),
        NOTHING,
    ),
    # msgfromdomain
    (
        "more than 80 % good",
        MARY,
        past(*[(colleague("x"), HAM)] * 5, (colleague("y"), JUNK)),
        (Reason.MSGFROMDOMAIN, HAM, True),
    ),
    (
        "80 % good",
        MARY,
        past(*[(colleague("x"), HAM)] * 4, (colleague("y"), JUNK)),
        (Reason.MSGFROMDOMAIN, None, False),
    ),
    (
        "all junk of two",
        MARY,
        past((colleague("x"), JUNK), (colleague("y"), JUNK)),
        (Reason.MSGFROMDOMAIN, JUNK, False),
    ),
    (
        "all junk of three",
        MARY,
        past(*[(colleague(x), JUNK) for x in "xyz"]),
        (Reason.MSGFROMDOMAIN, JUNK, True),
    ),
    (
        "the twenty newest count",
        MARY,
        past(*[(colleague("x"), HAM)] * 20, *[(colleague(x), JUNK) for x in "uvwxyz"]),
        (Reason.MSGFROMDOMAIN, HAM, True),
    ),
    ("more than two years", MARY, past((colleague("x"), HAM), age=2 * YEAR + DAY), NOTHING),
    (
        "domain not proved, as before",
        FORGED,
        past((colleague("x", validated=False), HAM)),
        (Reason.MSGFROMDOMAIN, HAM, True),
    ),
    ("domain not proved, was before, good", FORGED, past((colleague("x"), HAM)), (Reason.MSGFROMDOMAIN, JUNK, False)),
    ("domain not proved, was before, junk", FORGED, past((colleague("x"), JUNK)), (Reason.MSGFROMDOMAIN, JUNK, True)),
    # msgtodomain
    (
        "the account wrote to the domain",
        MARY,
        FakeReputation([Remembered(cousin("x"), JUNK)], [("", "news.a.example", "", NOW - 2 * YEAR + DAY)]),
        (Reason.MSGTODOMAIN, HAM, True),
    ),
    # msgfromorgdomain, msgtoorgdomain
    ("the organization, good", MARY, past((cousin("x"), HAM)), (Reason.MSGFROMORGDOMAIN, HAM, True)),
    ("the organization, junk", MARY, past((cousin("x"), JUNK)), (Reason.MSGFROMORGDOMAIN, JUNK, False)),
    (
        "the account wrote to the organization",
        MARY,
        FakeReputation([Remembered(signed("a.example"), JUNK)], [("", "", "a.example", NOW - DAY)]),
        (Reason.MSGTOORGDOMAIN, HAM, True),
    ),
    # dkimspf
    ("one domain good", MARY, past((signed("a.example"), HAM)), (Reason.DKIMSPF, HAM, True)),
    ("one domain junk", MARY, past((signed("a.example"), JUNK)), (Reason.DKIMSPF, JUNK, False)),
    ("one domain junk twice", MARY, past(*[(signed("a.example"), JUNK)] * 2), (Reason.DKIMSPF, JUNK, True)),
    (
        "one good, one junk",
        MARY,
        past((signed("a.example"), HAM), (signed("esp.example"), JUNK)),
        (Reason.DKIMSPF, None, False),
    ),
    (
        "one good, one mixed",
        MARY,
        past((signed("a.example"), HAM), (signed("esp.example"), JUNK), (signed("esp.example"), HAM)),
        (Reason.DKIMSPF, HAM, True),
    ),
    (
        "all mixed",
        MARY,
        past((signed("a.example"), HAM), (signed("a.example"), JUNK)),
        (Reason.DKIMSPF, None, False),
    ),
    ("a tenth junk is not good", MARY, past(*[(signed("a.example"), HAM)] * 9, (signed("a.example"), JUNK)),
     (Reason.DKIMSPF, None, False)),
    ("sender of the envelope", MARY, past((by_spf("bounce", "esp.example"), HAM)), (Reason.DKIMSPF, HAM, True)),
    (
        "that sender before others of the domain",
        MARY,
        past((by_spf("other", "esp.example"), JUNK), (by_spf("bounce", "esp.example"), HAM)),
        (Reason.DKIMSPF, HAM, True),
    ),
    ("domain of the envelope", MARY, past((by_spf("other", "esp.example"), HAM)), (Reason.DKIMSPF, HAM, True)),
    ("name in EHLO", MARY, past((Sender(helo_domain="mx.esp.example"), HAM)), (Reason.DKIMSPF, HAM, True)),
    ("more than half a year", MARY, past((signed("a.example"), HAM), age=183 * DAY), NOTHING),
    # ip1, ip2, ip3
    ("address, one", STRANGER, past((near("192.0.2.1"), HAM)), (Reason.IP1, HAM, False)),
    ("address, two", STRANGER, past(*[(near("192.0.2.1"), HAM)] * 2), (Reason.IP1, HAM, True)),
    ("address, two junk", STRANGER, past(*[(near("192.0.2.1"), JUNK)] * 2), (Reason.IP1, JUNK, True)),
    (
        "address, one of two",
        STRANGER,
        past((near("192.0.2.1"), HAM), (near("192.0.2.1"), JUNK)),
        (Reason.IP1, None, False),
    ),
    (
        "address, one of five junk",
        STRANGER,
        past(*[(near("192.0.2.1"), HAM)] * 4, (near("192.0.2.1"), JUNK)),
        (Reason.IP1, HAM, False),
    ),
    (
        "address, one of ten junk",
        STRANGER,
        past(*[(near("192.0.2.1"), HAM)] * 9, (near("192.0.2.1"), JUNK)),
        (Reason.IP1, HAM, True),
    ),
    (
        "address, one of five good",
        STRANGER,
        past(*[(near("192.0.2.1"), JUNK)] * 4, (near("192.0.2.1"), HAM)),
        (Reason.IP1, JUNK, False),
    ),
    (
        "address, a quarter junk",
        STRANGER,
        past(*[(near("192.0.2.1"), HAM)] * 3, (near("192.0.2.1"), JUNK)),
        (Reason.IP1, None, False),
    ),
    ("network, four", STRANGER, past(*[(near("192.0.2.9"), HAM)] * 4), (Reason.IP2, HAM, False)),
    ("network, five", STRANGER, past(*[(near("192.0.2.9"), JUNK)] * 5), (Reason.IP2, JUNK, True)),
    ("wider network, nine", STRANGER, past(*[(near("192.0.3.9"), HAM)] * 9), (Reason.IP3, HAM, False)),
    ("wider network, ten", STRANGER, past(*[(near("192.0.3.9"), JUNK)] * 10), (Reason.IP3, JUNK, True)),
    ("beyond it", STRANGER, past(*[(near("192.0.9.9"), JUNK)] * 10), NOTHING),
    ("the narrowest with a past", STRANGER, past((near("192.0.2.1"), HAM), *[(near("192.0.2.9"), JUNK)] * 5),
     (Reason.IP1, HAM, False)),
    ("more than a quarter of a year", STRANGER, past(*[(near("192.0.2.1"), HAM)] * 2, age=92 * DAY), NOTHING),
    # the order
    (
        "the author before the domain",
        MARY,
        past((MARY, HAM), *[(colleague(x), JUNK) for x in "xyz"]),
        (Reason.MSGFROMFULL, HAM, True),
    ),
    (
        "the domain before the organization",
        MARY,
        past((colleague("x"), HAM), *[(cousin(x), JUNK) for x in "xyz"]),
        # All three are of the organization, but the domain of the first decides.
        (Reason.MSGFROMDOMAIN, HAM, True),
    ),
    (
        "the organization before signatures",
        MARY,
        past((cousin("x"), HAM), *[(signed("a.example"), JUNK)] * 3),
        (Reason.MSGFROMORGDOMAIN, HAM, True),
    ),
    (
        "signatures before addresses",
        MARY,
        past((signed("a.example"), HAM), *[(near("192.0.2.1"), JUNK)] * 3),
        (Reason.DKIMSPF, HAM, True),
    ),
]  # fmt: skip


class Table(SynchronousTestCase):
    """Each row: a past, and what it says."""

    def test_rows(self) -> None:
        """Each past says what the table has."""
        for what, sender, memory, expected in TABLE:
            found = reputation(memory, Question("INBOX", sender, NOW))
            self.assertEqual((found.method, found.junk, found.conclusive), expected, what)
            self.assertTrue(found.why, what)

    def test_every_method(self) -> None:
        """The table has each method."""
        methods = {expected[0] for *_, expected in TABLE}
        self.assertEqual(methods, {r for r in Reason if r.startswith(("msgfrom", "msgto", "ip"))} - {Reason.IPREV}
                         | {Reason.DKIMSPF, Reason.NONE})  # fmt: skip

    def test_bounded(self) -> None:
        """What is asked of a past that says nothing is two questions: the address, and everything else."""
        memory = past(*[(near("203.0.113.1"), HAM)] * 50)
        memory.glanced = 0
        reputation(memory, Question("INBOX", MARY, NOW))
        self.assertEqual((memory.asked, memory.glanced), (1, 1))


senders = st.builds(
    Sender,
    localpart=st.sampled_from(["", "a", "b"]),
    domain=st.sampled_from(["", "x.example", "y.example"]),
    organizational_domain=st.sampled_from(["", "example"]),
    validated=st.booleans(),
    dkim_domains=st.lists(st.sampled_from(["x.example", "z.example"]), max_size=2).map(tuple),
    spf_localpart=st.sampled_from(["", "a"]),
    spf_domain=st.sampled_from(["", "x.example"]),
    helo_domain=st.sampled_from(["", "mx.example"]),
    ip=st.sampled_from(["", "192.0.2.1", "192.0.2.2", "2001:db8::1", "junk"]),
    origin=st.sampled_from(["INBOX", "Lists"]),
)
memories = st.builds(
    FakeReputation,
    st.lists(
        st.builds(
            Remembered, senders, st.sampled_from([True, False, None]), st.integers(NOW - 4 * YEAR, NOW)
        ),
        max_size=30,
    ),
    st.lists(
        st.tuples(
            st.sampled_from(["a@x.example", ""]),
            st.sampled_from(["x.example", ""]),
            st.just("example"),
            st.integers(NOW - 4 * YEAR, NOW),
        ),
        max_size=2,
    ),
)


class Anything(SynchronousTestCase):
    """Whatever the past is."""

    @settings(max_examples=150)
    @given(memories, senders)
    def test_known_word(self, memory: FakeReputation, sender: Sender) -> None:
        """The answer is a method, and what is conclusive says which."""
        found = reputation(memory, Question("INBOX", sender, NOW))
        self.assertIsInstance(found.method, Reason)
        if found.conclusive:
            self.assertIsNotNone(found.junk)
