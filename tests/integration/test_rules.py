"""What owners of domains, recipients and lists in the DNS want of a message, in the whole server, with a name server of our own."""

from __future__ import annotations

from tests.integration.strangers import CLIENT, StrangersCase
from tests.integration.test_verification import ZONE
from tests.test_compose import IP

POLICIES = {
    ("_dmarc.bank.example.", "TXT"): '"v=DMARC1; p=reject"',
    ("_dmarc.shop.example.", "TXT"): '"v=DMARC1; p=quarantine"',
}
LISTED = {
    ("2.0.0.127.bl.example.", "A"): "127.0.0.2",
    ("7.100.51.198.bl.example.", "A"): "127.0.0.3",
}
RULESET = """"mox@localhost" = {rulesets = [
    {msg_from_regexp = "@bank\\\\.example$", list_allow_domain = "sender.example", mailbox = "Lists"},
]}
"""


class RulesTests(StrangersCase):
    zone = ZONE | POLICIES | LISTED

    def send(self, number: int, author: str, subject: str = "hello") -> str:
        """The answer to a message of a client whose SPF passes."""
        with self.connect(1025, self.child) as client:
            client.say(f"PROXY TCP4 {CLIENT} {IP} 4711 25")
            client.line()
            client.smtp("EHLO out.sender.example")
            client.smtp("MAIL FROM:<a@sender.example>")
            self.assertIn("250", client.smtp("RCPT TO:<mox@localhost>"))
            client.smtp("DATA")
            identifier = f"<{number}@sender.example>"
            return client.smtp(
                f"From: {author}", f"Message-ID: {identifier}", f"Subject: {subject}", "", "It works.", "."
            )

    def test_policies(self) -> None:
        """A policy of reject refuses, one of quarantine sets aside; a rule set lets a list in as soon as it is written."""
        self.child = self.start()
        self.assertEqual(
            self.send(1, "x@bank.example"), "550 5.7.26 refused by the DMARC policy of bank.example"
        )
        self.until(lambda: "dmarc-policy" in self.reason("Rejects"), "no copy")
        self.assertIn("250 2.", self.send(2, "x@shop.example"))
        self.assertIn("dmarc-quarantine; The owner", self.reason("Junk"))
        self.edit('"mox@localhost" = {}\n', RULESET, self.home / "domains.conf")
        self.until(lambda: self.send(3, "x@bank.example")[:3] == "250", "the rule is not in force")
        self.assertIn("list-allow; A rule", self.reason("Lists"))
        self.assertNotIn("Traceback", self.log.read_text())

    def test_list_and_pass(self) -> None:
        """A client in a list is refused, told a pass since its From is proved, and gets through with it."""
        self.edit("[judgement]\n", '[judgement]\ndns_block_lists = ["bl.example"]\ncontact = "ask us"\n')
        self.child = self.start()
        answer = self.send(1, "a@sender.example")
        self.assertEqual(answer, "550 5.7.1 ask us")
        self.until(lambda: "bl.example (127.0.0.3)" in self.reason("Rejects"), "no copy")
        with self.connect(1025, self.child) as client:
            client.say(f"PROXY TCP4 {CLIENT} {IP} 4711 25")
            client.line()
            client.smtp("EHLO out.sender.example")
            client.smtp("MAIL FROM:<a@sender.example>")
            client.smtp("RCPT TO:<mox@localhost>")
            client.smtp("DATA")
            client.say("From: a@sender.example", "Message-ID: <2@sender.example>", "", "It works.", ".")
            token = client.line().rpartition("(pass:")[2].partition(")")[0]
        self.assertEqual(len(token), 22)
        self.assertIn("250 2.", self.send(3, "a@sender.example", f"hello (pass:{token})"))
        self.assertIn("subjectpass; The subject", self.reason("INBOX"))
