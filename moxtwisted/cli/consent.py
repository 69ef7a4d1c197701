"""Asking before something is lost that nobody can bring back: mail, keys.

::

    if not agreed(arguments, "Remove account bob and all its mail?", "bob"):
        return 1

What only changes the configuration files is not asked about: the lists (``alias list`` …) say what to enter again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from moxtwisted.errors import MailError

__all__ = ["add_yes", "agreed"]


def add_yes(add: Callable[..., Any]) -> None:
    """Give a command the option ``--yes``."""
    add("--yes", action="store_true", help="do not ask; needed where nobody can be asked (no terminal)")


def agreed(arguments: argparse.Namespace, question: str, word: str) -> bool:
    """Whether the operator wants it: said ``--yes``, or typed the word at the terminal.

    :param word: what has to be typed.
    :raise MailError: when there is no terminal: what comes from a pipe was not meant as an answer.
    """
    if arguments.yes:
        return True
    if not sys.stdin.isatty():
        raise MailError(f"{question} Nobody can be asked here; nothing was done. With --yes it is done.")
    print(f"{question} Type {word} to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() == word:
        return True
    print("nothing was done", file=sys.stderr)
    return False
