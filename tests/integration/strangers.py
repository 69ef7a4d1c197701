"""A whole server whose clients are strangers from anywhere, by the PROXY protocol, and whose DNS is ours."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.integration import test_verification
from tests.integration.test_verification import ZONE, NameServer
from tests.test_compose import IP, ComposeCase

CLIENT = "198.51.100.7"


class StrangersCase(ComposeCase):
    """Strangers do not wait, and bad clients are answered at once.

    :ivar child: the server, once a test has started it.
    :cvar zone: what the DNS has.
    :cvar settings: of ``mox.conf`` besides.
    """

    zone: ClassVar[dict[tuple[str, str], str]] = ZONE
    child: Any
    settings: ClassVar[str] = "[judgement]\nfirst_time_sender_delay_seconds = 0\n"

    def setUp(self) -> None:
        """Configured, and not started."""
        super().setUp()
        self.patch(test_verification, "ZONE", self.zone)
        self.dns = NameServer(IP)
        self.addCleanup(self.dns.stop)
        resolver = f'[resolver]\nservers = ["{self.dns.address}"]\nvalidate = false\n\n{self.settings}'
        self.edit("[verification]\nenabled = false\n", resolver)
        self.edit('ips = ["', 'proxy_protocol_from = ["127.0.0.0/8"]\nips = ["')
        self.edit("[limits.smtp]\n", "[limits.smtp]\nslow_mode = false\n")

    def reason(self, mailbox: str) -> str:
        """Why the first message there was taken or refused."""
        with self.connect(1143, self.child) as client:
            client.say(f"PROXY TCP4 198.51.100.8 {IP} 4711 143")
            client.line()
            client.imap("STARTTLS")
            client.tls()
            client.imap("LOGIN mox@localhost moxmoxmox")
            client.imap(f"SELECT {mailbox}")
            return client.imap("FETCH 1 BODY.PEEK[HEADER.FIELDS (X-Moxtwisted-Reason)]")
