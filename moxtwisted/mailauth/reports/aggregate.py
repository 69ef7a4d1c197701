"""Aggregate reports of DMARC (RFC 7489 section 7.2 and appendix C): the XML, read while it comes.

::

    reading = AggregateReading()
    for piece in pieces:
        reading.feed(piece)
    report = reading.finish()                  # AggregateReport; ReportError says what is wrong

The parser is the standard library's expat. It resolves nothing from outside, and a document type, where entities would be declared, is
refused; so are tokens, depths and numbers of rows beyond any report. What real senders get wrong and does no harm is taken: any
namespace, no version, elements that nobody knows, times and counts with a decimal point, words in capitals, empty elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, NoReturn
from xml.parsers import expat

from attrs import define, field, frozen

from moxtwisted.identifiers import Domain, IdentifierError
from moxtwisted.mailauth.reports.errors import ReportError

__all__ = [
    "AggregateReading",
    "AggregateReport",
    "AggregateRow",
    "DKIMOutcome",
    "Override",
    "PublishedPolicy",
    "SPFOutcome",
]

MAX_ROWS: Final = 20_000
_MAX_DEPTH: Final = 30
#: Of all rows together: each has some thirty.
_MAX_ELEMENTS: Final = 50 * MAX_ROWS
#: Of a tag, a comment, a declaration: expat before 2.6 begins them anew with each piece.
_MAX_TOKEN_OCTETS: Final = 64 * 1024
_MAX_TEXT: Final = 1000
#: Of results and reasons in a row, and of errors in a report.
_MAX_LIST: Final = 100
_MAX_COUNT: Final = 10**15
#: The year 9999, which is the last that can be shown.
_MAX_SECONDS: Final = 253_402_300_799

_DISPOSITIONS: Final = frozenset(("none", "quarantine", "reject"))
_RESULTS: Final = frozenset(
    ("none", "neutral", "pass", "fail", "softfail", "policy", "temperror", "permerror")
)
#: RFC 7489 appendix C says itself what temperror and permerror are commonly called.
_OTHER_RESULTS: Final = {"unknown": "temperror", "error": "permerror", "hardfail": "fail"}


@frozen
class Override:
    """Why a receiver did not do as the policy says.

    :ivar type: ``forwarded``, ``mailing_list``, …
    """

    type: str
    comment: str = ""


@frozen
class DKIMOutcome:
    """What a signature came to; ``result`` is empty when it is no word of the standard."""

    domain: str
    selector: str = ""
    result: str = ""
    human_result: str = ""


@frozen
class SPFOutcome:
    """What SPF came to; ``scope`` is ``mfrom``, ``helo`` or empty."""

    domain: str
    scope: str = ""
    result: str = ""


@frozen(kw_only=True)
class AggregateRow:
    """Some messages that fared alike.

    :ivar source_ip: of the client that brought them.
    :ivar disposition: what was done: ``none``, ``quarantine``, ``reject``; empty when it is not said.
    :ivar dkim: whether DKIM passed for an aligned domain: ``pass``, ``fail`` or empty.
    :ivar spf: the same of SPF.
    """

    source_ip: IPv4Address | IPv6Address
    count: int
    disposition: str = ""
    dkim: str = ""
    spf: str = ""
    reasons: tuple[Override, ...] = ()
    header_from: str = ""
    envelope_from: str = ""
    envelope_to: str = ""
    dkim_results: tuple[DKIMOutcome, ...] = ()
    spf_results: tuple[SPFOutcome, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether DMARC passed."""
        return "pass" in (self.dkim, self.spf)


@frozen(kw_only=True)
class PublishedPolicy:
    """The record that the receiver found.

    :ivar domain: where; A-labels.
    :ivar percent: None when it is not said.
    """

    domain: str
    dkim_alignment: str = ""
    spf_alignment: str = ""
    policy: str = ""
    subdomain_policy: str = ""
    nonexistent_policy: str = ""
    percent: int | None = None
    failure_options: str = ""


@frozen(kw_only=True)
class AggregateReport:
    """A report.

    :ivar organization: who sends it.
    :ivar begin: of the time that it is about, seconds since 1970.
    :ivar end: the same.
    """

    organization: str
    report_id: str
    begin: int
    end: int
    policy: PublishedPolicy
    rows: tuple[AggregateRow, ...] = ()
    email: str = ""
    contact: str = ""
    errors: tuple[str, ...] = ()
    version: str = ""

    @property
    def domains(self) -> tuple[str, ...]:
        """Whom it is about; one."""
        return (self.policy.domain,)

    @property
    def messages(self) -> int:
        """All that it is about."""
        return sum(row.count for row in self.rows)

    @property
    def failed(self) -> int:
        """Those for which DMARC failed."""
        return sum(row.count for row in self.rows if not row.passed)


