"""A parser that says in a line or two what is wrong with a command line, and what was probably meant.

::

    $ moxmail badsmtp --prot 2526
    moxmail badsmtp: there is no --prot, did you mean --port?
    moxmail badsmtp --help says what there is
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

__all__ = ["Parser"]

_OPTION = re.compile(r"(?<![\w-])--?[A-Za-z0-9][\w-]*")
_CHOICE = re.compile(r"argument COMMAND: invalid choice: '([^']*)'")


class Parser(argparse.ArgumentParser):
    """Like that of Python, without the whole usage before the one line that matters.

    :ivar command_names: the commands below it, if any.
    :ivar fill: adds arguments that are dear to find out, when this command is parsed or explained; the others need not wait.
    """

    command_names: Collection[str] = ()
    fill: Callable[[], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See ``ArgumentParser``."""
        fill, self.fill = self.fill, None
        if fill is not None:
            fill()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with status 2."""
        choice = _CHOICE.match(message)
        if choice is not None:
            message = f"there is no command {choice[1]}{_meant(choice[1], self.command_names)}"
        self.exit(2, f"{self.prog}: {message}\n{self.prog} --help says what there is\n")

    def unknown(self, words: Sequence[str]) -> NoReturn:
        """Nobody knows these words; ends with status 2."""
        word = next((word for word in words if word.startswith("-")), words[0])
        name = word.partition("=")[0]
        if not name.startswith("-"):
            self.error(f"nothing is expected at {name!r}")
        self.error(f"there is no {name}{_meant(name, _OPTION.findall(self.format_help()))}")


def _meant(word: str, known: Collection[str]) -> str:
    near = get_close_matches(word, known, 1) if len(word) > 2 else []
    return f", did you mean {near[0]}?" if near else ""
