"""``moxmail junk`` on closed files and on a running server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.test_live import IP, LiveTestCase
from tests.server.junk.letters import junk, wanted


class JunkTests(LiveTestCase):
    def setUp(self) -> None:
        """A server that is down, and labelled mail."""
        super().setUp()
        self.moxmail("localserve", "--dir", str(self.home), "--ip", IP, "--init-only")
        for kind, make in (("ham", wanted), ("junk", junk)):
            folder = self.directory / kind
            folder.mkdir()
            for number in range(60):
                (folder / str(number)).write_bytes(make(number))
        (self.directory / "ham" / "noise").write_bytes(b"\0\1")

    @property
    def ham(self) -> str:
        return str(self.directory / "ham")

    @property
    def junk(self) -> str:
        return str(self.directory / "junk")

    def status(self) -> tuple[int, int, bool]:
        """What was learned."""
        [row] = json.loads(self.moxmail("junk", "status", "--json"))
        self.assertEqual(row["waiting"], 0)
        return row["ham"], row["junk"], row["judges"]

    def probability(self, octets: bytes) -> float:
        """Of a message."""
        path = Path(self.directory / "asked")
        path.write_bytes(octets)
        answer = json.loads(self.moxmail("junk", "check", "mox", str(path), "--json"))
        probability: float = answer["probability"]
        return probability

    def test_closed(self) -> None:
        """Without a server: training, again without doing it twice, asking, learning anew, and a check that agrees."""
        self.assertEqual(self.status(), (0, 0, False))
        said = self.moxmail("junk", "train", "mox", "--ham", self.ham, "--junk", self.junk)
        self.assertIn("60 messages put into Junk/Training as junk", said)
        self.assertIn("60 messages put into Training as not junk", said)
        self.assertIn("noise: does not begin as a message does", said)
        self.assertEqual(self.status(), (60, 60, True))
        self.assertIn("60 there already", self.moxmail("junk", "train", "mox", "--junk", self.junk))
        self.assertGreater(self.probability(junk(777)), 0.95)
        self.assertLess(self.probability(wanted(777)), 0.05)
        self.assertIn("subject:CHEAP", self.moxmail("junk", "check", "mox", "-", stdin=junk(5).decode()))
        self.moxmail("junk", "retrain")
        self.assertEqual(self.status(), (60, 60, True))
        self.assertIn("everything is in order", self.moxmail("verifydata"))

    def test_running(self) -> None:
        """The same through the control socket."""
        self.serve()
        self.moxmail("junk", "train", "mox", "--ham", self.ham, "--junk", self.junk)
        self.assertEqual(self.status(), (60, 60, True))
        self.assertGreater(self.probability(junk(778)), 0.95)
        self.moxmail("junk", "retrain", "mox")
        self.assertEqual(self.status(), (60, 60, True))

    def test_refused(self) -> None:
        """What is not there is said."""
        self.assertIn("no account nobody", self.moxmail("junk", "retrain", "nobody", status=1))
        self.assertIn("no such file", self.moxmail("junk", "train", "mox", "--ham", "/nowhere", status=1))
        self.assertIn("nothing to learn", self.moxmail("junk", "train", "mox", status=1))
        self.assertIn("No such file", self.moxmail("junk", "check", "mox", "/nowhere", status=1))

    def test_play(self) -> None:
        """Labelled mail can be tried without any account."""
        said = self.moxmail("junk", "play", "--ham", self.ham, "--junk", self.junk)
        self.assertIn("60 wanted messages, 60 junk messages", said)
        self.assertRegex(said, r"0\.95 +0 +100\.0%")
        report = json.loads(
            self.moxmail("junk", "play", "--ham", self.ham, "--junk", self.junk, "--json").partition(
                "left out"
            )[0]
        )
        self.assertEqual(report["ham"], 60)
        self.assertIn(
            f"--junk {self.ham}/noise: no message is there; mail of both kinds",
            self.moxmail("junk", "play", "--ham", self.ham, "--junk", self.ham + "/noise", status=1),
        )
