"""Dates of header fields (RFC 5322 section 3.3) and of IMAP (RFC 9051 date-time).

Instants are seconds since 1970-01-01T00:00:00Z::

    parse_date(b"Fri, 21 Nov 1997 09:55:06 -0600")         # 880127706
    render_date(880127706, -360)                           # b'Fri, 21 Nov 1997 09:55:06 -0600'
    render_imap_datetime(880127706)                        # b'21-Nov-1997 15:55:06 +0000'
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache

__all__ = [
    "bounded_instant",
    "parse_date",
    "parse_imap_datetime",
    "parse_sent_date",
    "render_date",
    "render_from_line_date",
    "render_imap_date",
    "render_imap_datetime",
]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTH = {name.lower().encode("ascii"): number for number, name in enumerate(_MONTHS, 1)}
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MAX_DATE_OCTETS = 200
# The years that can be written, with a day to spare for time zones.
_FIRST = -62_135_510_400
_LAST = 253_402_214_400

_USUAL = re.compile(
    rb"\s*(?:[A-Za-z]{2,9}\.?,?\s*)?(\d{1,2})[\s-]\s*([A-Za-z]{3})[A-Za-z]{0,6}\.?,?[\s-]\s*(\d{2,4})\s*,?\s+"
    rb"(\d{1,2})\s*[:.]\s*(\d{1,2})(?:\s*[:.]\s*(\d{1,2})(?:\.\d+)?)?\s*([+-]\s?\d{1,4}(?::\d\d)?|[A-Za-z]{1,5}(?![A-Za-z]))?"
)
# asctime, as old mailers and mbox write it: Fri Nov 21 09:55:06 1997
_ASCTIME = re.compile(
    rb"\s*(?:[A-Za-z]{3,9},?\s+)?([A-Za-z]{3})[A-Za-z]{0,6}\s+(\d{1,2}),?\s+(\d{1,2}):(\d{2})(?::(\d{2}))?\s+"
    rb"(?:([+-]\d{4}|[A-Za-z]{1,5})\s+)?(\d{4})(?:\s+([+-]\d{4}|[A-Za-z]{1,5}))?"
)
_DAY_ONLY = re.compile(
    rb"\s*(?:[A-Za-z]{2,9}\.?,?\s*)?(\d{1,2})[\s-]\s*([A-Za-z]{3})[A-Za-z]{0,6}\.?,?[\s-]\s*(\d{2,4})(?!\d)"
)
_COMMENT = re.compile(rb"\([^()]*\)")
# RFC 5322 section 4.3; the military letters were defined the wrong way round and count as UTC there.
_ZONES = {
    b"ut": 0,
    b"utc": 0,
    b"gmt": 0,
    b"z": 0,
    b"est": -300,
    b"edt": -240,
    b"cst": -360,
    b"cdt": -300,
    b"mst": -420,
    b"mdt": -360,
    b"pst": -480,
    b"pdt": -420,
}
_IMAP = re.compile(rb'"?([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"?\Z')


def parse_date(value: bytes) -> int | None:
    """Read a Date field, tolerantly: obsolete zones, two-digit years, a missing weekday, seconds or zone (UTC then).

    :return: seconds since the epoch, or None when it cannot be read.
    """
    value = value[:_MAX_DATE_OCTETS]
    if 0x28 in value:  # a parenthesis
        value = _COMMENT.sub(b" ", value)
    found = _USUAL.match(value)
    if found is not None:
        day, month, year, hour, minute, second, zone = found.groups()
    else:
        found = _ASCTIME.match(value)
        if found is None:
            return None
        month, day, hour, minute, second, zone, year, zone_behind = found.groups()
        zone = zone or zone_behind
    number = _MONTH.get(month.lower())
    if number is None:
        return None
    return _instant((_year(year), number, int(day)), (int(hour), int(minute), int(second or 0)), _zone(zone))


def parse_sent_date(value: bytes) -> int | None:
    """The sent date of RFC 5256 section 2.2, by which messages are sorted: a day counts also when its time cannot be read,
    from 00:00:00 UTC on."""
    sent = parse_date(value)
    if sent is None and (found := _DAY_ONLY.match(value[:_MAX_DATE_OCTETS])) is not None:
        number = _MONTH.get(found[2].lower())
        if number is not None:
            return _instant((_year(found[3]), number, int(found[1])), (0, 0, 0), 0)
    return sent


def _year(digits: bytes) -> int:
    year = int(digits)
    # RFC 5322 section 4.3: two digits up to 49 are 20yy, beyond and with three digits 19yy and later.
    if len(digits) == 2 and year < 50:
        return year + 2000
    return year + 1900 if len(digits) < 4 else year


def _zone(zone: bytes | None) -> int:
    """Minutes east of UTC; unknown names count as UTC (RFC 5322 section 4.3 treats them as -0000), as do numbers that are no zone
    (RFC 5256 section 2.2)."""
    if not zone:
        return 0
    if zone[0] in b"+-":
        digits = zone[1:].strip().replace(b":", b"")
        if len(digits) <= 2:
            digits += b"00"
        number = int(digits)
        if number % 100 > 59:
            return 0
        minutes = number // 100 * 60 + number % 100
        return -minutes if zone[0] == 0x2D else minutes
    return _ZONES.get(zone.lower(), 0)


def _instant(day: tuple[int, int, int], clock: tuple[int, int, int], zone_minutes: int) -> int | None:
    hour, minute, second = clock
    # RFC 5322 section 3.3 allows the leap second 60.
    if hour > 23 or minute > 59 or second > 60 or abs(zone_minutes) >= 100 * 60:
        return None
    try:
        days = date(*day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    return days * 86400 + hour * 3600 + minute * 60 + second - zone_minutes * 60


def bounded_instant(seconds: int) -> int:
    """The nearest instant that can be written in every zone: a client, a file system or another server may give any."""
    return min(max(seconds, _FIRST), _LAST)


def _civil(seconds: int, zone_minutes: int) -> datetime:
    zone = timezone(timedelta(minutes=zone_minutes)) if zone_minutes else UTC
    return datetime.fromtimestamp(seconds, zone)


def _offset(zone_minutes: int) -> str:
    hours, minutes = divmod(abs(zone_minutes), 60)
    return f"{'-' if zone_minutes < 0 else '+'}{hours:02d}{minutes:02d}"


# Of the messages that come in the same second.
@lru_cache(16)
def render_date(seconds: int, zone_minutes: int = 0) -> bytes:
    """An instant as a Date or Received field has it.

    :param seconds: since the epoch, within years 1 to 9999.
    :param zone_minutes: east of UTC, less than a day.
    """
    t = _civil(seconds, zone_minutes)
    return (
        f"{_DAYS[t.weekday()]}, {t.day} {_MONTHS[t.month - 1]} {t.year:04d} "
        f"{t.hour:02d}:{t.minute:02d}:{t.second:02d} {_offset(zone_minutes)}"
    ).encode("ascii")


def render_imap_datetime(seconds: int, zone_minutes: int = 0) -> bytes:
    """An instant as RFC 9051 date-time without its quotes: ``17-Jul-1996 02:44:25 -0700``, the day in two places."""
    t = _civil(seconds, zone_minutes)
    return (
        f"{t.day:2d}-{_MONTHS[t.month - 1]}-{t.year:04d} {t.hour:02d}:{t.minute:02d}:{t.second:02d} {_offset(zone_minutes)}"
    ).encode("ascii")


def render_imap_date(seconds: int) -> bytes:
    """The day of an instant in UTC as RFC 9051 date: ``1-Feb-1994``."""
    t = _civil(seconds, 0)
    return f"{t.day}-{_MONTHS[t.month - 1]}-{t.year:04d}".encode("ascii")


def parse_imap_datetime(octets: bytes) -> int | None:
    """Read RFC 9051 date-time, with or without its quotes; None when it is something else."""
    found = _IMAP.match(octets)
    if found is None:
        return None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    number = _MONTH.get(month.lower())
    if number is None or int(zone_minutes) > 59:
        return None
    offset = int(zone_hours) * 60 + int(zone_minutes)
    return _instant(
        (int(year), number, int(day)),
        (int(hour), int(minute), int(second)),
        -offset if sign == b"-" else offset,
    )


def render_from_line_date(seconds: int) -> bytes:
    """An instant as the From line of an mbox file has it (RFC 4155, asctime in UTC): ``Fri Nov 21 15:55:06 1997``."""
    t = _civil(seconds, 0)
    return (
        f"{_DAYS[t.weekday()]} {_MONTHS[t.month - 1]} {t.day:2d} {t.hour:02d}:{t.minute:02d}:{t.second:02d} {t.year:04d}"
    ).encode("ascii")
