"""What verification found crosses, and a judge says the same of it."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

from attrs import evolve, fields
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import moxtwisted.server
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.server.inbound.greylisting import identity
from moxtwisted.server.judgement.interfaces import JunkScore
from moxtwisted.server.judgement.reports import _PROVED
from moxtwisted.server.judgement.rules import AccountRules, DestinationRules, Ruleset, Strictness
from moxtwisted.server.judgement.steps import decide
from moxtwisted.server.receivers.findings import read_verified, write_verified
from moxtwisted.server.receivers.packing import MOST, ShapeError
from moxtwisted.server.verification.fields import verdicts
from moxtwisted.server.verification.interfaces import Verified
from tests.server.judgement.samples import GOOD, FakeSources, case, dkim, run
from tests.server.receivers.crossing import VERIFIED, complete, crossed, far, remainder

#: What an account may want.
STRICTNESS = st.builds(
    Strictness, dmarc=st.sampled_from(("enforce", "strict", "reject-only", "ignore")),
    spf=st.sampled_from(("strict", "strangers", "ignore")),
)  # fmt: skip
RULESETS = st.sampled_from(
    (
        (),
        (Ruleset(verified_domain="a.example", forward=True),),
        (Ruleset(message_from=re.compile("mary"), list_allow_domain="list.example"),),
        (Ruleset(verified_domain="b.example", accept_rejects_to="Rejects"),),
    )
)
DESTINATIONS = st.builds(
    DestinationRules,
    rulesets=RULESETS,
    authentication_required=st.sampled_from(("", "prove it")),
    reports=st.sampled_from((frozenset[str](), frozenset(("dmarc", "tls")))),
)
SCORES = st.sampled_from((None, JunkScore(0.1, significant=True), JunkScore(0.99, significant=True)))

SERVER = pathlib.Path(moxtwisted.server.__file__).parent
#: Those who read what a verifier found, where the accounts are.
READERS = ("judgement", "inbound", "scanners", "reports", "junk")
#: These have it before it crosses.
BEFORE = frozenset(("arrival.py", "handler.py"))
#: Nobody else has attributes that are called so.
NEVER = frozenset(
    (
        "signed_headers", "body_hash", "signed_at", "expires_at", "ttl_seconds", "notes",
        "results_position", "header_form", "method_result",
    )
)  # fmt: skip
#: Attributes of what is called so: of a signature, a key's record, results of DMARC and SPF, and a chain.
NOT_OF = {
    "signature": frozenset(("value",)),
    "record": frozenset(("octets", "key")),
    "dmarc": frozenset(("record",)),
    "spf": frozenset(("chain", "written")),
    "seal": frozenset(("value", "selector", "algorithm", "position")),
}


def attributes() -> Iterator[tuple[str, str, str]]:
    """(file, whose, which) attributes the readers read."""
    for directory in READERS:
        for file in sorted((SERVER / directory).glob("*.py")):
            if file.name in BEFORE:
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Attribute):
                    base = node.value
                    whose = getattr(base, "attr", getattr(base, "id", ""))
                    yield f"{directory}/{file.name}", whose, node.attr


class Findings(SynchronousTestCase):
    """Round trips."""

    @given(VERIFIED)
    @settings(max_examples=200, deadline=None)
    def test_all(self, verified: Verified) -> None:
        """What was found is found on the other side, but for what is said not to cross."""
        self.assertEqual(crossed(verified), remainder(verified))

    @given(VERIFIED)
    @settings(max_examples=100, deadline=None)
    def test_derived(self, verified: Verified) -> None:
        """What is concluded from it, and the words for the log, are the same."""
        there = crossed(verified)
        self.assertEqual(
            [(v.authenticates, v.testing) for v in there.dkim],
            [(v.authenticates, v.testing) for v in verified.dkim],
        )
        for here, other in zip(verified.dkim, there.dkim, strict=True):
            if here.record is not None and other.record is not None:
                for name in ("revoked", "testing", "strict", "for_reports", "for_mail", "for_sha256"):
                    self.assertIs(getattr(other.record, name), getattr(here.record, name), name)
        if verified.sealed is not None:
            assert there.sealed is not None
            self.assertIs(there.sealed.dmarc_pass, verified.sealed.dmarc_pass)
        self.assertEqual(verdicts(there), verdicts(verified))
        if verified.arc is not None and verified.arc.sets:
            assert there.arc is not None
            self.assertEqual(there.arc.method_result(), verified.arc.method_result())

    def test_remembered(self) -> None:
        """What is built of the same octets is the same object, and another verdict is another."""
        here = read_verified(write_verified(GOOD))
        again = read_verified(write_verified(evolve(GOOD, from_validated=False)))
        self.assertIs(here.spf, again.spf)
        self.assertIs(here.dkim[0], again.dkim[0])
        assert GOOD.spf is not None
        other = read_verified(write_verified(evolve(GOOD, spf=evolve(GOOD.spf, mechanism="all"))))
        self.assertNotEqual(other.spf, here.spf)

    def test_endless_length(self) -> None:
        """A signature may say that it covers more octets than there are numbers for."""
        one = dkim("a.example")
        assert one.signature is not None
        form = BodyForm(Canonicalization.SIMPLE, 10**75)
        there = crossed(evolve(GOOD, dkim=(evolve(one, signature=evolve(one.signature, body_form=form)),)))
        assert there.dkim[0].signature is not None
        self.assertEqual(there.dkim[0].signature.body_form.length, MOST)

    def test_no_unicode(self) -> None:
        """Text that is none has question marks in its place."""
        there = crossed(evolve(GOOD, organizational_domain="a\udc80b"))
        self.assertEqual(there, evolve(remainder(GOOD), organizational_domain="a?b"))

    def test_garbage(self) -> None:
        """Octets that are something else are not read."""
        octets = write_verified(GOOD)
        for wrong in (b"", octets[:-1], octets + b"\xc0", octets.replace(b"\xc4", b"\xc5", 1)):
            self.assertRaises(ShapeError, read_verified, wrong)


class Judged(SynchronousTestCase):
    """A judge in another process."""

    @given(VERIFIED, STRICTNESS, DESTINATIONS, SCORES, st.sampled_from((None, True, False)))
    @settings(max_examples=300, deadline=None)
    def test_same(
        self,
        verified: Verified,
        strictness: Strictness,
        destination: DestinationRules,
        junk: JunkScore | None,
        member: bool | None,
    ) -> None:
        """It says the same, in the same words, after having asked the same."""
        message = complete(verified)
        there, _ = far(message)
        self.assertEqual(identity(there.incoming), identity(message.incoming))
        self.assertEqual(there.incoming.author, message.incoming.author)
        for kind, proved in _PROVED.items():
            self.assertEqual(proved(there.incoming.verified), proved(verified), kind)
        rules = AccountRules(destinations={"alice@example.org": destination})
        said = []
        for incoming in (message.incoming, there.incoming):
            sources = FakeSources(junk=junk, member=member)
            decision = run(decide(case(incoming, sources, rules=rules, strictness=strictness)))
            said.append((decision, sources.asked))
        self.assertEqual(said[0], said[1])


class Readers(SynchronousTestCase):
    """Who reads what."""

    def test_what_is_read_crosses(self) -> None:
        """Nobody where the accounts are reads what is left behind: whoever begins to has to let it cross (``findings``)."""
        names = {one.name for one in fields(Verified)}
        found = set()
        for file, whose, which in attributes():
            found.add((whose, which))
            self.assertNotIn(which, NEVER, file)
            self.assertNotIn(which, NOT_OF.get(whose, ()), f"{file} reads {whose}.{which}")
            if whose == "verified":
                self.assertIn(which, names, file)
        # It looks at the right files.
        for known in (
            ("record", "services"),
            ("sealed", "dmarc_pass"),
            ("spf", "identity"),
            ("iprev", "name"),
        ):
            self.assertIn(known, found)
