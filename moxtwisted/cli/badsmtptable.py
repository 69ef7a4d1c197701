"""What ``moxmail badsmtp`` prints when everything listens: the ports, and what to try first."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping

from attrs import frozen

from moxtwisted.badsmtp.settings import DELAYS_SECONDS, GREETING_FAULTS, Settings
from moxtwisted.http.badsmtp.portlist import describe_ports

__all__ = ["Row", "announcement", "rows"]

_WAITS = ", ".join(map(str, DELAYS_SECONDS))
#: Listeners that come in ranges: how their names begin, and what is said of them together.
_FAMILIES = {
    "greeting-fault-": (
        "SMTP",
        "greetings that go wrong: "
        + " ".join(f.removeprefix("greeting").lstrip(".") for f in GREETING_FAULTS),
    ),
    "greeting-": ("SMTP", f"greets late: after {_WAITS} seconds"),
    "drop-": ("SMTP", f"hangs up without a greeting: after {_WAITS} seconds"),
    "starttls-": ("SMTP", "STARTTLS as it should not be: "),
    "tls-": ("SMTP with TLS", "TLS as it should not be: "),
}
#: Ports farther apart than the range that they would be in are shown by themselves.
_SPAN = 100


@frozen
class Row:
    """A line of the table."""

    ports: str
    protocol: str
    text: str


def rows(ports: Mapping[str, int], settings: Settings, *, each: bool = False) -> Iterator[Row]:
    """The table.

    :param each: whether ports that come in ranges have a line each.
    """
    described = {port.name: port for port in describe_ports(ports, settings.listen_address).ports}
    families: dict[str, list[str]] = {}
    for name in ports:
        families.setdefault(_family(name), []).append(name)
    for family, names in families.items():
        numbers = [ports[name] for name in names]
        if each or not family or max(numbers) - min(numbers) >= _SPAN:
            for name in names:
                yield Row(str(ports[name]), described[name].protocol, described[name].does or name)
            continue
        protocol, text = _FAMILIES[family]
        if text.endswith(": "):
            text += " ".join(name.removeprefix(family) for name in names)
        yield Row(_ranges(numbers), protocol, text)


def _family(name: str) -> str:
    """The range that a listener belongs to, or nothing."""
    return next((start for start in _FAMILIES if name.startswith(start)), "")


def _ranges(numbers: list[int]) -> str:
    """``25200-25209``; what is missing in between is left out."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def announcement(ports: Mapping[str, int], settings: Settings, *, each: bool = False, width: int = 0) -> str:
    """The table, and what to try first.

    :param width: of the lines; 0: of the terminal.
    """
    width = max(width or shutil.get_terminal_size().columns, 60)
    table = [Row("PORT", "PROTOCOL", "WHAT IT DOES"), *rows(ports, settings, each=each)]
    first, second = (max(len(getattr(row, column)) for row in table) for column in ("ports", "protocol"))
    lines = [f"BadSMTP listens on {settings.listen_address}. Nothing is ever relayed.", ""]
    for row in table:
        start = f"{row.ports.ljust(first)}  {row.protocol.ljust(second)}  "
        lines += textwrap.wrap(
            row.text, width, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False
        )
    host = f"[{settings.listen_address}]" if ":" in settings.listen_address else settings.listen_address
    lines.append("")
    if "smtp" in ports:
        at = f"--server {host} --port {ports['smtp']}"
        lines += [
            "try, in a second terminal:",
            f"  swaks {at} --from alice@example.org --to bob@example.org",
            f"  swaks {at} --from mail550@example.org --to bob@example.org",
            f"  swaks {at} --from alice@example.org --to rcpt451_4.7.1@example.org",
        ]
    if "http" in ports:
        lines.append(f"what came in: http://{host}:{ports['http']}/")
    if settings.mailbox_dir:
        lines.append(f"and in the Maildir {settings.mailbox_dir}")
    lines.append("Everything listens; Ctrl-C ends it.")
    return "\n".join(lines)
