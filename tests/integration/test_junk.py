"""The junk filter in the whole server: strangers are judged by what the account has learned, and the words are told."""

from __future__ import annotations

from tests.integration.strangers import CLIENT, StrangersCase
from tests.server.junk.letters import junk, wanted
from tests.test_compose import IP


class JunkTests(StrangersCase):
    def setUp(self) -> None:
        """A server whose account has learned."""
        super().setUp()
        for kind, make in (("ham", wanted), ("junk", junk)):
            folder = self.directory / kind
            folder.mkdir()
            for number in range(60):
                (folder / str(number)).write_bytes(make(number))
        self.moxmail(
            "junk",
            "train",
            "mox",
            "--ham",
            str(self.directory / "ham"),
            "--junk",
            str(self.directory / "junk"),
        )
        self.child = self.start()

    def send(self, number: int, octets: bytes) -> str:
        """The answer to a message of a stranger."""
        with self.connect(1025, self.child) as client:
            client.say(f"PROXY TCP4 {CLIENT} {IP} 4711 25")
            client.line()
            client.smtp("EHLO out.sender.example")
            client.smtp("MAIL FROM:<a@sender.example>")
            self.assertIn("250", client.smtp("RCPT TO:<mox@localhost>"))
            client.smtp("DATA")
            fields = (
                f"From: a{number}@sender.example",
                "To: mox@localhost",
                f"Message-ID: <{number}@sender.example>",
            )
            return client.smtp(*fields, *octets.decode().split("\r\n"), ".")

    def test_stranger(self) -> None:
        """A stranger's letter is taken, junk is not, and why is in the copy."""
        self.assertIn("250 2.", self.send(1, wanted(777)))
        answer = self.send(2, junk(778))
        self.assertEqual(answer[:3], "451", answer)
        self.until(lambda: "junk-content" in self.reason("Rejects"), "no copy")
        self.assertIn("pills", self.reason("Rejects"))
