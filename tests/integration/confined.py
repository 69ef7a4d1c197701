"""A receiver that tells, when it gets SIGUSR1, what it can still do: ``python -m tests.integration.confined``.

It is the real one, from its start to its end. It tries in the thread in which mail is taken in, in one of the pool in which checks are
made, and in a new one. What it prints, the server writes into its log.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

__all__ = ["MARK", "main"]

#: Before what it prints.
MARK = "tried"
#: Where it finds the directory of the server.
HOME = "CONFINED_HOME"
_IP = "127.0.0.1"


def _unix(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(str(path))


def _connect(address: tuple[str, int]) -> None:
    with socket.socket() as made:
        made.settimeout(10)
        made.connect(address)


def _make_and_remove(path: Path) -> None:
    path.write_bytes(b"x")
    path.unlink()


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _trials(home: Path, ip: str) -> dict[str, Callable[[], object]]:
    """By name."""
    data = home / "data"
    staged = data / "tmp" / f"tried-{threading.get_ident()}"
    return {
        "key": (home / "store.key").read_bytes,
        "conf": (home / "mox.conf").read_bytes,
        "domains": (home / "domains.conf").read_bytes,
        "mail": (data / "accounts" / "mox.db").read_bytes,
        "names": lambda: list(data.iterdir()),
        "written": lambda: (home / "store.key").write_bytes(b""),
        "passwd": Path("/etc/passwd").read_bytes,
        "ctl": lambda: _unix(data / "ctl"),
        "owner": lambda: os.kill(os.getppid(), 0),
        "owners": Path(f"/proc/{os.getppid()}/mem").read_bytes,
        "imap": lambda: _connect((ip, 1143)),
        "program": lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {}),
        "child": _fork,
        "staging": partial(_make_and_remove, staged),
        "import": lambda: __import__("xml.dom.minidom"),
    }


def _errors(home: Path, ip: str) -> str:
    """What came of it, in a few words."""
    found = []
    for name, trial in _trials(home, ip).items():
        try:
            trial()
        except Exception as e:
            found.append(f"{name}={type(e).__name__}")
        else:
            found.append(f"{name}=")
    return " ".join(found)


def main() -> int:
    """Run as ``moxtwisted.tap.receiver`` does."""
    from moxtwisted.tap import receiver

    home, _, ip = os.environ[HOME].partition(" ")

    def tell(where: str) -> None:
        text = f"{MARK} {where} {_errors(Path(home), ip)}\n"
        os.write(1, text.encode())

    def tried(*_: object) -> None:
        from twisted.internet import reactor

        tell("main")
        reactor.callInThread(tell, "pool")  # type: ignore[attr-defined]
        threading.Thread(target=tell, args=("new",)).start()

    signal.signal(signal.SIGUSR1, tried)
    return receiver.main()


if __name__ == "__main__":
    sys.exit(main())
