"""Proofs of absence, against a model of a zone: what is not there is proved, what is there never."""

from __future__ import annotations

import base64

import dns.dnssec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.denial import Cut, Denial, Proof
from moxtwisted.dns.names import ancestors, labels
from moxtwisted.dns.records import NSEC, NSEC3

A, NS, CNAME, SOA, MX, DNAME, DS = 1, 2, 5, 6, 15, 39, 43

ZONE = "example"
NAMES = {
    "example": {NS, SOA, MX},
    "a.example": {A},
    "b.c.example": {A, MX},
    "*.w.example": {MX},
    "x.w.example": {A},
    "alias.example": {CNAME},
    "signed.example": {NS, DS},
    "unsigned.example": {NS},
    "moved.example": {DNAME},
    "z.example": {A},
}


def chain(names: dict[str, set[int]]) -> Denial:
    """All NSEC records of a zone."""
    ordered = sorted(names, key=lambda name: labels(name)[::-1])
    following = [*ordered[1:], ordered[0]]
    return Denial(
        ZONE,
        [(name, NSEC(after, frozenset(names[name]))) for name, after in zip(ordered, following, strict=True)],
        [],
    )


def hashed(
    names: dict[str, set[int]], *, opt_out: bool = False, iterations: int = 2, salt: bytes = b"\xaa\xbb"
) -> Denial:
    """All NSEC3 records of a zone; with opt-out, without those of unsigned delegations."""
    types: dict[str, frozenset[int]] = {}
    for name, found in names.items():
        if opt_out and NS in found and not found & {DS, SOA}:
            continue
        for above in ancestors(name):
            if above.endswith(ZONE):
                types.setdefault(above, frozenset())
        types[name] = frozenset(found)
    digests = sorted((dns.dnssec.nsec3_hash(name, salt, iterations, 1).lower(), name) for name in types)
    following = [*digests[1:], digests[0]]
    return Denial(
        ZONE,
        [],
        [
            (
                f"{digest}.{ZONE}",
                NSEC3(
                    1,
                    int(opt_out),
                    iterations,
                    salt,
                    base64.b32hexdecode(after.upper()),
                    types[name],
                ),
            )
            for (digest, name), (after, _) in zip(digests, following, strict=True)
        ],
    )


QUERIES = st.builds(
    lambda parts: ".".join([*parts, ZONE]),
    st.lists(st.sampled_from(["a", "b", "c", "w", "x", "z", "*", "alias", "0", "zz"]), max_size=3),
)


class ModelTests(SynchronousTestCase):
    def expected(self, name: str, code: int) -> tuple[Proof, Proof]:
        """What ``no_name`` and ``no_type`` must say."""
        existing = {above for known in NAMES for above in ancestors(known)}
        if name in existing:
            types = NAMES.get(name, set())
            return Proof.NONE, Proof.NONE if types & {code, CNAME} else Proof.PROVED
        encloser = next(above for above in ancestors(name) if above in existing)
        wildcard = NAMES.get(f"*.{encloser}")
        if wildcard is None:
            return Proof.PROVED, Proof.NONE
        return Proof.NONE, Proof.NONE if code in wildcard else Proof.PROVED

    @given(QUERIES, st.sampled_from([A, MX]))
    @settings(max_examples=200)
    def test_whole_chain(self, name: str, code: int) -> None:
        """With every record of the zone, each absence is proved and no presence is denied, in both ways."""
        for denial in (chain(NAMES), hashed(NAMES), hashed(NAMES, iterations=0, salt=b"")):
            self.assertEqual((denial.no_name(name), denial.no_type(name, code)), self.expected(name, code))

    @given(QUERIES, st.sets(st.integers(0, 12)))
    @settings(max_examples=200)
    def test_part_of_it(self, name: str, kept: set[int]) -> None:
        """With some of the records less may be proved, and nothing that is wrong."""
        for whole in (chain(NAMES), hashed(NAMES)):
            part = Denial(
                ZONE,
                [entry for index, entry in enumerate(whole.nsecs) if index in kept],
                [entry for index, entry in enumerate(whole.nsec3s) if index in kept],
            )
            for found, true in zip(
                (part.no_name(name), part.no_type(name, A)), self.expected(name, A), strict=True
            ):
                self.assertIn(found, {Proof.NONE, true})


