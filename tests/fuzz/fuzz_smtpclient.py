"""Fuzz the SMTP client against a server that says anything.

The session goes as far as the server lets it: EHLO, a message by DATA or BDAT, in LMTP too. Whatever comes, the machine refuses it or the
transaction ends with a result for each recipient; cuts change neither the results nor what we send.
"""

from __future__ import annotations

from attrs import define, field

from moxtwisted.address import parse_path
from moxtwisted.smtp.client import ClientMachine, Replied, ServerRefused, Unsolicited
from moxtwisted.smtp.clientcommands import Command, hello, plain
from moxtwisted.smtp.envelope import MailParameters, RcptParameters, Recipient
from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.transmission import Envelope, Transmission
from tests.fuzz.run import alone
from tests.fuzz.watching import within

BLOCKS = (b"Subject: x\r\n\r\n.dot\r\n", b"bare\nlf\r", b"end")
_LOST = Reply(451, "4.4.2", "connection lost")

_RECIPIENTS = (
    Recipient(parse_path(b"<b@c.example>", smtputf8=False), RcptParameters(notify=frozenset({"FAILURE"}))),
    Recipient(
        parse_path(b"<d@c.example>", smtputf8=False), RcptParameters(orcpt=("rfc822", "d+e@c.example"))
    ),
    Recipient(parse_path(b"<\xc3\xa9@c.example>", smtputf8=True)),
)


@define
class Session:
    """What an agent does with the machine, without waiting."""

    choice: int
    machine: ClientMachine = field(factory=ClientMachine)
    job: Transmission | None = None
    sent: list[bytes] = field(factory=list)
    blocks: list[bytes] = field(factory=list)
    greeted: bool = False
    over: bool = False

    @property
    def lmtp(self) -> bool:
        """Whether it speaks LMTP."""
        return bool(self.choice & 1)

    def say(self, *commands: Command) -> None:
        """Send commands."""
        self.sent.append(self.machine.send(*commands))

    def take(self, octets: bytes) -> None:
        """Take octets of the server, and do what follows."""
        self.machine.receive(octets)
        while not self.over:
            try:
                event = self.machine.next_event()
            except ServerRefused:
                self.over = True
                return
            if event is None:
                return
            self.step(event)

    def step(self, event: Replied | Unsolicited) -> None:
        """One reply."""
        if isinstance(event, Unsolicited) or event.reply.code == 421:
            self.over = True
        elif not self.greeted:
            self.greeted = True
            self.over = event.reply.code != 220
            if not self.over:
                self.say(hello("LHLO" if self.lmtp else "EHLO", "client.example"))
        elif self.job is None:
            if not event.reply.positive:
                self.over = True
                return
            self.begin()
        else:
            self.sent.append(self.job.replied(event))
            self.go_on(event)

    def begin(self) -> None:
        """The message."""
        utf8 = bool(self.choice & 2)
        envelope = Envelope(
            parse_path(b"<>" if self.choice & 4 else b"<a@b.example>", smtputf8=False),
            _RECIPIENTS if utf8 else _RECIPIENTS[: 1 + (self.choice >> 3) % 2],
            MailParameters(
                smtputf8=utf8,
                size=100,
                body=("7BIT", "8BITMIME", "BINARYMIME", "7BIT")[self.choice >> 4 & 3],
                ret="HDRS",
                envid="a b",
                hold_for_seconds=5 if self.choice & 128 else None,
            ),
        )
        self.job = Transmission(
            self.machine, envelope, tls=False, lmtp=self.lmtp, prefer_chunking=bool(self.choice & 64)
        )
        self.sent.append(self.job.start())
        self.blocks = list(BLOCKS)
        self.ended()

    def go_on(self, event: Replied) -> None:
        """Send of the message what may be sent."""
        job = self.job
        if job is None:
            return
        if job.chunked and job.failed and not job.done and not self.machine.outstanding:
            # A chunk was refused.
            self.say(plain("RSET"))
            return
        if job.body_due and job.chunked and not self.machine.outstanding:
            block = self.blocks.pop(0)
            self.sent.append(job.chunk(block, last=not self.blocks))
        elif job.body_due and not job.chunked:
            self.sent += [job.encode(block) for block in self.blocks]
            self.sent.append(job.finish())
        self.ended()

    def ended(self) -> None:
        """Every recipient has a result when the transaction is over."""
        job = self.job
        if job is not None and job.done:
            self.over = True

    def results(self) -> list[tuple[Reply, str]]:
        """What became of the recipients."""
        if self.job is None:
            return []
        if not self.job.done:
            self.job.abandon(_LOST, "LOST")
        found = self.job.results
        wanted = 3 if self.choice & 2 else 1 + (self.choice >> 3) % 2
        if len(found) != wanted:
            raise AssertionError(found)
        return [(r.reply, r.stage) for r in found]


def session(choice: int, octets: bytes, size: int) -> tuple[list[tuple[Reply, str]], bytes]:
    """The results of one session, and what was sent."""
    client = Session(choice)
    for i in range(0, len(octets), size):
        client.take(octets[i : i + size])
    results = client.results()
    delivered = [r for r, _ in results if r.positive]
    sent = b"".join(client.sent)
    if delivered and (client.job is None or client.job.body_due or b"end" not in sent):
        raise AssertionError("delivered what was not sent")
    if b"\r\n.\r\n" in sent.partition(b"Subject: x")[2][:-5] and not client.job.chunked:  # type: ignore[union-attr]
        raise AssertionError(sent)
    return results, sent


def one(data: bytes) -> None:
    """Try one input: an octet for the session, one for the cuts, and what the server says."""
    if len(data) < 2:
        return
    choice, size, octets = data[0], data[1] % 64 + 1, data[2:]
    found = within(
        5000 + 300 * (1 + octets.count(b"\n")), data, lambda: session(choice, octets, len(octets) or 1)
    )
    if session(choice, octets, size) != found:
        raise AssertionError("the cuts change what is sent")


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
