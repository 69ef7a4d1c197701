"""Commands on the configuration files and the key."""

from __future__ import annotations

import argparse
import sys

from moxtwisted.cli.session import load_for, static_path


def test(arguments: argparse.Namespace) -> int:
    """``config test``: both files, and what they need of this machine."""
    from moxtwisted.config.load import machine_problems

    loaded = load_for(arguments)
    problems = machine_problems(loaded)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 78
    print(f"{static_path(arguments)} and {loaded.domains_path.name} are good")
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
    from moxtwisted.config.storekey import read_key, recovery_form

    key = read_key(load_for(arguments))
    if key is None:
        print("encryption is off: there is no key", file=sys.stderr)
        return 1
    print(recovery_form(key))
    return 0
