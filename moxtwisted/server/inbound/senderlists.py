"""Lists of senders to let in and to keep out, which operators keep as plain files, and accounts in their configuration.

One entry a line; what follows ``#`` is a comment, and case does not matter::

    friend@example.net          # an address
    example.com                 # a domain
    .example.org                # a domain with all below it
    192.0.2.7                   # a client, or a network: 192.0.2.0/24, 2001:db8::/32
    bank.example dmarc          # in a list of those to let in: whatever DMARC says

::

    entries, problems = parse_entries(text, "allow.txt")
    found = SenderList(entries)
    found.of_client(ip), found.of_address(address)      # the Entry, or None

A line that is no entry is a problem with its number; it does not disturb the others. ``ListFile`` reads a file again when it changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path as FilePath
from typing import Final

from attrs import define, field, frozen
from twisted.logger import Logger

from moxtwisted.address import Address, AddressError
from moxtwisted.identifiers import Domain, parse_network

__all__ = ["Entry", "HandedListFile", "ListFile", "ListProblem", "SenderList", "Together", "parse_entries"]

_log = Logger()

#: Entries of one file; it is read between two commands of somebody.
MOST_ENTRIES: Final = 100_000
_MOST_OCTETS: Final = 16 * 1024 * 1024
#: Problems that are kept and logged.
_MOST_PROBLEMS: Final = 50
#: Seconds between two looks at a file.
_LOOK_EVERY: Final = 2.0

IPAddress = IPv4Address | IPv6Address


@frozen
class Entry:
    """One line.

    :ivar text: as it was written.
    :ivar where: file and line, or whose it is.
    :ivar dmarc: whether it holds against DMARC as well.
    :ivar address: whether it is one address, not all of a domain.
    """

    text: str
    where: str
    dmarc: bool = False
    address: bool = False


@frozen
class ListProblem:
    """A line that is no entry."""

    where: str
    text: str
    problem: str


@frozen
class _Parsed:
    """``kind`` is ``network``, ``address``, ``domain`` or ``below``."""

    kind: str
    key: tuple[int, int, int] | str
    entry: Entry


class SenderList:
    """Entries, looked up in the same time however many there are."""

    def __init__(self, entries: Iterable[_Parsed] = ()) -> None:
        self._networks: dict[tuple[int, int, int], Entry] = {}
        self._names: dict[str, dict[str, Entry]] = {"address": {}, "domain": {}, "below": {}}
        for parsed in entries:
            if isinstance(parsed.key, tuple):
                self._networks.setdefault(parsed.key, parsed.entry)
            else:
                self._names[parsed.kind].setdefault(parsed.key, parsed.entry)
        #: (version, prefix length) that there are, the longest first.
        self._prefixes = sorted({key[:2] for key in self._networks}, reverse=True)

    def __len__(self) -> int:
        return len(self._networks) + sum(map(len, self._names.values()))

    def of_client(self, ip: IPAddress | None) -> Entry | None:
        """The entry of the smallest network that a client is in."""
        if ip is None or not self._networks:
            return None
        number, bits = int(ip), ip.max_prefixlen
        for version, length in self._prefixes:
            if version == ip.version:
                found = self._networks.get((version, length, number >> (bits - length)))
                if found is not None:
                    return found
        return None

    def of_address(self, address: Address | None) -> Entry | None:
        """The entry of an address: its own, else its domain's, else that of the nearest domain above."""
        if address is None or not isinstance(address.domain, Domain):
            return None
        return self.of_name(address.localpart, address.domain.ascii)

    def of_name(self, localpart: str, domain: str) -> Entry | None:
        """The same.

        :param localpart: empty: not known.
        :param domain: A-labels, lower case.
        """
        names = self._names
        found = names["address"].get(f"{localpart.lower()}@{domain}") if localpart else None
        found = found or names["domain"].get(domain)
        while found is None and domain and names["below"]:
            found = names["below"].get(domain)
            domain = domain.partition(".")[2]
        return found


def parse_entries(text: str, name: str) -> tuple[list[_Parsed], list[ListProblem]]:
    """The entries of a text, and what is wrong with other lines.

    :param name: of the file, for messages.
    """
    entries: list[_Parsed] = []
    problems: list[ListProblem] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{name}:{number}"
        if len(entries) >= MOST_ENTRIES:
            problems.append(ListProblem(where, line, f"only the first {MOST_ENTRIES} entries are used"))
            break
        try:
            entries.append(parse_entry(words, where))
        except ValueError as e:
            if len(problems) < _MOST_PROBLEMS:
                problems.append(ListProblem(where, line.strip()[:200], str(e)))
    return entries, problems


