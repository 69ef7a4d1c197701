"""What a message of 4 KB costs on its way in: CPU microseconds, the best of some rounds, with an account per line of what is known of
the sender, all answers of the DNS in the cache, a line for the log, and the store's commits in the same thread.

::

    python -m tests.bench.inbound              # the figures
    python -m tests.bench.inbound profile      # where the time goes after verification
    python -m tests.bench.inbound calls        # how many calls a message takes, and of what
"""

from __future__ import annotations

import cProfile
import os
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path as FilePath
from types import FrameType
from typing import Any

from attrs import evolve

from moxtwisted.config.startup import collector_paused
from moxtwisted.message.flags import MessageFlags
from moxtwisted.server.inbound.decisions import Bench as Decisions
from moxtwisted.server.inbound.goodsenders import GoodSenders
from moxtwisted.server.inbound.greylisting import Greylisting
from moxtwisted.server.inbound.handler import Inbound, InboundFactory, InboundSettings
from moxtwisted.server.inbound.lease import Lease
from moxtwisted.server.inbound.outcome import Outcome
from moxtwisted.server.inbound.presence import WaitingRoom
from moxtwisted.server.inbound.rejects import Rejects, RejectsPolicy
from moxtwisted.server.inbound.room import Room
from moxtwisted.server.inbound.senderlists import Together
from moxtwisted.server.inbound.senderpolicy import AccountLists, SenderPolicy
from moxtwisted.server.inbound.splitting import Splitting
from moxtwisted.server.inbound.traps import Traps
from moxtwisted.server.intake import Trouble
from moxtwisted.server.judgement.judge import Judge, JudgeParts
from moxtwisted.server.judgement.rules import Rules, RulesHolder, ServerRules
from moxtwisted.server.junk.contentfilter import ContentFilter
from moxtwisted.server.logging import LevelControl, LineObserver, LogFile, begin_logging
from moxtwisted.server.ratelimit import DeliveryLimiter, DeliveryLimits
from moxtwisted.smtp.envelope import NO_MAIL_PARAMETERS, NO_RCPT_PARAMETERS, Recipient, Transaction
from moxtwisted.smtp.peer import Peer
from moxtwisted.smtp.protocol import SMTPServerFactory
from moxtwisted.smtp.settings import Mode, ServerSettings, Timeouts
from moxtwisted.store.interfaces import Addition, NewMessage, Sender
from tests.bench.verification import Bench as Verification
from tests.bench.verification import at_once
from tests.server.house import HOST, House, Line
from tests.server.verification.world import HELLO, IP, path

#: Many short rounds: what others do meanwhile disturbs a few of them.
TIMES = 20
ROUNDS = 100
#: Knows nothing of the sender, and knows the author.
PEOPLE = {"stranger": "alice@example.org", "known": "bob@example.org"}
AUTHOR = Sender(
    localpart="a",
    domain="sender.example",
    organizational_domain="sender.example",
    validated=True,
    dkim_domains=("sender.example",),
    spf_localpart="a",
    spf_domain="sender.example",
    helo_domain=HELLO,
    ip=str(IP),
)


def best(work: Callable[[], None], times: int = TIMES) -> float:
    """Microseconds of CPU that one call takes."""
    found = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(times):
            work()
        found.append((time.process_time() - begin) / times * 1e6)
    return min(found)


