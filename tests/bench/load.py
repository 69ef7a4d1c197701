"""Our smtp-source and smtp-sink beside Postfix's: messages a second and CPU of both ends, each source against each sink in turn.

::

    python -m tests.bench.load                 # needs Postfix's programs; as root they run as nobody

Messages have a payload of 4,000 octets, in ten sessions, over kept connections and over a connection for each. Figures are medians
of the rounds.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from tests.integration.peers import locate

ROOT = Path(__file__).resolve().parent.parent.parent
ROUNDS = 5
#: Messages of a run: over kept connections, over one for each.
MESSAGES = {True: 20_000, False: 5_000}
OURS = (sys.executable, "-m", "moxtwisted.cli")


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_sink(ours: bool) -> tuple[subprocess.Popen[bytes], str]:
    """A sink, and where it listens."""
    where = f"127.0.0.1:{free_port()}"
    user = ("-u", "nobody") if os.geteuid() == 0 else ()
    command = (*OURS, "smtp-sink", "--quiet") if ours else (locate("smtp-sink") or "smtp-sink", *user)
    child = subprocess.Popen(
        (*command, where, "200"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    host, _, port = where.partition(":")
    while True:
        try:
            socket.create_connection((host, int(port)), 5).close()
            return child, where
        except OSError:
            time.sleep(0.05)


def used_by(child: subprocess.Popen[bytes]) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_source(ours: bool, where: str, *, keep: bool) -> tuple[float, float]:
    """Messages a second, and CPU microseconds a message; ours without the start of Python."""
    count = MESSAGES[keep]
    options = ("-s", "10", "-m", str(count), "-l", "4000", *(("-d",) if keep else ()), where)
    command = (
        (*OURS, "smtp-source", "--quiet", "--json") if ours else (locate("smtp-source") or "smtp-source",)
    )
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    out = subprocess.run((*command, *options), cwd=ROOT, capture_output=True, check=True).stdout
    seconds, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if ours:
        facts = json.loads(out)
        seconds, cpu = facts["seconds"], facts["cpu_seconds"]
    return count / seconds, cpu / count * 1e6


def main() -> None:
    """Print a line for each pair."""
    names = {True: "ours", False: "Postfix's"}
    sinks = {ours: start_sink(ours) for ours in (False, True)}
    figures: dict[tuple[bool, bool, bool], list[tuple[float, float, float]]] = {}
    try:
        for _ in range(ROUNDS):
            for keep, count in MESSAGES.items():
                for sink, (child, where) in sinks.items():
                    for source in (False, True):
                        before = used_by(child)
                        rate, cpu = run_source(source, where, keep=keep)
                        taken = (used_by(child) - before) / count * 1e6
                        figures.setdefault((keep, sink, source), []).append((rate, cpu, taken))
    finally:
        for child, _ in sinks.values():
            child.terminate()
            child.wait()
    for (keep, sink, source), found in figures.items():
        rate, cpu, taken = (median(each[i] for each in found) for i in range(3))
        print(
            f"{'kept' if keep else 'one each':9} sink {names[sink]:10} source {names[source]:10} "
            f"{rate:7,.0f} messages/s, source {cpu:4.0f} µs, sink {taken:4.0f} µs"
        )


if __name__ == "__main__":
    main()
