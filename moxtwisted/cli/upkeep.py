"""Commands that check and mend what is kept."""

from __future__ import annotations

import argparse
import sys

from moxtwisted.cli.consent import agreed
from moxtwisted.cli.output import counted
from moxtwisted.cli.progress import ProgressBar
from moxtwisted.cli.session import call, load_for
from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.rekey import change_key
from moxtwisted.store.keys import MasterKey


def verify_data(arguments: argparse.Namespace) -> int:
    """``verifydata``."""
    problems = call(
        arguments, lambda administration, show: administration.verify_data(arguments.account, show)
    )
    for problem in problems:
        print(problem)
    print(f"{counted(len(problems), 'problem')} found" if problems else "everything is in order")
    return 1 if problems else 0


def _counted(arguments: argparse.Namespace, operation: str) -> int:
    result: dict[str, int] = call(
        arguments, lambda administration, show: getattr(administration, operation)(arguments.account, show)
    )
    print(", ".join(f"{name}: {count:,}" for name, count in result.items()))
    return 0


def reparse(arguments: argparse.Namespace) -> int:
    """``reparse``."""
    return _counted(arguments, "reparse")


def recalculate_counts(arguments: argparse.Namespace) -> int:
    """``recalculate-counts``."""
    return _counted(arguments, "recalculate_counts")


def retire(arguments: argparse.Namespace) -> int:
    """``retire``."""
    return _counted(arguments, "retire")


def _change_key(loaded: LoadedConfig, new: MasterKey | None) -> None:
    """In the closed files: with a new key there is nothing that a running server could go on with."""
    bar = ProgressBar(sys.stderr)
    try:
        change_key(loaded, new, bar)
    finally:
        bar.finish()


def key_rotate(arguments: argparse.Namespace) -> int:
    """``key rotate``."""
    loaded = load_for(arguments)
    question = (
        "Encrypt everything with a new key? Back-ups that were made before can be read with the old key only."
    )
    if not agreed(arguments, question, "rotate"):
        return 1
    _change_key(loaded, MasterKey.generate())
    print(
        f"everything is encrypted with a new key, which is in {loaded.resolve(loaded.static.store.key_file)}"
    )
    print("old back-ups need the old key; write down the new one: moxmail key show")
    return 0


def key_off(arguments: argparse.Namespace) -> int:
    """``key off``."""
    loaded = load_for(arguments)
    if not agreed(arguments, "Decrypt everything? Whoever gets at the disk can read the mail then.", "off"):
        return 1
    _change_key(loaded, None)
    print("everything is decrypted; `moxmail key rotate` encrypts it again")
    return 0
