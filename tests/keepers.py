"""Keepers for the servers of tests, which have none.

``MOXTWISTED_KEEPERS=2 python -m twisted.trial tests.integration`` gives each of them two, for a run by hand.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["ALSO_LOCALSERVE", "KEEPERS", "write_keepers"]

#: How many a server gets that says nothing else.
KEEPERS: Final = int(os.environ.get("MOXTWISTED_KEEPERS", "0"))
#: ``localserve`` has none, whatever the configuration says. What it takes in for any address is decided in the server all the same.
ALSO_LOCALSERVE: Final = """
from moxtwisted.compose.parts import Parts
Parts.has_keepers = property(lambda parts: parts.static.keepers.processes > 0)
"""


def write_keepers(path: Path, count: int) -> None:
    """Let a ``mox.conf`` that ``localserve`` made want so many."""
    text = path.read_text()
    if "[keepers]" not in text:
        path.write_text(
            text.replace("[postmaster]\n", f"[keepers]\nprocesses = {count}\n\n[postmaster]\n", 1)
        )
