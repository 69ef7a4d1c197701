"""Reports about TLS on the way to us (RFC 8460 section 4): the JSON.

::

    report = read_tls_report(octets)           # TLSReport; ReportError says what is wrong
    report.policies[0].failures[0].result      # "certificate-expired"

Numbers in quotes or with a decimal point, one host where a list belongs, null for nothing and members that nobody knows are taken.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from typing import Final

import msgspec
from attrs import frozen

from moxtwisted.identifiers import Domain, IdentifierError
from moxtwisted.mailauth.reports.errors import ReportError

__all__ = ["MAX_TLS_OCTETS", "TLSFailure", "TLSPolicy", "TLSReport", "read_tls_report", "reading_tls"]

#: Of the JSON: it is parsed in one go, in two milliseconds. A report about a domain has a few kilobytes.
MAX_TLS_OCTETS: Final = 1024 * 1024
_MAX_POLICIES: Final = 1000
_MAX_FAILURES: Final = 10_000
_MAX_LIST: Final = 100
#: Of failures that are read in one step.
_BATCH: Final = 500
#: The same of policies, which may have a hundred texts each.
_POLICIES: Final = 20
_MAX_TEXT: Final = 1000
_MAX_COUNT: Final = 10**15
#: The year 9999, which is the last that can be shown; a time with a zone may be beyond.
_MAX_SECONDS: Final = 253_402_300_799


@frozen(kw_only=True)
class TLSFailure:
    """Sessions that failed alike.

    :ivar result: a word of RFC 8460 section 4.3, or a later one.
    """

    result: str
    sessions: int
    sending_ip: str = ""
    receiving_host: str = ""
    receiving_helo: str = ""
    receiving_ip: str = ""
    information: str = ""
    reason: str = ""


@frozen(kw_only=True)
class TLSPolicy:
    """How sessions to a domain fared by one policy.

    :ivar type: ``sts``, ``tlsa``, ``no-policy-found``, or a later one.
    :ivar domain: A-labels; as it was written when it is no domain.
    """

    type: str
    domain: str
    strings: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    successful: int = 0
    failed: int = 0
    failures: tuple[TLSFailure, ...] = ()


@frozen(kw_only=True)
class TLSReport:
    """A report.

    :ivar organization: who sends it.
    :ivar begin: of the time that it is about, seconds since 1970.
    :ivar end: the same.
    """

    organization: str
    report_id: str
    begin: int
    end: int
    policies: tuple[TLSPolicy, ...]
    contact: str = ""

    @property
    def domains(self) -> tuple[str, ...]:
        """Whom it is about, mostly one; none when it has no policies."""
        return tuple(dict.fromkeys(policy.domain for policy in self.policies))

    @property
    def sessions(self) -> int:
        """All of them."""
        return sum(policy.successful + policy.failed for policy in self.policies)

    @property
    def failed(self) -> int:
        """Those that failed."""
        return sum(policy.failed for policy in self.policies)


# -- as it is written ----------------------------------------------------------------------------------------------

_Number = int | float | str | None
_Texts = list[str | None] | str | None


class _Dates(msgspec.Struct, rename="kebab"):
    start_datetime: str
    end_datetime: str


class _Policy(msgspec.Struct, rename="kebab"):
    policy_domain: str
    policy_type: str | None = None
    policy_string: _Texts = None
    mx_host: _Texts = None


class _Summary(msgspec.Struct, rename="kebab"):
    total_successful_session_count: _Number = 0
    total_failure_session_count: _Number = 0


class _Failure(msgspec.Struct, rename="kebab"):
    result_type: str | None = None
    sending_mta_ip: str | None = None
    receiving_mx_hostname: str | None = None
    receiving_mx_helo: str | None = None
    receiving_ip: str | None = None
    failed_session_count: _Number = 0
    additional_information: str | None = None
    failure_reason_code: str | int | None = None


class _PolicyReport(msgspec.Struct, rename="kebab"):
    policy: _Policy
    summary: _Summary | None = None
    failure_details: list[_Failure | None] | None = None


class _Report(msgspec.Struct, rename="kebab"):
    date_range: _Dates
    report_id: str
    policies: list[_PolicyReport]
    organization_name: str | None = None
    contact_info: str | None = None


_DECODER: Final = msgspec.json.Decoder(_Report)


def read_tls_report(octets: bytes) -> TLSReport:
    """Read one.

    :raises ReportError: when it is none, or larger than ``MAX_TLS_OCTETS``.
    """
    steps = reading_tls(octets)
    while True:
        try:
            next(steps)
        except StopIteration as e:
            report: TLSReport = e.value
            return report


def reading_tls(octets: bytes) -> Generator[None, None, TLSReport]:
    """The same in steps of two milliseconds at most; the report is what the generator returns.

    :raises ReportError: while it is run.
    """
    if len(octets) > MAX_TLS_OCTETS:
        raise ReportError(f"JSON of more than {MAX_TLS_OCTETS} octets")
    try:
        found = _DECODER.decode(octets.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as e:
        raise ReportError(f"not the JSON of a report: {_text(str(e))}") from None
    if len(found.policies) > _MAX_POLICIES:
        raise ReportError(f"more than {_MAX_POLICIES} policies")
    if sum(len(policy.failure_details or ()) for policy in found.policies) > _MAX_FAILURES:
        raise ReportError(f"more than {_MAX_FAILURES} kinds of failures")
    begin = _seconds(found.date_range.start_datetime, "start-datetime")
    end = _seconds(found.date_range.end_datetime, "end-datetime")
    if end < begin:
        raise ReportError("it ends before it begins")
    organization = _text(found.organization_name) or _text(found.contact_info)
    if not _text(found.report_id) or not organization:
        raise ReportError("no report-id, or neither organization-name nor contact-info")
    policies = []
    done = 0
    for policy in found.policies:
        failures: list[TLSFailure] = []
        for one in policy.failure_details or ():
            if one is not None:
                failures.append(_failure(one))
            done += 1
            if not done % _BATCH:
                yield
        policies.append(_policy(policy, tuple(failures)))
        if not len(policies) % _POLICIES:
            yield
    return TLSReport(
        organization=organization,
        report_id=_text(found.report_id),
        begin=begin,
        end=end,
        policies=tuple(policies),
        contact=_text(found.contact_info),
    )


def _policy(found: _PolicyReport, failures: tuple[TLSFailure, ...]) -> TLSPolicy:
    summary = found.summary or _Summary()
    policy = found.policy
    return TLSPolicy(
        type=_text(policy.policy_type).lower(),
        domain=_domain(_text(policy.policy_domain)),
        strings=_texts(policy.policy_string),
        hosts=_texts(policy.mx_host),
        successful=_number(summary.total_successful_session_count, "total-successful-session-count"),
        failed=_number(summary.total_failure_session_count, "total-failure-session-count"),
        failures=failures,
    )


def _failure(found: _Failure) -> TLSFailure:
    return TLSFailure(
        result=_text(found.result_type).lower(),
        sessions=_number(found.failed_session_count, "failed-session-count"),
        sending_ip=_text(found.sending_mta_ip),
        receiving_host=_text(found.receiving_mx_hostname),
        receiving_helo=_text(found.receiving_mx_helo),
        receiving_ip=_text(found.receiving_ip),
        information=_text(found.additional_information),
        reason=_text(str(found.failure_reason_code or "")),
    )


def _text(text: str | None) -> str:
    return " ".join((text or "")[:_MAX_TEXT].split())


def _texts(found: _Texts) -> tuple[str, ...]:
    several = found if isinstance(found, list) else [found]
    return tuple(_text(one) for one in several[:_MAX_LIST] if one)


def _domain(text: str) -> str:
    """RFC 8460 section 4.4: A-labels; some write a dot at its end."""
    try:
        return Domain.parse(text.rstrip(".")).ascii
    except IdentifierError:
        return text


def _number(found: _Number, what: str) -> int:
    try:
        number = int(float(found or 0)) if not isinstance(found, int) else found
    except (ValueError, OverflowError):
        number = -1
    if not 0 <= number <= _MAX_COUNT:
        raise ReportError(f"{what}: {str(found)[:50]!r} found, a number expected")
    return number


def _seconds(text: str, what: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip().upper())
        # RFC 3339 section 4.4: a time without its zone is none; here it can only be that of RFC 8460 section 4.1.
        seconds = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        seconds = -1
    if not 0 <= seconds <= _MAX_SECONDS:
        raise ReportError(f"{what}: {text[:50]!r} found, a time expected")
    return int(seconds)
