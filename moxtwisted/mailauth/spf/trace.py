"""The header field Received-SPF (RFC 7208 section 9.1).

::

    received_spf(result, "mx.example.org")
    # Received-SPF: pass (mx.example.org: domain of alice@example.com designates
    #  192.0.2.1 as permitted sender) receiver=mx.example.org; identity=mailfrom;
    #  ...

Nothing that a sender wrote gets into it but in quotes, without control characters, and cut where it is long.
"""

from __future__ import annotations

import re
from functools import lru_cache

from moxtwisted.mailauth.spf.evaluation import Identity, SPFResult, Verdict

__all__ = ["received_spf"]

# RFC 5322 section 3.2.3: dot-atom, which needs no quotes.
_DOT_ATOM = re.compile(r"[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+(?:\.[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+)*\Z")
_QUOTED = re.compile(r"[()\\]")
# RFC 7208 section 9.1: not excessively long. The longest address has 320 octets.
_MAX_VALUE_CHARACTERS = 330
_REMEMBERED_CHARACTERS = 128
# RFC 5322 section 2.1.1: lines of 78 characters; one word that is longer must still be shorter than 998.
_LINE = 78

_SAYS = {
    Verdict.PASS: "designates {ip} as permitted sender",
    Verdict.FAIL: "does not designate {ip} as permitted sender",
    Verdict.SOFTFAIL: "does not designate {ip} as permitted sender, but says that it may be one",
    Verdict.NEUTRAL: "says nothing about {ip}",
    Verdict.NONE: "has no SPF record",
    Verdict.TEMPERROR: "could not be checked now",
    Verdict.PERMERROR: "has an SPF record with an error",
}


def _plain(text: str) -> str:
    """Printable characters alone, not too many of them."""
    text = text[:_MAX_VALUE_CHARACTERS]
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _value(text: str) -> str:
    # The same few are written again and again: names and addresses of clients, our own.
    return _remembered(text) if len(text) <= _REMEMBERED_CHARACTERS else _write(text)


def _write(text: str) -> str:
    text = _plain(text)
    if _DOT_ATOM.match(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_remembered = lru_cache(1024)(_write)


def _comment(text: str) -> str:
    # RFC 5322 section 3.2.2: parentheses and backslashes are quoted in comments.
    return "(" + _QUOTED.sub(r"\\\g<0>", _plain(text)) + ")"


def received_spf(result: SPFResult, receiver: str, *, smtputf8: bool = False) -> bytes:
    """The field for a result, folded, with CRLF at its end.

    :param receiver: the name of this host.
    :param smtputf8: whether the message may have UTF-8 in its header (RFC 6532); otherwise it is replaced by question marks.
    """
    key = receiver, smtputf8
    if key not in result.written:
        result.written[key] = _field(result, receiver).encode("utf-8" if smtputf8 else "ascii", "replace")
    return result.written[key]


def _field(result: SPFResult, receiver: str) -> str:
    mail_from, ip, verdict = result.identity is Identity.MAIL_FROM, str(result.ip), result.verdict
    who = result.sender if mail_from else result.domain
    about = f"{receiver}: domain of {who[:_MAX_VALUE_CHARACTERS]} {_SAYS[verdict].format(ip=ip)}"
    pairs = [("receiver", receiver), ("identity", result.identity._value_), ("client-ip", ip)]
    if mail_from:
        pairs.append(("envelope-from", result.sender))
    pairs.append(("helo", result.helo))
    if result.mechanism:
        pairs.append(("mechanism", result.mechanism))
    if result.problem:
        pairs.append(("problem", result.problem))
    words = [verdict._value_, *_comment(about).split(" ")]
    words += [f"{key}={_value(value)};" for key, value in pairs]
    text, left = "Received-SPF:", _LINE - len("Received-SPF:")
    for word in words:
        # A quoted value stays in one piece: folding inside quotes would change it for some readers.
        size = len(word) + 1
        left -= size
        if word and left < 0:
            text += "\r\n"
            left = _LINE - size
        text += f" {word}"
    return f"{text}\r\n"