_Path = tuple[str, ...]
_METADATA: Final = ("feedback", "report_metadata")
_POLICY: Final = ("feedback", "policy_published")
_RECORD: Final = ("feedback", "record")
_ROW: Final = (*_RECORD, "row")
_EVALUATED: Final = (*_ROW, "policy_evaluated")
_REASON: Final = (*_EVALUATED, "reason")
_IDENTIFIERS: Final = (*_RECORD, "identifiers")
_DKIM: Final = (*_RECORD, "auth_results", "dkim")
_SPF: Final = (*_RECORD, "auth_results", "spf")
#: Elements with text that is kept, by their parents.
_LEAVES: Final[Mapping[_Path, tuple[str, ...]]] = {
    ("feedback",): ("version",),
    _METADATA: ("org_name", "email", "extra_contact_info", "report_id", "error"),
    (*_METADATA, "date_range"): ("begin", "end"),
    _POLICY: ("domain", "adkim", "aspf", "p", "sp", "np", "pct", "fo"),
    _ROW: ("source_ip", "count"),
    _EVALUATED: ("disposition", "dkim", "spf"),
    _REASON: ("type", "comment"),
    # Some write the identities of a row in its identifiers, some beside them.
    _IDENTIFIERS: ("envelope_to", "envelope_from", "header_from"),
    _DKIM: ("domain", "selector", "result", "human_result"),
    _SPF: ("domain", "scope", "result"),
}
_KEPT: Final = frozenset((*parent, name) for parent, names in _LEAVES.items() for name in names)


