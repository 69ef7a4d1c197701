"""Command lines and parameters (RFC 5321 section 4.1 and the extensions), octets to values.

::

    >>> split_command(b"mail FROM:<a@example.org> SIZE=100")
    ('MAIL', b'FROM:<a@example.org> SIZE=100')
    >>> split_path(b"FROM:<a@example.org> SIZE=100", b"FROM:")
    (b'<a@example.org>', b'SIZE=100')

Where we take more than the grammar allows, all in one list:

  1. white space before CRLF (RFC 5321 section 4.1.1 asks for it);
  2. ``MAIL FROM: <path>``, one space after the colon (many clients; mox takes it too);
  3. several spaces between parameters;
  4. UTF-8 in the ``rfc822`` address of ORCPT, plain or as xtext, as Postfix sends it; RFC 6533 has the type ``utf-8``
     for it, and so it is understood;
  5. a host name with underscores in EHLO, and on submission any printable argument (clients behind NAT say anything).

Everything else is refused with ``SyntaxRefused``.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from attrs import frozen

from moxtwisted.address import AddressError, IPLiteral, parse_mailbox, path_end
from moxtwisted.errors import MailError

__all__ = [
    "MAIL_PARAMETERS",
    "RCPT_PARAMETERS",
    "ParameterRule",
    "SyntaxRefused",
    "decode_base64",
    "decode_xtext",
    "encode_xtext",
    "parse_chunk_size",
    "parse_parameters",
    "split_command",
    "split_path",
    "valid_hello_name",
]


class SyntaxRefused(MailError):  # noqa: N818  (it is a reply, not a fault of ours)
    """A command that the grammar does not have."""

    reply_code = 501
    enhanced_code = "5.5.4"
    public_text = "syntax error in parameters or arguments"

    def __init__(self, text: str, code: int = 501, enhanced: str = "5.5.4") -> None:
        super().__init__(text, public_text=text)
        self.reply_code = code
        self.enhanced_code = enhanced


@frozen
class ParameterRule:
    """How one parameter of MAIL or RCPT is read.

    :ivar attribute: where it goes in ``MailParameters`` or ``RcptParameters``; empty = into ``extra`` as it is.
    :ivar parse: octets of the value (None without ``=``) to the value; raises ``SyntaxRefused``.
    """

    attribute: str
    parse: Callable[[bytes | None], Any]


Rules: TypeAlias = Mapping[bytes, ParameterRule]

_HELLO = re.compile(
    rb"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?\Z"
)
_GENERAL_LITERAL = re.compile(rb"\[[A-Za-z0-9-]*[A-Za-z0-9]:[!-Z^-~]+\]\Z")
_PRINTABLE = re.compile(rb"[!-~]+\Z")
# RFC 5321 section 4.1.2 esmtp-param; RFC 6531 section 3.3 lets UTF-8 into esmtp-value.
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\xff]+))?\Z")
# The usual path: no quoted string, nothing odd. The general one is looked for by path_end.
_FROM = re.compile(rb"[Ff][Rr][Oo][Mm]: ?(<[!#-=?-~\x80-\xff]*>)(?: +(.*))?\Z", re.DOTALL)
_TO = re.compile(rb"[Tt][Oo]: ?(<[!#-=?-~\x80-\xff]*>)(?: +(.*))?\Z", re.DOTALL)
_XTEXT = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
_XTEXT_UTF8 = re.compile(rb"(?:[!-*,-<>-~\x80-\xff]|\+[0-9A-F]{2})+\Z")
#: Commands as nearly everybody writes them.
_USUAL = {
    verb.encode("ascii"): verb for verb in ("EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT")
}
_HEXCHAR = re.compile(rb"\+([0-9A-F]{2})")
_CHUNK = re.compile(rb"([0-9]{1,20})(?: +([Ll][Aa][Ss][Tt]))?\Z")
# RFC 6533 section 3: the utf-8 address type writes what xtext cannot as \x{HEX}.
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})\Z")


def split_command(line: bytes) -> tuple[str, bytes]:
    """A line without CRLF, into the verb in upper case and the argument.

    The verb is empty when the line begins with no letter.
    """
    usual = _USUAL.get(line[:4])
    if usual is not None and line[4:5] in (b" ", b"") and line[-1:] not in (b" ", b"\t"):
        return usual, line[5:]
    verb, _, argument = line.partition(b" ")
    # Tolerance 1.
    argument = argument.rstrip(b" \t")
    if not argument:
        verb = verb.rstrip(b"\t")
    if not verb.isalnum() or len(verb) > 32:
        return "", argument
    return verb.upper().decode("ascii"), argument


def split_path(argument: bytes, keyword: bytes) -> tuple[bytes, bytes]:
    """``FROM:<path> parameters`` into the path with its brackets, and the parameters.

    :param keyword: ``b"FROM:"`` or ``b"TO:"``.
    :raise SyntaxRefused: when it is not of that form.
    """
    quick = (_FROM if keyword == b"FROM:" else _TO).match(argument)
    if quick is not None:
        return quick[1], quick[2] or b""
    n = len(keyword)
    if argument[:n].upper() != keyword:
        raise SyntaxRefused(f"expected {keyword.decode('ascii')}<address>", enhanced="5.5.2")
    if argument[n : n + 1] == b" ":  # tolerance 2
        n += 1
    try:
        end = path_end(argument, n)
    except AddressError as e:
        raise SyntaxRefused(f"expected {keyword.decode('ascii')}<address>", enhanced="5.5.2") from e
    if argument[end : end + 1] not in {b"", b" "}:
        raise SyntaxRefused("space expected after the path", enhanced="5.5.2")
    return argument[n:end], argument[end:].strip(b" ")


def parse_parameters(octets: bytes, rules: Rules) -> dict[str, Any]:
    """Parameters to keyword arguments of ``MailParameters`` or ``RcptParameters``.

    :raise SyntaxRefused: 555 for an unknown one (RFC 5321 section 4.1.1.11), 501 for a bad or repeated one.
    """
    values: dict[str, Any] = {}
    extra: dict[str, str | None] = {}
    seen = set()
    for word in octets.split(b" "):
        if not word:
            continue  # tolerance 3
        match = _PARAMETER.match(word)
        if match is None:
            raise SyntaxRefused("malformed parameter")
        keyword = match[1].upper()
        if keyword in seen:
            raise SyntaxRefused(f"parameter {keyword.decode('ascii')} given twice")
        seen.add(keyword)
        rule = rules.get(keyword)
        if rule is None:
            raise SyntaxRefused(f"parameter {keyword.decode('ascii')} not recognized", 555)
        value = rule.parse(match[2])
        if rule.attribute:
            values[rule.attribute] = value
        else:
            extra[keyword.decode("ascii")] = value
    if "hold_for_seconds" in values and "hold_until" in values:
        # RFC 4865 section 4.2 item 9.
        raise SyntaxRefused("HOLDFOR and HOLDUNTIL exclude each other")
    if extra:
        values["extra"] = extra
    return values


def valid_hello_name(name: bytes, *, lenient: bool) -> bool:
    """Whether this may follow EHLO: a domain or an address literal (RFC 5321 section 4.1.1.1).

    :param lenient: any printable word will do (tolerance 5).
    """
    if not name or len(name) > 255 or _PRINTABLE.match(name) is None:
        return False
    if lenient or _HELLO.match(name) is not None:
        return True
    if not name.startswith(b"["):
        return False
    try:
        IPLiteral.parse(name.decode("ascii"))
    except AddressError:
        return _GENERAL_LITERAL.match(name) is not None and not name[:6].lower().startswith(b"[ipv6:")
    return True


def parse_chunk_size(argument: bytes) -> tuple[int, bool] | None:
    """The argument of BDAT: octets, and whether it is LAST (RFC 3030 section 2); None when malformed."""
    match = _CHUNK.match(argument)
    return None if match is None else (int(match[1]), match[2] is not None)


def decode_base64(octets: bytes) -> bytes | None:
    """Base64 as RFC 4954 section 4 wants it, strict; None when malformed."""
    if not octets:
        return b""
    try:
        return binascii.a2b_base64(octets, strict_mode=True)
    except binascii.Error:
        return None


def decode_xtext(octets: bytes) -> str | None:
    """Xtext (RFC 3461 section 4) to text; None when malformed or when what it encodes is not printable ASCII."""
    if _XTEXT.match(octets) is None:
        return None
    plain = _HEXCHAR.sub(_octet, octets) if b"+" in octets else octets
    text = plain.decode("latin-1")
    return text if text.isascii() and text.isprintable() else None


def _octet(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),))


def encode_xtext(text: str) -> bytes:
    """Printable ASCII text to xtext.

    :raise UnicodeEncodeError: for anything beyond ASCII.
    """
    return b"".join(
        b"+%02X" % c if c in b"+=" or not 0x21 <= c <= 0x7E else bytes((c,)) for c in text.encode("ascii")
    )


def _need(value: bytes | None, keyword: str) -> bytes:
    if value is None:
        raise SyntaxRefused(f"{keyword} needs a value")
    return value


def _flag(keyword: str) -> Callable[[bytes | None], bool]:
    def parse(value: bytes | None) -> bool:
        if value is not None:
            raise SyntaxRefused(f"{keyword} takes no value")
        return True

    return parse


def _size(value: bytes | None) -> int:
    octets = _need(value, "SIZE")
    if not octets.isdigit() or len(octets) > 20:  # RFC 1870 section 3: 1*20DIGIT
        raise SyntaxRefused("bad SIZE")
    return int(octets)


def _choice(keyword: str, *allowed: str) -> Callable[[bytes | None], str]:
    def parse(value: bytes | None) -> str:
        word = _need(value, keyword).upper().decode("latin-1")
        if word not in allowed:
            raise SyntaxRefused(f"bad {keyword}")
        return word

    return parse


def _auth(value: bytes | None) -> str:
    # RFC 4954 section 5: xtext of a mailbox, or <>.
    text = decode_xtext(_need(value, "AUTH"))
    if text == "<>":
        return text
    try:
        if text is None:
            raise SyntaxRefused("bad AUTH")
        return str(parse_mailbox(text.encode("ascii"), smtputf8=False))
    except AddressError as e:
        raise SyntaxRefused("bad AUTH") from e


def _envid(value: bytes | None) -> str:
    octets = _need(value, "ENVID")
    text = decode_xtext(octets)
    if text is None or len(octets) > 100:  # RFC 3461 section 4.4
        raise SyntaxRefused("bad ENVID")
    return text


def _notify(value: bytes | None) -> frozenset[str]:
    words = _need(value, "NOTIFY").upper().decode("latin-1").split(",")
    notify = frozenset(words)
    # RFC 3461 section 4.1: NEVER stands alone.
    if len(words) != len(notify) or not (notify == {"NEVER"} or notify <= {"SUCCESS", "FAILURE", "DELAY"}):
        raise SyntaxRefused("bad NOTIFY")
    return notify


def _orcpt(value: bytes | None) -> tuple[str, str]:
    octets = _need(value, "ORCPT")
    kind, semicolon, address = octets.partition(b";")
    if not semicolon or not kind or not kind.replace(b"-", b"").isalnum() or not address or len(octets) > 500:
        raise SyntaxRefused("bad ORCPT")  # RFC 3461 section 4.2, length of section 5.4
    name = kind.decode("ascii").lower()
    if name == "utf-8":
        try:
            return name, _EMBEDDED.sub(_embedded, address.decode("utf-8"))
        except ValueError as e:
            raise SyntaxRefused("bad ORCPT") from e
    text = decode_xtext(address)
    if text is not None:
        return name, text
    if name != "rfc822" or _XTEXT_UTF8.match(address) is None:
        raise SyntaxRefused("bad ORCPT")
    try:
        text = _HEXCHAR.sub(_octet, address).decode("utf-8")
    except UnicodeDecodeError as e:
        raise SyntaxRefused("bad ORCPT") from e
    if not text.isprintable():
        raise SyntaxRefused("bad ORCPT")
    return "utf-8", text


def _embedded(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    if not character.isprintable() or 0xD800 <= ord(character) <= 0xDFFF:
        raise ValueError(match[1])
    return character


def _hold_for(value: bytes | None) -> int:
    octets = _need(value, "HOLDFOR")
    if not octets.isdigit() or len(octets) > 9 or octets[:1] == b"0":  # RFC 4865 section 3
        raise SyntaxRefused("bad HOLDFOR")
    return int(octets)


def _hold_until(value: bytes | None) -> datetime:
    text = _need(value, "HOLDUNTIL").decode("latin-1").upper()
    try:
        if _RFC3339.match(text) is None:
            raise SyntaxRefused("bad HOLDUNTIL")
        return datetime.fromisoformat(text)
    except ValueError as e:
        raise SyntaxRefused("bad HOLDUNTIL") from e


#: Parameters of MAIL by the extension that brings them.
MAIL_PARAMETERS: Mapping[str, Rules] = {
    "SIZE": {b"SIZE": ParameterRule("size", _size)},
    "8BITMIME": {b"BODY": ParameterRule("body", _choice("BODY", "7BIT", "8BITMIME"))},
    "BINARYMIME": {b"BODY": ParameterRule("body", _choice("BODY", "7BIT", "8BITMIME", "BINARYMIME"))},
    "AUTH": {b"AUTH": ParameterRule("auth", _auth)},
    "SMTPUTF8": {b"SMTPUTF8": ParameterRule("smtputf8", _flag("SMTPUTF8"))},
    "DSN": {
        b"RET": ParameterRule("ret", _choice("RET", "FULL", "HDRS")),
        b"ENVID": ParameterRule("envid", _envid),
    },
    "REQUIRETLS": {b"REQUIRETLS": ParameterRule("require_tls", _flag("REQUIRETLS"))},
    "PRDR": {b"PRDR": ParameterRule("prdr", _flag("PRDR"))},
    "FUTURERELEASE": {
        b"HOLDFOR": ParameterRule("hold_for_seconds", _hold_for),
        b"HOLDUNTIL": ParameterRule("hold_until", _hold_until),
    },
}

#: Parameters of RCPT by the extension that brings them.
RCPT_PARAMETERS: Mapping[str, Rules] = {
    "DSN": {b"NOTIFY": ParameterRule("notify", _notify), b"ORCPT": ParameterRule("orcpt", _orcpt)},
}
