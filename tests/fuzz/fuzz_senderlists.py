"""Fuzz lists of senders: each line is an entry, a problem, or nothing; an entry finds itself."""

from __future__ import annotations

from ipaddress import ip_address

from moxtwisted.server.inbound.senderlists import SenderList, parse_entries
from tests.fuzz.run import alone
from tests.fuzz.watching import within


def one(data: bytes) -> None:
    """Read octets as a file; raises when something does not hold."""
    text = data.decode("utf-8", "replace")
    entries, problems = within(5000 + 100 * len(data), data, lambda: parse_entries(text, "list"))
    if len(entries) + len(problems) > len(text.splitlines()):
        raise RuntimeError("more entries than lines")
    found = SenderList(entries)
    for parsed in entries:
        if isinstance(parsed.key, tuple):
            version, length, number = parsed.key
            bits = 32 if version == 4 else 128
            address = ip_address((number << (bits - length)).to_bytes(bits // 8))
            same = found.of_client(address)
        else:
            localpart, _, domain = parsed.key.rpartition("@")
            same = found.of_name(localpart, domain)
        if same is None:
            raise RuntimeError(f"an entry is not found: {parsed.entry.text}")


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