@define
class AggregateReading:
    """Takes the octets of a report; not to be used for a second one."""

    _parser: Any = field(init=False)
    _fed: int = field(default=0, init=False)
    _path: list[str] = field(factory=list, init=False)
    _text: list[str] | None = field(default=None, init=False)
    _length: int = field(default=0, init=False)
    _count: int = field(default=0, init=False)
    _values: dict[_Path, str] = field(factory=dict, init=False)
    _groups: dict[_Path, list[dict[_Path, str]]] = field(factory=dict, init=False)
    _errors: list[str] = field(factory=list, init=False)
    _head: dict[_Path, str] = field(factory=dict, init=False)
    _rows: list[AggregateRow] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        parser = self._parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.EntityDeclHandler = _refuse_doctype

    def feed(self, octets: bytes) -> None:
        """The next octets. :raises ReportError:"""
        self._fed += len(octets)
        self._parse(octets, final=False)
        if self._fed - max(self._parser.CurrentByteIndex, 0) > _MAX_TOKEN_OCTETS + len(octets):
            raise ReportError("a tag or comment in the XML without end")

    def finish(self) -> AggregateReport:
        """All of it was fed. :raises ReportError: when something is missing or cannot be."""
        self._parse(b"", final=True)
        return _report(self._head, tuple(self._errors), tuple(self._rows))

    def _parse(self, octets: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(octets, final)
        except expat.ExpatError as e:
            raise ReportError(f"not XML: {expat.ErrorString(e.code)}, line {e.lineno}") from None
        except (UnicodeError, LookupError, ValueError) as e:
            raise ReportError(f"not XML: {type(e).__name__}") from None

    # -- what the parser tells -------------------------------------------------------------------------------------

    def _start(self, name: str, attributes: Any) -> None:
        path = self._path
        local = name.rpartition(":")[2]
        if not path and local != "feedback":
            raise ReportError("XML that is not about feedback")
        if len(path) >= _MAX_DEPTH:
            raise ReportError("XML with too many levels")
        self._count += 1
        if self._count > _MAX_ELEMENTS:
            raise ReportError(f"more than {_MAX_ELEMENTS} elements")
        path.append(local)
        self._text = None
        where = tuple(path)
        if where in _KEPT:
            self._text, self._length = [], 0
        elif where == _RECORD:
            if len(self._rows) >= MAX_ROWS:
                raise ReportError(f"more than {MAX_ROWS} rows")
            self._values, self._groups = {}, {}

    def _characters(self, text: str) -> None:
        if self._text is not None and self._length < _MAX_TEXT:
            self._text.append(text[: _MAX_TEXT - self._length])
            self._length += len(text)

    def _end(self, name: str) -> None:
        path = tuple(self._path)
        self._path.pop()
        if self._text is not None:
            text, self._text = _clean("".join(self._text)), None
            self._keep(path, text)
        elif path in (_REASON, _DKIM, _SPF):
            self._end_group(path)
        elif path == _RECORD:
            self._rows.append(_row(self._values, self._groups))

    def _keep(self, path: _Path, text: str) -> None:
        if path[:2] == _RECORD:
            # The first counts, as everywhere where something is there twice.
            self._values.setdefault(path, text)
        elif path == (*_METADATA, "error"):
            if len(self._errors) < _MAX_LIST:
                self._errors.append(text)
        else:
            self._head.setdefault(path, text)

    def _end_group(self, path: _Path) -> None:
        """One of several of its kind in a row."""
        group = {where: self._values.pop(where) for where in list(self._values) if where[:-1] == path}
        groups = self._groups.setdefault(path, [])
        if len(groups) < _MAX_LIST:
            groups.append(group)


def _refuse_doctype(*_: Any) -> NoReturn:
    raise ReportError("XML with a document type, which no report needs")


# -- from texts to values ------------------------------------------------------------------------------------------


def _clean(text: str) -> str:
    return " ".join(text.split())


def _number(text: str, what: str, most: int) -> int:
    """``12``, or ``12.0`` as some write it."""
    whole, _, fraction = text.partition(".")
    if not whole.isascii() or not whole.isdigit() or len(whole) > 20 or fraction.strip("0123456789"):
        raise ReportError(f"{what}: {text[:50]!r} found, a number expected")
    number = int(whole)
    if number > most:
        raise ReportError(f"{what}: {number} is too much")
    return number


def _word(text: str, known: frozenset[str]) -> str:
    word = text.lower()
    word = _OTHER_RESULTS.get(word, word)
    return word if word in known else ""


def _ip(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        raise ReportError(f"source_ip: {text[:50]!r} found, an IP address expected") from None


def _row(values: Mapping[_Path, str], groups: Mapping[_Path, list[dict[_Path, str]]]) -> AggregateRow:
    def value(*path: str) -> str:
        return values.get(path, "")

    def each(path: _Path, make: Callable[..., Any], *names: str) -> tuple[Any, ...]:
        return tuple(
            make(*(group.get((*path, name), "") for name in names)) for group in groups.get(path, ())
        )

    return AggregateRow(
        source_ip=_ip(value(*_ROW, "source_ip")),
        count=_number(value(*_ROW, "count"), "count", _MAX_COUNT),
        disposition=_word(value(*_EVALUATED, "disposition"), _DISPOSITIONS),
        dkim=_word(value(*_EVALUATED, "dkim"), frozenset(("pass", "fail"))),
        spf=_word(value(*_EVALUATED, "spf"), frozenset(("pass", "fail"))),
        reasons=each(_REASON, Override, "type", "comment"),
        header_from=value(*_IDENTIFIERS, "header_from"),
        envelope_from=value(*_IDENTIFIERS, "envelope_from"),
        envelope_to=value(*_IDENTIFIERS, "envelope_to"),
        dkim_results=each(_DKIM, _dkim, "domain", "selector", "result", "human_result"),
        spf_results=each(_SPF, _spf, "domain", "scope", "result"),
    )


def _dkim(domain: str, selector: str, result: str, human: str) -> DKIMOutcome:
    return DKIMOutcome(domain, selector, _word(result, _RESULTS), human)


def _spf(domain: str, scope: str, result: str) -> SPFOutcome:
    return SPFOutcome(domain, _word(scope, frozenset(("helo", "mfrom"))), _word(result, _RESULTS))


def _report(
    head: Mapping[_Path, str], errors: tuple[str, ...], rows: tuple[AggregateRow, ...]
) -> AggregateReport:
    def metadata(*path: str) -> str:
        return head.get((*_METADATA, *path), "")

    begin = _number(metadata("date_range", "begin"), "begin", _MAX_SECONDS)
    end = _number(metadata("date_range", "end"), "end", _MAX_SECONDS)
    if end < begin:
        raise ReportError(f"from {begin} to {end}, which is earlier")
    report_id, organization = metadata("report_id"), metadata("org_name")
    if not report_id or not (organization or metadata("email")):
        raise ReportError("no report_id, or neither org_name nor email")
    return AggregateReport(
        organization=organization or metadata("email"),
        report_id=report_id,
        begin=begin,
        end=end,
        policy=_published(head),
        rows=rows,
        email=metadata("email"),
        contact=metadata("extra_contact_info"),
        errors=errors,
        version=head.get(("feedback", "version"), ""),
    )


def _published(head: Mapping[_Path, str]) -> PublishedPolicy:
    def told(name: str) -> str:
        return head.get((*_POLICY, name), "")

    try:
        domain = Domain.parse(told("domain").rstrip(".")).ascii
    except IdentifierError:
        raise ReportError(f"policy_published: {told('domain')[:100]!r} found, a domain expected") from None
    alignments = frozenset(("r", "s"))
    return PublishedPolicy(
        domain=domain,
        dkim_alignment=_word(told("adkim"), alignments),
        spf_alignment=_word(told("aspf"), alignments),
        policy=_word(told("p"), _DISPOSITIONS),
        subdomain_policy=_word(told("sp"), _DISPOSITIONS),
        nonexistent_policy=_word(told("np"), _DISPOSITIONS),
        percent=_number(told("pct"), "pct", 100) if told("pct") else None,
        failure_options=told("fo"),
    )
