"""The published suite of ARC (../shared/vectors/arc): 171 validation tests and 17 signing tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.arc import Chain, ChainStatus, SealRules, seal, validate
from moxtwisted.mailauth.authres import authserv_id
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.keys import SigningKey
from moxtwisted.mailauth.dkim.tags import TagList
from moxtwisted.mailauth.inflow import HashedMessage, MessageHasher

SUITE = Path(__file__).resolve().parent.parent.parent.parent / "shared" / "vectors" / "arc"


class Case(NamedTuple):
    """One test of the suite, with what its scenario says."""

    scenario: dict[str, Any]
    name: str
    test: dict[str, Any]

    def hashed(self) -> HashedMessage:
        """The message, whose lines have CRLF on the way."""
        hasher = MessageHasher(also=[BodyForm(Canonicalization.RELAXED)])
        hasher.feed(self.test["message"].encode().replace(b"\n", b"\r\n"))
        return hasher.finish()

    def resolver(self) -> ZoneResolver:
        """The scenario's DNS."""
        records = self.scenario["txt-records"].items()
        return ZoneResolver({(name, "TXT"): [text.encode()] for name, text in records})


def cases(kind: str) -> Iterator[Case]:
    """The tests of a file; of several with one name all, where YAML's rules would leave the last."""
    path = SUITE / f"arc-draft-{kind}-tests.yml"
    if not path.exists():
        raise SkipTest(f"{path} is not here")
    try:
        import yaml
    except ImportError as e:
        raise SkipTest(f"PyYAML is not installed: {e}") from e

    class Loader(yaml.SafeLoader):
        """Keeps what stands twice."""

    def mapping(loader: Any, node: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            while key in found:
                key += " (again)"
            found[key] = loader.construct_object(value_node, deep=True)
        return found

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    for scenario in yaml.load_all(path.read_text(), Loader):
        for name, test in scenario["tests"].items():
            yield Case(scenario, f"{scenario['description']}: {name}", test)


def second_opinion(case: Case) -> Any:
    """What dkimpy makes of a chain."""
    import dkim

    def text(name: bytes, timeout: int = 5) -> bytes:
        found: str = case.scenario["txt-records"].get(name.decode().rstrip("."), "")
        return found.encode()

    status, _, _ = dkim.arc_verify(case.test["message"].encode().replace(b"\n", b"\r\n"), dnsfunc=text)
    return status or b"fail"


class SuiteTests(SynchronousTestCase):
    """Every test of the suite, by name."""

    def judged(self, case: Case) -> Chain:
        """What we make of a message."""
        hashed, resolver = case.hashed(), case.resolver()
        chain: Chain = self.successResultOf(Deferred.fromCoroutine(validate(hashed, resolver)))
        return chain

    def test_validation(self) -> None:
        """All chains come out as the suite says; where it leaves the status open (cv=fail by a sealer), as failed."""
        found = list(cases("validation"))
        for case in found:
            with self.subTest(case.name):
                chain = self.judged(case)
                self.assertEqual(chain.status.value, (case.test["cv"] or "Fail").lower(), chain)
        self.assertEqual(len({case.name.removesuffix(" (again)") for case in found}), 171)

    def sealed(self, case: Case) -> dict[str, Any]:
        """The three fields that we add, by name, and what they say."""
        scenario, test = case.scenario, case.test
        key = SigningKey.from_pem(scenario["domain"], scenario["sel"], scenario["privatekey"].encode())
        hashed = case.hashed()
        ours = [
            re.sub(rb"\r\n(?=[ \t])", b"", raw.partition(b":")[2]).strip()
            for raw, name in hashed.header.fields
            if name == b"authentication-results" and authserv_id(raw.partition(b":")[2]) == test["srv-id"]
        ]
        # Several of ours become one, the name once.
        results = b"; ".join([ours[0], *(value.partition(b";")[2].strip() for value in ours[1:])])
        rules = SealRules(tuple(test["sig-headers"].encode().split(b":")), exactly=True)
        octets = seal(hashed, self.judged(case), results, key, rules, now=float(test["t"]))
        names = {"AAR": rb"ARC-Authentication-Results", "AMS": rb"ARC-Message-Signature", "AS": rb"ARC-Seal"}
        found: dict[str, Any] = {"all": octets.decode().replace("\r\n", "\n")}
        for short, name in names.items():
            match = re.search(name + rb":((?:[^\r]|\r\n[ \t])*)", octets)
            found[short] = match[1] if match else b""
        return found

    def test_signing(self) -> None:
        """Our message signatures are those of the suite to the octet, and our seals verify."""
        found = list(cases("sign"))
        seals = 0
        for case in found:
            with self.subTest(case.name):
                ours = self.sealed(case)
                if not case.test["AMS"]:
                    # A chain that was sealed as failed gets nothing more.
                    self.assertEqual(ours["all"], "")
                    continue
                theirs = TagList.parse(case.test["AMS"].strip().encode())
                mine = TagList.parse(ours["AMS"])
                self.assertEqual(
                    {k: mine.packed(k) for k in mine.values}, {k: theirs.packed(k) for k in theirs.values}
                )
                # The seal covers the folds within our b=, which are not theirs; so it is verified, by us and by dkimpy.
                sealed = Case(
                    case.scenario, case.name, {**case.test, "message": ours["all"] + case.test["message"]}
                )
                expected = ChainStatus.FAIL if case.name.endswith("_fail") else ChainStatus.PASS
                self.assertEqual(self.judged(sealed).status, expected)
                self.assertEqual(second_opinion(sealed), expected.value.encode())
                seals += 1
        self.assertEqual(len(found), 17)
        self.assertEqual(seals, 16)
