"""The published suite of RFC 7208, in ../shared/vectors/spf: 203 questions with the answers they may have."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.dns.records import MX
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.spf.evaluation import Evaluator, SPFResult

SUITE = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "spf" / "rfc7208-tests.yml"


def records(entries: list[Any]) -> dict[str, list[Any] | Exception]:
    """What stands at a name, by type."""
    found: dict[str, list[Any] | Exception] = {}
    texts: dict[str, list[bytes]] = {"SPF": [], "TXT": []}
    for entry in entries:
        if entry == "TIMEOUT":
            found["*"] = NoAnswerError("", "", "time-out")
            continue
        for rrtype, value in entry.items():
            if rrtype in texts:
                strings = value if isinstance(value, list) else [value]
                texts[rrtype].append("".join(strings).encode("latin-1"))
            elif rrtype == "MX":
                found.setdefault("MX", []).append(MX(int(value[0]), value[1].rstrip(".") or "."))  # type: ignore[union-attr]
            else:
                found.setdefault(rrtype, []).append(value)  # type: ignore[union-attr]
    # The records of the obsolete type SPF are those of type TXT, unless there are some.
    chosen = [text for text in texts["TXT"] or texts["SPF"] if text != b"NONE"]
    if chosen:
        found["TXT"] = list(chosen)
    return found


def zone(data: dict[str, list[Any]]) -> ZoneResolver:
    """A resolver for the zone data of a scenario."""
    return ZoneResolver(
        {
            (str(name), rrtype): value
            for name, entries in data.items()
            for rrtype, value in records(entries or []).items()
        }
    )


class PublishedTests(SynchronousTestCase):
    """All scenarios of the suite."""

    def scenarios(self) -> list[dict[str, Any]]:
        """The documents of the suite."""
        if not SUITE.exists():
            raise SkipTest(f"needs {SUITE}")
        try:
            import yaml
        except ImportError as e:
            raise SkipTest("needs PyYAML (in the extra [dev])") from e
        return [document for document in yaml.safe_load_all(SUITE.read_text()) if document]

    def ask(self, resolver: ZoneResolver, test: dict[str, Any]) -> SPFResult:
        """The result for a question of the suite."""
        evaluator = Evaluator(resolver, Clock())
        return self.successResultOf(
            Deferred.fromCoroutine(
                evaluator.check_mail_from(
                    ip_address(str(test["host"])), str(test["mailfrom"] or ""), str(test["helo"])
                )
            )
        )

    def test_every_answer_is_one_of_those_allowed(self) -> None:
        """The verdicts and explanations on all 203 questions are those of the suite."""
        wrong, number = [], 0
        for scenario in self.scenarios():
            resolver = zone(scenario["zonedata"])
            for name, test in scenario["tests"].items():
                number += 1
                result = self.ask(resolver, test)
                allowed = test["result"] if isinstance(test["result"], list) else [test["result"]]
                if result.verdict.value not in allowed:
                    wrong.append(f"{name}: {result} instead of {allowed}")
                text = test.get("explanation")
                if text is not None and (result.explanation or "DEFAULT") != text:
                    wrong.append(f"{name}: {result.explanation!r} instead of {text!r}")
        self.assertEqual("\n".join(wrong), "")
        self.assertEqual(number, 203)
