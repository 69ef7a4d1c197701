"""Commands on the configuration files and the key."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from moxtwisted.cli.session import load_for, static_path
from moxtwisted.errors import MailError


def test(arguments: argparse.Namespace) -> int:
    """``config test``: both files, and what they need of this machine."""
    from moxtwisted.config.load import DOMAINS_NAME, examine, summary

    path = static_path(arguments)
    findings = examine(path)
    for problem in findings.problems:
        print(problem, file=sys.stderr)
    for note in findings.notes:
        print(f"note: {note}", file=sys.stderr)
    if findings.problems:
        print(summary(path, findings.problems), file=sys.stderr)
        return 78
    print(f"{path} and {DOMAINS_NAME} are good")
    return 0


def describe_static(arguments: argparse.Namespace) -> int:
    """``config describe-static``."""
    from moxtwisted.config.describe import annotated_example
    from moxtwisted.config.schema import StaticConfig

    print(annotated_example(StaticConfig), end="")
    return 0


def describe_domains(arguments: argparse.Namespace) -> int:
    """``config describe-domains``."""
    from moxtwisted.config.describe import annotated_example
    from moxtwisted.config.schema import DomainsConfig

    print(annotated_example(DomainsConfig), end="")
    return 0


def key_show(arguments: argparse.Namespace) -> int:
    """``key show``."""
    from moxtwisted.config.machine import store_key
    from moxtwisted.config.storekey import read_key, recovery_form

    loaded = load_for(arguments)
    key = read_key(loaded)
    if key is None:
        raise MailError("encryption is off: there is no key")
    print(recovery_form(key))
    store_key(loaded)  # what it is the key of: when of something else, that is said, and the status is 1
    _tell_ciphers(loaded.data_directory)
    return 0


def _tell_ciphers(directory: Path) -> None:
    """Beside the key, for people: what the databases are encrypted with."""
    from moxtwisted.cli.output import counted
    from moxtwisted.store.ciphers import cipher_of, preferred_cipher
    from moxtwisted.store.database import databases

    found = Counter(cipher_of(path) for path, _ in databases(directory))
    for cipher, count in found.most_common():
        print(f"{counted(count, 'database')} encrypted with {cipher.value}", file=sys.stderr)
    if found.keys() - {preferred_cipher()}:
        print(
            f"new ones here get {preferred_cipher().value}, and `moxmail key rotate` gives it to all",
            file=sys.stderr,
        )