class BorderTests(SynchronousTestCase):
    def test_delegations(self) -> None:
        """Of what is below a delegation or a DNAME the zone proves nothing, and of the delegation itself only about DS."""
        for denial in (chain(NAMES), hashed(NAMES)):
            for name in ("x.signed.example", "x.unsigned.example", "x.moved.example", "x.y.signed.example"):
                self.assertIs(denial.no_name(name), Proof.NONE, name)
                self.assertIs(denial.no_type(name, MX), Proof.NONE, name)
            self.assertIs(denial.no_type("unsigned.example", DS), Proof.PROVED)
            self.assertIs(denial.no_type("unsigned.example", MX), Proof.NONE)
            self.assertIs(denial.no_type("signed.example", DS), Proof.NONE)
            # The apex of the child is not what the parent is asked about.
            self.assertIs(denial.no_type("example", DS), Proof.NONE)

    def test_cuts(self) -> None:
        """A delegation without DS is told from a name inside the zone, and neither is made of a lack of proof."""
        for denial in (chain(NAMES), hashed(NAMES)):
            for name, cut in (
                ("unsigned.example", Cut.INSECURE),
                ("signed.example", Cut.NONE),
                ("a.example", Cut.INSIDE),
                ("c.example", Cut.INSIDE),
                ("no.example", Cut.INSIDE),
                ("example", Cut.NONE),
            ):
                self.assertIs(denial.cut(name), cut, name)
        self.assertIs(Denial(ZONE, [], []).cut("a.example"), Cut.NONE)

    def test_opt_out(self) -> None:
        """In a span with opt-out, a name may be an unsigned delegation."""
        denial = hashed(NAMES, opt_out=True)
        self.assertIs(denial.cut("unsigned.example"), Cut.INSECURE)
        self.assertIs(denial.no_name("no.example"), Proof.OPT_OUT)
        self.assertIs(denial.no_type("unsigned.example", DS), Proof.OPT_OUT)
        self.assertIs(denial.no_type("a.example", MX), Proof.PROVED)
        self.assertIs(denial.no_closer("y.w.example", 2), Proof.OPT_OUT)

    def test_wildcards(self) -> None:
        """A wildcard was rightly used where nothing closer is."""
        for denial in (chain(NAMES), hashed(NAMES)):
            self.assertIs(denial.no_closer("y.w.example", 2), Proof.PROVED)
            self.assertIs(denial.no_closer("x.w.example", 2), Proof.NONE)
            self.assertIs(denial.no_closer("y.x.w.example", 2), Proof.NONE)

    def test_iterations(self) -> None:
        """More iterations than 100 are not computed."""
        self.assertFalse(hashed(NAMES, iterations=100).too_costly)
        self.assertTrue(hashed(NAMES, iterations=101).too_costly)

    def test_foreign(self) -> None:
        """Records of another zone, algorithm or shape are left out."""
        good = hashed(NAMES)
        owner, nsec3 = good.nsec3s[0]
        for entry in (
            (owner.replace(ZONE, "other"), nsec3),
            ("nonsense." + ZONE, nsec3),
            ("!" * 32 + "." + ZONE, nsec3),
            (owner, NSEC3(2, 0, 2, b"", bytes(20), frozenset())),
            (owner, NSEC3(1, 2, 2, b"", bytes(20), frozenset())),
            (owner, NSEC3(1, 0, 2, b"", bytes(19), frozenset())),
        ):
            denial = Denial(ZONE, [], [entry])
            self.assertIs(denial.no_name("no.example"), Proof.NONE)
            self.assertFalse(denial.too_costly)