def parse_entry(words: Sequence[str], where: str) -> _Parsed:
    """One entry. :raises ValueError: with what is wrong."""
    if len(words) > 2 or (len(words) == 2 and words[1].lower() != "dmarc"):
        raise ValueError(f"nothing but the word dmarc may follow an entry: {' '.join(words[1:])[:80]}")
    text = words[0]
    if "*" in text or text.startswith("@"):
        name = text.rpartition("@")[2].lstrip("*.")[:80] or "example.org"
        raise ValueError(f"for a whole domain write {name}, with all below it .{name}: {text[:80]}")
    entry = Entry(text, where, len(words) == 2, "@" in text)
    if "@" in text:
        try:
            address = Address.parse(text)
        except AddressError as e:
            raise ValueError(f"not an address: {text[:80]}") from e
        if not isinstance(address.domain, Domain) or not address.localpart:
            raise ValueError(f"not an address with a domain: {text[:80]}")
        return _Parsed("address", f"{address.localpart.lower()}@{address.domain.ascii}", entry)
    if ":" in text or text.replace(".", "").replace("/", "").isdigit():
        network = parse_network(text)
        bits = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        return _Parsed("network", (network.version, network.prefixlen, bits), entry)
    try:
        domain = Domain.parse(text.removeprefix(".")).ascii
    except ValueError as e:
        raise ValueError(f"neither an address nor a domain nor a network: {text[:80]}") from e
    return _Parsed("below" if text.startswith(".") else "domain", domain, entry)


@define(eq=False)
class ListFile:
    """A file of entries, read again when it changed. One that is not there, or cannot be read, has none; what was read before stays when a
    file becomes unreadable.

    :ivar problems: of its lines, as it was read last.
    """

    path: FilePath
    _seconds: Callable[[], float]
    problems: list[ListProblem] = field(factory=list, init=False)
    _list: SenderList = field(factory=SenderList, init=False)
    _looked: float = field(default=float("-inf"), init=False)
    _state: tuple[int, int, int] | None = field(default=None, init=False)

    def current(self) -> SenderList:
        """What it says now, or said two seconds ago."""
        now = self._seconds()
        if now - self._looked >= _LOOK_EVERY or now < self._looked:
            self._looked = now
            self._look()
        return self._list

    def _look(self) -> None:
        try:
            found = self.path.stat()
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if state == self._state:
                return
            self._state = state
            if found.st_size > _MOST_OCTETS:
                raise OSError(f"it has more than {_MOST_OCTETS} octets")
            text = self.path.read_text("utf-8", "replace")
        except FileNotFoundError:
            self._missing()
        except OSError as e:
            self._unreadable(e)
        else:
            self._adopt(text)

    def _missing(self) -> None:
        if self._state != (0, 0, 0):
            _log.warn("list of senders {path} is not there", path=str(self.path))
        self._state, self._list, self.problems = (0, 0, 0), SenderList(), []

    def _unreadable(self, problem: OSError) -> None:
        _log.error(
            "list of senders {path} cannot be read: {problem}", path=str(self.path), problem=str(problem)
        )

    def _adopt(self, text: str) -> None:
        entries, self.problems = parse_entries(text, self.path.name)
        self._list = SenderList(entries)
        for problem in self.problems:
            _log.warn(
                "list of senders, {where}: {problem}",
                where=problem.where,
                problem=problem.problem,
                path=str(self.path),
            )
        _log.info("list of senders {path} has {count} entries", path=str(self.path), count=len(self._list))


class HandedListFile(ListFile):
    """In a process that cannot open the file: it is handed one that is open, and a new one when it changed."""

    def current(self) -> SenderList:
        """What it said last."""
        return self._list

    def use(self, descriptor: int | None) -> None:
        """Read it.

        :param descriptor: stays the caller's; None: the file is not there.
        """
        if descriptor is None:
            self._missing()
            return
        try:
            size = os.fstat(descriptor).st_size
            if size > _MOST_OCTETS:
                raise OSError(f"it has more than {_MOST_OCTETS} octets")
            octets = os.pread(descriptor, _MOST_OCTETS, 0)
        except OSError as e:
            self._unreadable(e)
        else:
            self._state = None
            self._adopt(octets.decode("utf-8", "replace"))


@frozen
class Together:
    """Several files as one list: the first that has an entry."""

    files: tuple[ListFile, ...] = ()

    def of_client(self, ip: IPAddress | None) -> Entry | None:
        """See ``SenderList``."""
        return next((e for f in self.files if (e := f.current().of_client(ip)) is not None), None)

    def of_name(self, localpart: str, domain: str) -> Entry | None:
        """See ``SenderList``."""
        return next(
            (e for f in self.files if (e := f.current().of_name(localpart, domain)) is not None), None
        )
