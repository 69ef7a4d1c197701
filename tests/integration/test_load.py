"""Our source and sink against Postfix's smtp-sink and smtp-source: each pair speaks the same language, and counts alike."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import rmtree
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .live import ROOT, end_with_parent
from .peers import locate, needs

WAIT_SECONDS = 120.0


class LoadTestCase(SynchronousTestCase):
    """Programs in child processes, on unix sockets or any free port."""

    def setUp(self) -> None:
        """A directory with a short path, which a program that gave up root can write to."""
        self.folder = Path(tempfile.mkdtemp(prefix="moxmail-"))
        self.folder.chmod(0o777)
        self.addCleanup(rmtree, self.folder, True)

    def begin(self, *command: str) -> subprocess.Popen[str]:
        """A program that runs; it is ended with the test."""
        child = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, and no locks are held
        )  # fmt: skip
        self.addCleanup(self.end, child)
        return child

    def end(self, child: subprocess.Popen[str]) -> None:
        """Be sure that it is gone."""
        if child.poll() is None:
            child.kill()
        child.communicate()

    def moxmail(self, *arguments: str) -> subprocess.Popen[str]:
        """Our command."""
        return self.begin(sys.executable, "-m", "moxtwisted.cli", *arguments)

    def over(self, child: subprocess.Popen[str]) -> str:
        """Its output, once it has ended well."""
        out, error = child.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(child.returncode, 0, out + error)
        return out

    def our_sink(self, *arguments: str) -> tuple[subprocess.Popen[str], str]:
        """Our sink, and where it listens."""
        child = self.moxmail("smtp-sink", "--json", "--check", *arguments)
        said = child.stderr.readline() if child.stderr is not None else ""
        match = re.match(r"listening on (.*)\n", said)
        if match is None:
            self.fail(f"the sink does not listen: {said}")
        return child, match[1]

    def their_sink(self, *arguments: str) -> tuple[subprocess.Popen[str], str]:
        """Postfix's, and where it listens."""
        path = self.folder / "s"
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        child = self.begin(locate("smtp-sink") or "smtp-sink", *user, *arguments, f"unix:{path}", "100")
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(path))
                    return child, f"unix:{path}"
                except OSError:
                    if child.poll() is not None or time.monotonic() > deadline:
                        raise
            time.sleep(0.02)

    def our_source(self, *arguments: str) -> dict[str, Any]:
        """What our source says, once it is done."""
        facts: dict[str, Any] = json.loads(self.over(self.moxmail("smtp-source", "--json", *arguments)))
        self.assertEqual((facts["ended"], facts["errors"], facts["cut_off"]), ("done", {}, 0))
        return facts

    def their_source(self, *arguments: str) -> None:
        """Postfix's, until it is done."""
        self.over(self.begin(locate("smtp-source") or "smtp-source", *arguments))


@needs("smtp-sink")
class SourceTests(LoadTestCase):
    """Our source, their sink."""

    def test_smtp(self) -> None:
        """Every message is taken, over a connection of its own or over kept ones, and their sink has as many files."""
        _, where = self.their_sink("-d", f"{self.folder}/m.")
        facts = self.our_source("-s", "4", "-m", "60", "-r", "2", where)
        self.assertEqual((facts["messages"]["delivered"], facts["connections"]), (60, 60))
        facts = self.our_source("-d", "-s", "4", "-m", "60", "-l", "100-200000", where)
        self.assertEqual((facts["messages"]["delivered"], facts["connections"]), (60, 4))
        numbers = [
            re.findall(r"Message-ID: <load\.([0-9a-f]+\.\d+)\.", file.read_text())
            for file in self.folder.glob("m.*")
        ]
        self.assertEqual((len(numbers), len(set(map(tuple, numbers)))), (120, 120))

    def test_lmtp(self) -> None:
        """LMTP with several recipients, one command at a time."""
        _, where = self.their_sink("-L", "-p")
        facts = self.our_source("-L", "-d", "-s", "2", "-m", "20", "-r", "3", where)
        self.assertEqual((facts["messages"]["delivered"], facts["recipients"]["accepted"]), (20, 60))

    def test_refusals(self) -> None:
        """Their refusals are counted, and end nothing."""
        _, where = self.their_sink("-r", "RCPT")
        child = self.moxmail("smtp-source", "--json", "-d", "-m", "5", where)
        out, error = child.communicate(timeout=WAIT_SECONDS)
        facts = json.loads(out)
        self.assertEqual((child.returncode, facts["messages"]["refused"]), (1, 5), error)
        refused = {
            (reply["command"], reply["code"]): reply["count"]
            for reply in facts["replies"]
            if reply["code"] >= 400
        }
        self.assertEqual(refused["RCPT", 450], 5)


@needs("smtp-source")
class SinkTests(LoadTestCase):
    """Their source, our sink."""

    def test_smtp(self) -> None:
        """Every message is counted, with its recipients, over connections of their own and kept ones."""
        for options, sessions in ((("-s", "4"), 60), (("-s", "4", "-d"), 4)):
            sink, where = self.our_sink("-M", "60", "127.0.0.1:0")
            self.their_source(*options, "-m", "60", "-r", "2", "-l", "5000", where)
            facts = json.loads(self.over(sink))
            self.assertEqual(
                (facts["messages"]["accepted"], facts["recipients"], facts["unnumbered"]), (60, 120, 60)
            )
            self.assertEqual(facts["sessions"]["all"], sessions)

    def test_lmtp_over_a_unix_socket(self) -> None:
        """LMTP has a reply for each recipient."""
        sink, where = self.our_sink("-L", "-M", "20", f"unix:{self.folder}/s")
        self.their_source("-L", "-m", "20", "-r", "3", where)
        facts = json.loads(self.over(sink))
        self.assertEqual((facts["messages"]["accepted"], facts["recipients"]), (20, 60))

    def test_refusals(self) -> None:
        """Their source goes on after our refusals when it is told to."""
        sink, where = self.our_sink("-f", ".", "-n", "3", "127.0.0.1:0")
        self.their_source("-A", "-m", "3", where)
        facts = json.loads(self.over(sink))
        self.assertEqual(
            (facts["messages"]["accepted"], facts["messages"]["refused"], facts["refusals"]), (0, 3, {".": 3})
        )
