"""Memory does not grow with what is stored: measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

_PROGRAM = """
import json, sys
from pathlib import Path
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store

def peak():
    # Not getrusage: that counts what the parent had before the exec.
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024

store = Store.open(None, Path(sys.argv[1]), MasterKey(b"k" * 32), threads=0)
failed = []
store.create_account("bob").addErrback(failed.append)
account = store.account("bob")
report = {}
"""

_LARGE = """
import os
piece = os.urandom(45_000).hex().encode() + b"\\r\\n"
sink = store.stage()
sink.write(b"Subject: large\\r\\n\\r\\n")
report["before"] = peak()
for _ in range(1112):
    sink.write(piece)
staged = sink.finish()
account.add([Addition("INBOX", NewMessage(staged, b"", 1))]).addErrback(failed.append)
staged.close()
reader = account.open_body(1, 1)
read = 0
while octets := reader.read(read, 1 << 20):
    read += len(octets)
report["size"] = read
"""

_MANY = """
def batch(start):
    staged = []
    for number in range(start, start + 100):
        sink = store.stage()
        sink.write(b"Subject: %d\\r\\nMessage-ID: <%d@x>\\r\\n\\r\\n" % (number, number) + bytes([97 + number % 26]) * 4000)
        staged.append(sink.finish())
    account.add([Addition("INBOX", NewMessage(s, b"", 1)) for s in staged]).addErrback(failed.append)
    for s in staged:
        s.close()
for start in range(0, int(sys.argv[2]), 100):
    batch(start)
    if start == 2000:
        report["before"] = peak()
report["size"] = account.usage()[1]
"""

_END = """
report["after"] = peak()
report["failed"] = [str(f) for f in failed]
print(json.dumps(report))
"""


class MemoryTests(SynchronousTestCase):
    """The peak of the whole process."""

    def run_program(self, program: str, *arguments: str) -> Any:
        """What it reports."""
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                _PROGRAM + program + _END,
                str(Path(self.mktemp()).absolute()),
                *arguments,
            ],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["failed"], [])
        return report

    def test_large_message(self) -> None:
        """A message of 100 MB comes in and goes out through less than 60 MB."""
        report = self.run_program(_LARGE)
        self.assertEqual(report["size"], len(b"Subject: large\r\n\r\n") + 1112 * 90_002)
        self.assertLess(report["after"] - report["before"], 60)

    def test_many_messages(self) -> None:
        """Ten thousand messages in batches of a hundred need little more than the first two thousand did."""
        report = self.run_program(_MANY, "10000")
        self.assertEqual(report["size"], 10_000)
        self.assertLess(report["after"] - report["before"], 30)
