"""What listens where, what is wrong with it, and what a client can ask for: for the page and for programs.

The words come from the tables that the server itself works by, so that the page cannot say anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from moxtwisted.badsmtp import imapfaults, pop3faults
from moxtwisted.badsmtp.faults import DESCRIPTIONS
from moxtwisted.badsmtp.grammar import TEXTS, parse_local_part
from moxtwisted.badsmtp.settings import DELAYS_SECONDS, GREETING_FAULTS
from moxtwisted.badsmtp.tlsfaults import TLS_FAULTS
from moxtwisted.http.badsmtp.shapes import Example, Port, Ports, Wording

__all__ = ["describe_ports"]

_KNOWN = {
    "smtp": ("SMTP", "works, and goes wrong when an address or the EHLO name asks for it"),
    "starttls": ("SMTP", "as smtp, for STARTTLS"),
    "tls": ("SMTP with TLS", "as smtp, TLS from the first octet"),
    "lmtp": ("LMTP", "an outcome for each recipient"),
    "imap": ("IMAP", "the captured messages; goes wrong when the user name asks for it"),
    "pop3": ("POP3", "the captured messages; goes wrong when the user name asks for it"),
    "imaps": ("IMAP with TLS", "as imap, TLS from the first octet"),
    "pop3s": ("POP3 with TLS", "as pop3, TLS from the first octet"),
    "http": ("HTTP", "the page and its JSON interface"),
}

#: The commands that a fault is about, where not about that which brings a message.
_IMAP_VERBS = {
    **dict.fromkeys(("uidvalidity", "uidnext", "count", "shrink", "grow", "expunge"), "select"),
    **dict.fromkeys(("deaf", "drop", "leave"), "idle"),
}
_POP3_VERBS = {
    "count": "stat",
    "size": "list",
    **dict.fromkeys(("change", "double", "longid", "noid"), "uidl"),
}

_TLS_RANGES = {"starttls-": "SMTP", "tls-": "SMTP with TLS"}


def _does(name: str) -> tuple[str, str]:
    if name in _KNOWN:
        return _KNOWN[name]
    kind, _, rest = name.partition("-")
    if kind in {"greeting", "drop"} and rest.isdecimal() and int(rest) < len(DELAYS_SECONDS):
        seconds = DELAYS_SECONDS[int(rest)]
        when = "at once" if seconds == 0 else f"after {seconds} second{'s' if seconds > 1 else ''}"
        return "SMTP", f"greets {when}" if kind == "greeting" else f"hangs up {when}, without a greeting"
    if name.startswith("greeting-fault-") and (number := name[15:]).isdecimal():
        return "SMTP", _greeting(int(number))
    for start, protocol in _TLS_RANGES.items():
        for fault in TLS_FAULTS:
            if name == start + fault.name:
                return protocol, f"{fault.what}; a client should {fault.expected.value}"
    return "", ""


def _family(name: str) -> str:
    """What is listed together: ``greeting-0`` to ``greeting-9``."""
    return "greeting-fault" if name.startswith("greeting-fault-") else name.partition("-")[0]


def _greeting(number: int) -> str:
    wish = parse_local_part(GREETING_FAULTS[number], {"greeting"}) if number < len(GREETING_FAULTS) else None
    if wish is None:
        return ""
    if wish.code:
        return f"greets with {wish.code} {wish.text}"
    with_number = "" if wish.number is None else f" (N is {wish.number})"
    return f"a greeting that goes wrong: {DESCRIPTIONS[wish.fault]}{with_number}"


def _wordings() -> Iterator[Wording]:
    address = "in an address, by a code"
    yield Wording("MAIL FROM:<mail550@x.example>", "MAIL is answered with 550", address)
    yield Wording("RCPT TO:<rcpt451_4.7.1@x.example>", "this RCPT is answered with 451 4.7.1", address)
    yield Wording("MAIL FROM:<data552@x.example>", "DATA is answered with 552 in place of 354", address)
    yield Wording("MAIL FROM:<dend451@x.example>", "451 after the final dot", address)
    for verb in ("bdat", "rset", "quit", "starttls", "noop", "auth"):
        yield Wording(
            f"MAIL FROM:<{verb}421@x.example>",
            f"{verb.upper()} is answered with 421, whenever it comes",
            address,
        )
    for fault, does in DESCRIPTIONS.items():
        yield Wording(
            f"MAIL FROM:<mail.{fault}@x.example>", does, "in an address, by a form (of any of these verbs)"
        )
    for code, text in sorted(TEXTS.items()):
        yield Wording(str(code), text, "by a code: what it says (any other: “Unknown error”)")
    name = "in the EHLO name"
    yield Wording("EHLO size10000.x.example", "SIZE 10000 is offered; nosize: none", name)
    yield Wording(
        "EHLO no8bit-nopipelining.x.example",
        "without this extension; nostarttls, nochunking, nosmtputf8, noenhancedstatuscodes, too",
        name,
    )
    yield Wording(
        "EHLO authplain.x.example", "this AUTH only; noauth, authlogin, authcram, authoauth, too", name
    )
    yield Wording("EHLO reject.x.example", "EHLO is answered with 502: fall back to HELO", name)
    yield Wording("EHLO dlay5.x.example", "each reply comes 5 seconds late", name)
    yield Wording("EHLO ehlo421.x.example", "EHLO is answered with 421", name)
    yield Wording(
        "EHLO badrcptdrip5.x.example", "bad, a verb, a fault or a code: for every such command", name
    )
    login = "at log-in"
    yield Wording("badauth", "a user name with this in it is refused; any other is let in", login)
    for fault, does in imapfaults.DESCRIPTIONS.items():
        yield Wording(
            f"bob+{_IMAP_VERBS.get(fault, 'fetch')}.{fault}@example.org", does, "as the user name of IMAP"
        )
    for fault, does in pop3faults.DESCRIPTIONS.items():
        yield Wording(
            f"bob+{_POP3_VERBS.get(fault, 'retr')}.{fault}@example.org", does, "as the user name of POP3"
        )


_TRANSACTION = ["RCPT TO:<bob@example.org>", "DATA", "Subject: from the playground", "", "Hello.", "."]

_EXAMPLES = (
    Example("A message", ["EHLO tester.example", "MAIL FROM:<alice@example.org>", *_TRANSACTION, "QUIT"]),
    Example("Sender refused", ["EHLO tester.example", "MAIL FROM:<mail550@example.org>"]),
    Example(
        "One recipient of two",
        [
            "EHLO tester.example",
            "MAIL FROM:<alice@example.org>",
            "RCPT TO:<rcpt550_5.1.1@example.org>",
            *_TRANSACTION,
        ],
    ),
    Example(
        "Error after the final dot", ["EHLO tester.example", "MAIL FROM:<dend451@example.org>", *_TRANSACTION]
    ),
    Example("A reply, drop by drop", ["EHLO tester.example", "MAIL FROM:<mail.drip5@example.org>"]),
    Example("Hang up in mid-line", ["EHLO tester.example", "MAIL FROM:<mail.cut@example.org>"]),
    Example("Two codes in one reply", ["EHLO tester.example", "MAIL FROM:<mail.codes@example.org>"]),
    Example("Few extensions", ["EHLO nosize-no8bit-nopipelining-noauth.example.org"]),
    Example("EHLO refused", ["EHLO reject.example.org", "HELO tester.example"]),
)


def describe_ports(ports: Mapping[str, int], address: str) -> Ports:
    """What there is.

    :param ports: the port that each listener has, by its name.
    :param address: of all of them.
    """
    families: dict[str, int] = {}
    for name in ports:
        families.setdefault(_family(name), len(families))
    names = sorted(ports, key=lambda name: families[_family(name)])
    listed = [Port(name, ports[name], *_does(name)) for name in names]
    return Ports(address, listed, list(_wordings()), list(_EXAMPLES))
