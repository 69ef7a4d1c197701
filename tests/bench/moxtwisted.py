"""The driver for the benchmark against real peers: a server with real accounts, as an operator would run it.

Run: BENCH_DRIVERS=tests/bench python3 ../shared/bench/bench.py run W1 --servers postfix_dovecot,moxtwisted

As ``quickstart`` sets it up, it has a process of its own that takes in mail from strangers; the variant ``moxtwisted:alone`` has none.
``moxtwisted:nochecks`` neither verifies nor judges that mail, as Postfix and Dovecot do not there, and has no such process either;
``moxtwisted:keepers`` is the same with two processes that serve IMAP.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from drivers.base import DOMAIN, PASSWORD  # type: ignore[import-not-found]
from drivers.base import Server as Base

PYTHON = os.environ.get("MOXTWISTED_PYTHON", str(Path(__file__).parents[2] / ".venv" / "bin" / "python"))

WARM_SECONDS = 3.0

MOX_CONF = """\
hostname = "mail.{domain}"
data_directory = "data"

[postmaster]
account = "u0"

[authentication]
allow_plain_without_tls = true

[receivers]
processes = {receivers}

[keepers]
processes = {keepers}

[resolver]
validate = false

[verification]
enabled = {checks}

[judgement]
enabled = {checks}
first_time_sender_delay_seconds = 0

[listeners.local]
ips = ["{ip}"]

[listeners.local.tls]
certificates = [{{certificate = "cert.pem", key = "key.pem"}}]

[listeners.local.smtp]
port = 2025

[listeners.local.submission]
port = 2587
require_starttls = false

[listeners.local.imap]
port = 2143
require_starttls = false

[limits.smtp]
submitted_messages_per_day = 1000000
first_time_recipients_per_day = 1000000
"""

ACCOUNT = """
[accounts.u{i}]
domain = "{domain}"
addresses = {{"u{i}@{domain}" = {{}}}}
"""

# All passwords in one process: a command for each would cost half a second each.
PASSWORDS = """
import sys
from pathlib import Path
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from moxtwisted.compose.offline import offline

async def work():
    administration = await offline(Path(sys.argv[1]), reactor)
    for i in range(int(sys.argv[2])):
        await administration.set_password(f"u{i}", sys.argv[3])
    await administration.close()

task.react(lambda reactor: Deferred.fromCoroutine(work()))
"""


class Server(Base):  # type: ignore[misc]
    """moxtwisted under twistd."""

    ip = "127.0.0.4"
    notes = "twistd moxmail with a receiver, encrypted store, search index, all checks, junk filter, log level info"
    checks = "true"
    receivers = 1
    keepers = 0

    def use_variant(self, variant: str) -> None:
        """``alone``, ``nochecks``, ``keepers``."""
        if variant not in {"alone", "nochecks", "keepers"}:
            super().use_variant(variant)
        self.receivers = 0
        self.keepers = 2 if variant == "keepers" else 0
        self.notes = self.notes.replace(" with a receiver", " with two keepers" if self.keepers else "")
        if variant != "alone":
            self.checks = "false"
            self.notes = self.notes.replace("all checks, junk filter", "no checks")

    def install(self) -> None:
        """Write the configuration, the key and the accounts."""
        directory = Path(self.dir)
        (directory / "mox.conf").write_text(
            MOX_CONF.format(
                domain=DOMAIN, ip=self.ip, checks=self.checks, receivers=self.receivers, keepers=self.keepers
            )
        )
        accounts = "".join(ACCOUNT.format(i=i, domain=DOMAIN) for i in range(self.accounts))
        (directory / "domains.conf").write_text(f'[domains."{DOMAIN}"]\n{accounts}')
        self._python(
            "from moxtwisted.config.storekey import *; create_key_file(__import__('pathlib').Path('store.key'), new_key())"
        )
        self._python(PASSWORDS, "mox.conf", str(self.accounts), PASSWORD)

    def _python(self, code: str, *arguments: str) -> None:
        subprocess.run([PYTHON, "-c", code, *arguments], cwd=self.dir, check=True)

    def launch(self) -> None:
        """Start it in the foreground."""
        twistd = Path(PYTHON).parent / "twistd"
        # An installed program has its bytecode; without it W6 would measure the compiler.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        command = [PYTHON, str(twistd), "--nodaemon", "--pidfile=", "moxmail", "-c", "mox.conf"]
        self.spawn(command, env=environment)

    def start(self) -> Any:
        """As all, and let what is imported behind the open ports be there: figures are about mail, W6 measures the start."""
        took = super().start()
        time.sleep(WARM_SECONDS)
        return took

    def storage(self) -> list[Any]:
        """The databases."""
        return [str(Path(self.dir) / "data")]


if __name__ == "__main__":
    sys.exit("run it by ../shared/bench/bench.py, see the first lines")
