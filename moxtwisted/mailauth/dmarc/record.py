"""DMARC records (RFC 7489 section 6.3; np of RFC 9091; psd and t of the successor).

::

    record = parse_record("v=DMARC1; p=reject; sp=none; rua=mailto:reports@example.com!10m")
    record.policy, record.subdomain_policy     # (Policy.REJECT, Policy.NONE)
    record.aggregate[0].address                # "reports@example.com"
    record.aggregate[0].max_octets             # 10485760

A tag with a value that it cannot have counts as if it were not there (RFC 7489 section 6.3); what was passed over is in ``ignored``.
"""

from __future__ import annotations

import re
from enum import Enum
from urllib.parse import unquote

from attrs import field, frozen

from moxtwisted.errors import MailError

__all__ = ["Alignment", "DMARCRecord", "DMARCSyntaxError", "Policy", "ReportURI", "is_dmarc", "parse_record"]

# Our own limits: a record of 512 octets is long, and RFC 7489 section 6.2 wants two addresses for each kind of report served.
MAX_RECORD_CHARACTERS = 8192
MAX_URIS = 20

# RFC 7489 section 6.4: dmarc-version, in this case and first.
_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_TAG = re.compile(r"[ \t]*([A-Za-z][A-Za-z0-9_]*)[ \t]*=[ \t]*([!-:<-~ \t]*)\Z")
_SIZE = re.compile(r"(.*?)!([0-9]{1,15})([kmgt]?)\Z", re.IGNORECASE)
_MAILTO = re.compile(r"mailto:([^?@\s]+@[^?@\s]+)(?:\?.*)?\Z", re.IGNORECASE)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+\Z")
_NUMBER = re.compile(r"[0-9]{1,10}\Z")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class DMARCSyntaxError(MailError, ValueError):
    """The text is no DMARC record.

    :ivar tag: the tag that is wrong, or empty.
    """

    reply_code = 550
    enhanced_code = "5.7.1"
    public_text = "DMARC record with a syntax error"

    def __init__(self, detail: str, tag: str = "") -> None:
        self.tag = tag
        super().__init__(detail)


