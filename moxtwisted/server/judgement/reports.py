"""Steps for addresses where reports of other servers come in; ``judgement.steps`` has them in their order.

What counts as a report is what its standard wants proved of its sender, can be read, and is about us. The rest is judged as other mail.
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from moxtwisted.mailauth.dkim.verify import Reason as DKIMReason
from moxtwisted.mailauth.dkim.verify import Verification
from moxtwisted.mailauth.dmarc.evaluation import Verdict as DMARCVerdict
from moxtwisted.server.judgement.case import Case, SourceError
from moxtwisted.server.judgement.interfaces import Decision
from moxtwisted.server.judgement.reasons import Reason
from moxtwisted.server.judgement.rulesets import is_below
from moxtwisted.server.verification.interfaces import Verified

if TYPE_CHECKING:
    from moxtwisted.mailauth.reports.message import Report

__all__ = ["look_for_report", "take_report"]

#: How far the clock of a reporter may be ahead, seconds.
_AHEAD: Final = 60
_DOMAINS_SHOWN: Final = 3


def look_for_report(case: Case) -> Awaitable[Decision | None] | None:
    """Step 8: At an address for reports, a message may be one."""
    return _look(case) if case.destination.reports else None


async def _look(case: Case) -> Decision | None:
    kinds = frozenset(kind for kind in case.destination.reports if _PROVED[kind](case.incoming.verified))
    if not kinds:
        wanted = " and ".join(_WANTED[kind] for kind in sorted(case.destination.reports))
        case.say(f"It is taken for no report: {wanted}.")
        return None
    try:
        found = await case.sources.report(kinds)
    except SourceError as e:
        return case.trouble(Reason.REPORT_ERROR, e)
    problem = found if isinstance(found, str) else _problem(case, found)
    if isinstance(found, str) or problem:
        case.say(f"It is taken for no report: {problem[:300]}.")
        return None
    case.report = found
    about = " and ".join(domain for domain in found.domains[:_DOMAINS_SHOWN])
    case.say(
        f"It is a report of {found.organization[:100]} about {about[:200]}, {_time(found.begin)} to {_time(found.end)}."
    )
    return None


def take_report(case: Case) -> Decision | None:
    """Step 13: A report is taken when nothing is known against its sender."""
    return case.accept(Reason.REPORTING) if case.report is not None else None


def _dmarc_proved(verified: Verified) -> bool:
    # RFC 7489 section 7.2.1.1: mail with a report must pass DMARC itself.
    return verified.dmarc is not None and verified.dmarc.verdict is DMARCVerdict.PASS


def _tls_proved(verified: Verified) -> bool:
    return any(_signs_tls_reports(v, verified) for v in verified.dkim)


def _signs_tls_reports(verification: Verification, verified: Verified) -> bool:
    # RFC 8460 section 3: a valid signature by the reporting domain, and none that covers only a part of the body (l=).
    signature, record = verification.signature, verification.record
    if signature is None or signature.body_form.length is not None:
        return False
    if not verification.authenticates and (
        verification.testing or verification.reason is not DKIMReason.KEY_FOR_REPORTS
    ):
        return False
    # RFC 8460 section 3: keys should be for "tlsrpt" (or for everything), and those for something else may be ignored.
    if record is not None and not {"*", "tlsrpt"} & set(record.services):
        return False
    author = verified.author.domain
    return is_below(author, signature.domain) and is_below(signature.domain, verified.organizational_domain)


_PROVED: Final = {"dmarc": _dmarc_proved, "tls": _tls_proved}
_WANTED: Final = {
    "dmarc": "DMARC did not pass for the domain in From",
    "tls": "no signature of the domain in From is good for reports",
}


def _problem(case: Case, report: Report) -> str:
    """Why a report is none for us; or empty."""
    if not any(case.sources.is_ours(domain) for domain in report.domains):
        about = report.domains[0] if report.domains else ""
        return f"it is about {about[:100] or 'no domain'}, which is not here"
    if report.end > case.incoming.seconds + _AHEAD:
        return f"it ends in the future, at {_time(report.end)}"
    return ""


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
