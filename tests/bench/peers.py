"""What the team's benchmark has, for series of one's own: its messages, its clients and the servers that it knows.

::

    work = Path("/tmp/bench-mixture")
    with peers.context(work) as ctx:
        server = peers.make("postfix_dovecot", work, accounts=10)

It lies beside the project; ``BENCH_DRIVERS=tests/bench`` tells it of ours.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["context", "make"]

BENCH = Path(__file__).resolve().parents[3] / "shared" / "bench"
sys.path.insert(0, str(BENCH))


@contextmanager
def context(work: Path) -> Iterator[Any]:
    """The benchmark's context in a folder that is made anew, and that the servers' own users may enter."""
    import bench  # type: ignore[import-not-found]  # the benchmark's own

    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    work.chmod(0o755)
    ctx = bench.Context(str(work))
    try:
        yield ctx
    finally:
        ctx.close()


def make(name: str, work: Path, accounts: int) -> Any:
    """A server that neither is set up nor runs: ``"postfix_dovecot"``, ``"moxtwisted:nochecks"``."""
    import drivers  # type: ignore[import-not-found]  # the benchmark's own

    return drivers.make(name, str(work / name), accounts)
