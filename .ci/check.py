"""Every check of the project, one after the other, and a plain count at the end.

``make test`` runs all steps; ``make test ARGS="lint types"`` or a tox environment only those it names. All steps are run even when
one fails, and the suite comes last, so that the output ends with what trial says, followed by our line::

    Ran 812 tests in 93.412s

    PASSED (skips=14, successes=798)
    798 passed, 0 failed, 14 skipped

The exit code is 0 only when every step succeeded, at least one test was run and, with ``MOXTWISTED_NO_SKIP`` set in the
environment, none was skipped for want of something that could be installed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NO_SKIP = "MOXTWISTED_NO_SKIP"

#: Nothing can install what lies beside the repository (the texts of the RFCs): a skip for want of it is never a failure.
BESIDE = "../shared"

#: A command that takes longer than this hangs, and is ended. The whole suite stays under ten minutes on two cores.
COMMAND_SECONDS = 1800.0
PYTHON = sys.executable
SCRIPTS = Path(PYTHON).parent

#: What mypy reads, strictly.
TYPED = [
    name
    for name in ("moxtwisted", "twisted/plugins", "tests", "examples", ".ci/check.py")
    if (ROOT / name).exists()
]

STEPS: Mapping[str, Sequence[Sequence[str]]] = {
    "lint": [
        [PYTHON, "-m", "ruff", "check", "."],
        [PYTHON, "-m", "ruff", "format", "--check", "."],
    ],
    "layers": [[str(SCRIPTS / "lint-imports"), "--no-logo"]],
    "types": [[PYTHON, "-m", "mypy", *TYPED]],
    "docs": [
        [PYTHON, "-m", "sphinx", "-E", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html"],
        [PYTHON, ".ci/apidocs.py"],
        [
            PYTHON,
            "-m",
            "towncrier",
            "build",
            "--config",
            "newsfragments/towncrier.toml",
            "--dir",
            ".",
            "--draft",
            "--version",
            "next",
        ],
    ],
    "fuzz": [[PYTHON, "-m", "tests.fuzz.run"]],
    "suite": [[PYTHON, "-m", "twisted.trial", "--jobs", "2", "tests"]],
}


class Tally(NamedTuple):
    """What trial's closing lines say, as counts of tests."""

    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        """The plain line: ``N passed, N failed`` and, when there are any, ``N skipped``."""
        line = f"{self.passed} passed, {self.failed} failed"
        return f"{line}, {self.skipped} skipped" if self.skipped else line


def tally(output: Iterable[str]) -> Tally | None:
    """Read the counts from trial's output; None when trial did not get as far as printing them.

    Only a verdict that follows the last ``Ran N tests`` line counts, for a test may print anything.
    """
    ran: int | None = None
    counts: dict[str, int] | None = None
    for line in output:
        if found := re.fullmatch(r"Ran (\d+) tests? in [\d.]+s", line):
            ran, counts = int(found[1]), None
        elif ran is not None and (
            found := re.fullmatch(r"(?:PASSED|FAILED)(?: \(([a-zA-Z]+=\d+(?:, [a-zA-Z]+=\d+)*)\))?", line)
        ):
            parts = (found[1] or "").split(", ") if found[1] else []
            counts = {name: int(number) for name, number in (part.split("=") for part in parts)}
    if ran is None or counts is None:
        return None
    return Tally(
        passed=counts.get("successes", 0) + counts.get("expectedFailures", 0),
        failed=sum(counts.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses")),
        skipped=counts.get("skips", 0),
    )


def skip_reasons(output: Iterable[str]) -> dict[str, int]:
    """Why tests were skipped, and how many for each reason, from trial's ``[SKIPPED]`` blocks."""
    reasons: dict[str, int] = {}
    state, reason = "", ""
    for line in output:
        if line == "[SKIPPED]":
            state, reason = "reason", ""
        elif line.startswith(("=====", "-----")):
            state = ""
        elif state == "reason":
            if line:
                reason = f"{reason} {line.strip()}".strip()
            else:
                state = "names"
        elif state == "names" and re.fullmatch(r"[\w.]+", line):
            reasons[reason] = reasons.get(reason, 0) + 1
    return reasons


def run(command: Sequence[str]) -> tuple[int, list[str]]:
    """Run one command, show its output as it comes, and return its exit code and its lines."""
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as child:
        assert child.stdout is not None
        limit = threading.Timer(COMMAND_SECONDS, child.kill)
        limit.start()
        try:
            for line in child.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                lines.append(line.rstrip("\n"))
        finally:
            # Also after Ctrl-C: its thread would keep us until the time is over.
            limit.cancel()
    return child.returncode, lines


def close(code: int, lines: Sequence[str]) -> list[str]:
    """Print the plain count and what a fuller run would need; return what is wrong with the suite."""
    counted = tally(lines)
    if counted is None:
        print("0 passed, 1 failed")
        return ["trial did not finish"]
    print(counted)
    problems = []
    if counted.failed or code:
        problems.append("tests failed")
    if not counted.passed + counted.failed + counted.skipped:
        problems.append("no test was run")
    if counted.skipped:
        reasons = skip_reasons(lines)
        allowed = sum(number for reason, number in reasons.items() if BESIDE in reason)
        if os.environ.get(NO_SKIP) and counted.skipped > allowed:
            problems.append(f"tests were skipped, and {NO_SKIP} is set")
        print("\nskipped:")
        for reason, number in sorted(reasons.items()):
            print(f"  {number:4} x {reason}")
        sys.path.insert(0, str(ROOT))
        from tests.integration import peers

        if missing := peers.missing():
            print(f'"make peers" (as root, on Debian or Ubuntu) would add: {" ".join(missing)}')
    return problems


def main(names: Sequence[str]) -> int:
    """Run the named steps, or all; return the exit code."""
    if unknown := [name for name in names if name not in STEPS]:
        print(f"unknown: {' '.join(unknown)}; the steps are {' '.join(STEPS)}", file=sys.stderr)
        return 2
    problems: list[str] = []
    for name in names or STEPS:
        print(f"==> {name}", flush=True)
        for command in STEPS[name]:
            code, lines = run(command)
            if name == "suite":
                problems += close(code, lines)
            elif code:
                problems.append(f"{name} ({' '.join(command[1:3])})")
    if problems:
        print(f"\nnot good: {'; '.join(problems)}")
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("\ninterrupted")