class Policy(Enum):
    """RFC 7489 section 6.3: what is asked for, mildest first."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"

    @property
    def milder(self) -> Policy:
        """RFC 7489 section 6.6.4: what is done to the messages that the sample leaves out."""
        return Policy.QUARANTINE if self is Policy.REJECT else Policy.NONE


class Alignment(Enum):
    """RFC 7489 section 3.1: whether a domain must be the one of From, or may share its organisational domain."""

    RELAXED = "r"
    STRICT = "s"


@frozen
class ReportURI:
    """Where reports go.

    :ivar uri: as written, without the limit.
    :ivar max_octets: how large a report may be, or None.
    """

    uri: str
    max_octets: int | None = None

    @property
    def address(self) -> str:
        """The mail address of a mailto URI; empty for others."""
        match = _MAILTO.match(self.uri)
        return unquote(match[1]) if match else ""


@frozen
class DMARCRecord:
    """What a record says, with the defaults of RFC 7489 section 6.3.

    :ivar text: the record.
    :ivar policy: for the domain; None only in a record that lets a stranger's reports in (RFC 7489 section 7.1).
    :ivar subdomain_policy: for the domains below it, if told.
    :ivar nonexistent_policy: for those below it that do not exist, if told (RFC 9091 section 3.2).
    :ivar percent: how many of a hundred failing messages the policy is for.
    :ivar failure_options: ``0``, ``1``, ``d``, ``s``: when a failure report is wanted.
    :ivar interval_seconds: between aggregate reports.
    :ivar psd: ``y`` or ``n`` where the owner says whether this is a public suffix (successor), else ``u``.
    :ivar testing: the policy is being tried out (``t=y``, successor).
    :ivar ignored: tags that were passed over because of their values.
    """

    text: str
    policy: Policy | None
    subdomain_policy: Policy | None = None
    nonexistent_policy: Policy | None = None
    dkim_alignment: Alignment = Alignment.RELAXED
    spf_alignment: Alignment = Alignment.RELAXED
    percent: int = 100
    aggregate: tuple[ReportURI, ...] = ()
    failure: tuple[ReportURI, ...] = ()
    failure_options: frozenset[str] = field(default=frozenset({"0"}))
    interval_seconds: int = 86_400
    psd: str = "u"
    testing: bool = False
    ignored: tuple[str, ...] = ()


def is_dmarc(text: bytes) -> bool:
    """RFC 7489 section 6.6.3: whether a TXT record is one of DMARC."""
    return text[:9] == b"v=DMARC1;" or _VERSION.match(text[:100].decode("ascii", "replace")) is not None


def _tags(text: str, ignored: list[str]) -> dict[str, str]:
    if len(text) > MAX_RECORD_CHARACTERS:
        raise DMARCSyntaxError(f"the record has more than {MAX_RECORD_CHARACTERS} characters")
    if _VERSION.match(text) is None:
        raise DMARCSyntaxError("the record does not begin with v=DMARC1", "v")
    found: dict[str, str] = {}
    for piece in text.split(";"):
        if not piece.strip(" \t"):
            # RFC 6376 section 3.2: a semicolon may be last; some stand there twice.
            continue
        match = _TAG.match(piece)
        if match is None:
            # RFC 7489 section 6.3: an error behind the version is passed over.
            ignored.append(piece.strip(" \t").partition("=")[0].strip(" \t")[:40])
            continue
        name = match[1].lower()
        if name in found:
            # RFC 6376 section 3.2, whose tag lists these are: a tag that is there twice makes the list invalid.
            raise DMARCSyntaxError(f"{name}= stands there twice", name)
        found[name] = match[2].rstrip(" \t")
    return found


def _policy(tags: dict[str, str], name: str, ignored: list[str]) -> Policy | None:
    value = tags.get(name)
    try:
        return None if value is None else Policy(value.lower())
    except ValueError:
        ignored.append(name)
        return None


def _number(tags: dict[str, str], name: str, default: int, ignored: list[str]) -> int:
    maximum = 100 if name == "pct" else 2**32 - 1
    value = tags.get(name, str(default))
    if _NUMBER.match(value) and int(value) <= maximum:
        return int(value)
    ignored.append(name)
    return default


def _choice(tags: dict[str, str], name: str, allowed: str, ignored: list[str]) -> str:
    """One letter; the first is the default."""
    value = tags.get(name, allowed[0]).lower()
    if len(value) == 1 and value in allowed:
        return value
    ignored.append(name)
    return allowed[0]


def _uris(tags: dict[str, str], name: str, ignored: list[str]) -> tuple[ReportURI, ...]:
    found: list[ReportURI] = []
    for text in tags.get(name, "").split(",")[:MAX_URIS] if name in tags else ():
        uri, limit = text.strip(" \t"), None
        if match := _SIZE.match(uri):
            uri, limit = match[1], int(match[2]) * _UNITS[match[3].lower()]
        if _URI.match(uri):
            found.append(ReportURI(uri, limit))
        elif name not in ignored:
            ignored.append(name)
    return tuple(found)


def _failure_options(tags: dict[str, str], ignored: list[str]) -> frozenset[str]:
    options = frozenset(option.strip(" \t").lower() for option in tags.get("fo", "0").split(":"))
    if options <= frozenset("01ds"):
        return options
    ignored.append("fo")
    return frozenset("0")


def parse_record(text: str, *, for_reports: bool = False) -> DMARCRecord:
    """The meaning of a record.

    :param for_reports: whether it is one below ``_report._dmarc``, which needs no policy.
    :raise DMARCSyntaxError: when it is not one, or has no policy that can be applied.
    """
    ignored: list[str] = []
    tags = _tags(text, ignored)
    policy, subdomains = _policy(tags, "p", ignored), _policy(tags, "sp", ignored)
    aggregate = _uris(tags, "rua", ignored)
    if not for_reports and (policy is None or "sp" in ignored):
        # RFC 7489 section 6.6.3: without valid policies, it asks for reports or for nothing.
        if not aggregate:
            raise DMARCSyntaxError("no valid policy", "p" if policy is None else "sp")
        policy, subdomains = Policy.NONE, None
    return DMARCRecord(
        text=text,
        policy=policy,
        subdomain_policy=subdomains,
        nonexistent_policy=_policy(tags, "np", ignored),
        dkim_alignment=Alignment(_choice(tags, "adkim", "rs", ignored)),
        spf_alignment=Alignment(_choice(tags, "aspf", "rs", ignored)),
        percent=_number(tags, "pct", 100, ignored),
        aggregate=aggregate,
        failure=_uris(tags, "ruf", ignored),
        failure_options=_failure_options(tags, ignored),
        interval_seconds=_number(tags, "ri", 86_400, ignored),
        psd=_choice(tags, "psd", "uyn", ignored),
        testing=_choice(tags, "t", "ny", ignored) == "y",
        ignored=tuple(ignored),
    )
