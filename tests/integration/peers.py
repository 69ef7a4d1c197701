"""The real mail programs that tests talk to: what each is called, and the Debian package that has it.

This is the only list. A test says what it needs, and skips by name where that is missing::

    @needs("swaks")
    class SwaksTests(TestCase): ...

``make peers`` installs what ``python3 -m tests.integration.peers missing`` prints, and ``make test`` ends by naming it. Only the
standard library is imported here: the list is read before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T", bound=Callable[..., object])

#: Where programs are looked for besides PATH: Debian puts daemons where a user's PATH does not look.
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


class Peer(NamedTuple):
    """A program, the Debian package that brings it, and whether it can be used by root alone."""

    program: str
    package: str
    root_only: bool = False


PEERS = {
    peer.program: peer
    for peer in (
        Peer("chromium", "chromium"),
        Peer("clamd", "clamav-daemon"),
        Peer("curl", "curl"),
        Peer("dovecot", "dovecot-imapd"),
        Peer("fetchmail", "fetchmail"),
        Peer("getmail", "getmail6"),
        Peer("knotd", "knot"),
        Peer("mbsync", "isync"),
        Peer("named", "bind9"),
        Peer("neomutt", "neomutt"),
        Peer("offlineimap", "offlineimap3"),
        Peer("opendkim", "opendkim"),
        Peer("openssl", "openssl"),
        Peer("postfix", "postfix", root_only=True),
        Peer("rspamd", "rspamd"),
        Peer("smtp-sink", "postfix"),
        Peer("smtp-source", "postfix"),
        Peer("swaks", "swaks"),
        Peer("unbound", "unbound"),
    )
}

#: What the programs need besides themselves: Perl's TLS and SASL for swaks.
COMPANIONS = {"swaks": ("libnet-ssleay-perl", "libauthen-sasl-perl", "libdigest-hmac-perl")}


def locate(program: str) -> str | None:
    """The path of a program, or None."""
    return shutil.which(program) or shutil.which(program, path=SYSTEM_PATH)


def why_not(program: str) -> str:
    """Why tests that need this program cannot be run here; empty when they can."""
    peer = PEERS[program]
    if locate(program) is None:
        return f'needs {program} (Debian package {peer.package}; "make peers" adds it)'
    if peer.root_only and os.geteuid() != 0:
        return f"needs root, for {program}"
    return ""


def needs(*programs: str) -> Callable[[T], T]:
    """Decorate a test case class, or one test: all its tests skip, with the reason, where one of the programs is missing."""

    def decorate(case: T) -> T:
        reasons = [reason for program in programs if (reason := why_not(program))]
        if reasons:
            case.skip = reasons[0]  # type: ignore[attr-defined]  # what trial reads
        return case

    return decorate


def packages() -> list[str]:
    """Every Debian package that the integration tests can use."""
    return sorted({peer.package for peer in PEERS.values()})


def missing() -> list[str]:
    """The Debian packages of the programs that are not installed here, with what those need."""
    names = [program for program in PEERS if locate(program) is None]
    return sorted(
        {PEERS[name].package for name in names}
        | {package for name in names for package in COMPANIONS.get(name, ())}
    )


if __name__ == "__main__":
    answers = {"missing": missing, "packages": packages}
    if len(sys.argv) != 2 or sys.argv[1] not in answers:
        sys.exit("usage: python3 -m tests.integration.peers missing|packages")
    print(*answers[sys.argv[1]]())