class World:
    """A house whose listener has everything that the program gives it."""

    def __init__(self, directory: FilePath) -> None:
        self.house = house = House(directory)
        self.verification = Verification()
        clock = house.clock
        rejects = Rejects(house.store, clock.seconds, lambda _: RejectsPolicy())
        house.delivery.make_room = rejects.make_room
        unlimited = DeliveryLimits((10**9,) * 3, (10**9,) * 3, (10**15,) * 3, (10**15,) * 3)
        parts = JudgeParts(
            limiter=DeliveryLimiter(unlimited, clock),
            entropy=os.urandom,
            directory=house.holder,
            content=ContentFilter(house.store.account, clock),
        )
        rules = RulesHolder(Rules(server=ServerRules(first_time_delay_seconds=0.0)))
        nobody: dict[str, AccountLists] = {}
        policy = SenderPolicy(Together(), Together(), lambda name: nobody.get(name, AccountLists()))
        records: Any = None

        def wanted(recipient: Any) -> bool:
            address = recipient.path.address
            domain = address.domain.ascii if address is not None else ""
            return rules.current.strictness(recipient.account, domain).greylisting

        self.outcome = Outcome(
            delivery=house.delivery,
            bench=Decisions(
                Judge(house.store, rules, parts),
                adjustments=(policy.adjust, Greylisting(records, wanted).adjust, GoodSenders(lambda _: None)),
            ),
            rejects=rejects,
            splitting=Splitting(),
            room=WaitingRoom(clock),
            traps=Traps(lambda *_: None, policy.allowed, house.delivery, lambda: ("", "")),
            policy=policy,
        )
        self._remember()

    def _remember(self) -> None:
        staging = self.house.store.stage(100)
        staging.write(self.verification.message)
        staged = staging.finish()
        account = self.house.store.account("bob")
        flags = MessageFlags.of(0, ["$NotJunk"])
        for i in range(20):
            account.add([Addition("INBOX", NewMessage(staged, b"", 1_690_000_000 + i, flags, AUTHOR))])
        staged.close()

    def inbound(self, *, checked: bool) -> InboundFactory:
        """A listener."""
        house = self.house
        return InboundFactory(
            Inbound(
                settings=InboundSettings(hostname=HOST),
                stage=house.store.stage,
                room=Room(house.store, Trouble(house.clock.seconds), lambda: self.outcome),
                directory=house.holder,
                delivery=house.delivery,
                clock=house.clock,
                connections=house.connections,
                provocation=house.provocation,
                checks=(lambda: self.verification.checks) if checked else None,
                outcome=(lambda: self.outcome) if checked else None,
                seconds=house.clock.seconds,
            )
        )

    def line(self, *, checked: bool) -> Line:
        """A connection."""
        settings = ServerSettings(
            hostname=HOST, mode=Mode.MX, timeouts=Timeouts(slow_read=0.0, slow_write=0.0)
        )
        factory = SMTPServerFactory(settings, self.inbound(checked=checked), self.house.clock)
        line = Line(factory, self.house.clock, str(IP))
        line.say(f"EHLO {HELLO}")
        return line

    def whole(self, recipient: str, *, checked: bool) -> Callable[[], None]:
        """A transaction, from MAIL to the answer."""
        line = self.line(checked=checked)
        octets = self.verification.message.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        commands = f"MAIL FROM:<a@sender.example>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode()

        def send() -> None:
            line.protocol.dataReceived(commands)
            line.protocol.dataReceived(octets)
            answer = line.heard()
            if answer.count("250 2.") != 3:
                raise RuntimeError(answer)

        return send

    def judged(self, recipient: str) -> Callable[[], None]:
        """What comes after verification, without rendering the message."""
        return self._after(recipient, checked=True)

    def unjudged(self, recipient: str) -> Callable[[], None]:
        """The same with nobody to judge."""
        return self._after(recipient, checked=False)

    def _after(self, recipient: str, *, checked: bool) -> Callable[[], None]:
        verified = self.verification.whole()
        if b"dmarc=pass" not in verified.trace:
            raise RuntimeError(verified.trace.decode())
        handler: Any = self.inbound(checked=checked).connected(Peer(ip=IP, port=40000))
        handler.hello(HELLO, True)
        staging = self.house.store.stage(100)
        staging.write(self.verification.message)
        staged = staging.finish()
        sender, forward = path("a@sender.example"), path(recipient)
        transaction = Transaction(sender, NO_MAIL_PARAMETERS)
        transaction.recipients.append(Recipient(forward, NO_RCPT_PARAMETERS))
        found = {forward: self.house.holder.current.resolve(forward)}

        def give() -> None:
            if checked:
                lease = Lease(staged)
                lease.keep()
                answer = at_once(handler._judged(transaction, found, (), lease, evolve(verified)))
            else:
                answer = at_once(handler._into_accounts(transaction, found, staged, None))
            if answer is not None:
                raise RuntimeError(str(answer))

        return give


def _profile(world: World, recipient: str) -> None:
    work, times = world.judged(recipient), 2000
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(times):
        work()
    profile.disable()
    pstats.Stats(profile, stream=sys.stdout).sort_stats("cumulative").print_stats(70)
    pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(45)


def _calls(work: Callable[[], None], most: int = 40) -> None:
    """Count what one message calls: ours and Python's functions, and those of C (but operators and attributes)."""
    python: Counter[str] = Counter()
    c: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            python[f"{FilePath(frame.f_code.co_filename).name} {frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            c[argument.__qualname__] += 1

    for _ in range(TIMES):
        work()
    sys.setprofile(note)
    for _ in range(TIMES):
        work()
    sys.setprofile(None)
    print(f"{python.total() / TIMES:.0f} of Python, {c.total() / TIMES:.0f} of C")
    for name, count in (python + c).most_common(most):
        print(f"{count / TIMES:6.1f} {name}")


def main() -> None:
    """Print the figures."""
    with collector_paused():
        pass  # from here on it looks as seldom as in the program
    shared = "/dev/shm"  # files that cost nothing but CPU
    place = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as directory:
        begin_logging(LineObserver(LogFile(os.devnull), LevelControl("info")))
        world = World(FilePath(directory) / "house")
        if sys.argv[1:2] == ["profile"]:
            _profile(world, PEOPLE[(*sys.argv[2:], "stranger")[0]])
            return
        if sys.argv[1:2] == ["calls"]:
            _calls(world.whole(PEOPLE[(*sys.argv[2:], "stranger")[0]], checked=True))
            return
        print(f"not judged               {best(world.unjudged('carol@all.example')):7.1f}")
        for name, recipient in PEOPLE.items():
            print(f"judged, {name:<16} {best(world.judged(recipient)):7.1f}")
        print(f"whole, no checks         {best(world.whole('carol@all.example', checked=False)):7.1f}")
        for name, recipient in PEOPLE.items():
            print(f"whole, {name:<17} {best(world.whole(recipient, checked=True)):7.1f}")


if __name__ == "__main__":
    main()
