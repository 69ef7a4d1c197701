"""How many files the server may have open.

Many systems let a process have 1,024 unless it asks for more. Each account that is in use has seven::

    allow_many_files()      # before the store is opened
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

__all__ = ["allow_many_files"]

#: As the unit for systemd that ``moxmail quickstart`` writes has it.
_FILES: Final = 65_535


def allow_many_files() -> None:
    """Raise the limit as far as this process may, if it is lower than what many accounts and connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
