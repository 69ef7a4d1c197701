"""A process that has confined itself, tried from inside."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import moxtwisted
from moxtwisted.server.receivers import landlock, systemcalls
from moxtwisted.server.receivers.landlock import _TooManyError, _without

#: It confines itself and tries what it was told; prints what it achieved, and the error of each trial.
_TRIALS = """
import ctypes, errno, importlib, json, os, signal, socket, subprocess, sys, tempfile, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from moxtwisted.server.receivers import systemcalls as calls
from moxtwisted.server.receivers.confinement import Limits, Numbers, confine

told = json.loads(sys.argv[1])
here = Path(told["here"])
waiting = threading.Event()
if told["thread"]:
    threading.Thread(target=waiting.wait, daemon=True).start()
open_before = os.open(here / "store.key", os.O_RDONLY)
program = os.open("/bin/true", os.O_RDONLY)
limits = Limits(
    readable=[Path(path) for path in told["readable"]],
    writable=[here / "data" / "tmp"],
    secret=[here / "store.key", here / "data"],
    ports=told["ports"],
)
if told["filter"]:
    # As a unit's SystemCallFilter does: whoever asks for Landlock is ended.
    calls.prctl(38, 1)
    name = os.uname().machine
    usual, machine = calls._ACCESS_DENIED, calls._MACHINES[name]
    calls._ACCESS_DENIED = 0x80000000
    calls._MACHINES[name] = type(machine)(machine.audit, machine.seccomp, 100_000, 100_000, (444,), ())
    assert calls.filter_calls()
    calls._ACCESS_DENIED, calls._MACHINES[name] = usual, machine
achieved = confine(limits, Numbers(*told["numbers"]) if told["numbers"] else None)

def staging():
    with tempfile.TemporaryFile(dir=here / "data" / "tmp") as file:
        file.write(b"x")

def in_memory():
    descriptor = os.memfd_create("x")
    os.write(descriptor, b"kept")
    assert Path(f"/proc/self/fd/{descriptor}").read_bytes() == b"kept"

def connect(port):
    with socket.socket() as made:
        made.settimeout(5)
        made.connect(("127.0.0.1", port))

def datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.sendto(b"x", made.getsockname())
        assert made.recv(1) == b"x"

def in_thread():
    found = []
    def work():
        try:
            (here / "store.key").read_text()
        except OSError as e:
            found.append(e)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if found:
        raise found[0]

def fast_open(port):
    with socket.socket() as made:
        made.sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", port))

def listen():
    with socket.socket() as made:
        made.listen()

def bind():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))

def child(pid):
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

def call(number, *arguments):
    made = ctypes.CDLL(None, use_errno=True).syscall
    made.restype = ctypes.c_long
    given = [ctypes.c_long(n) if isinstance(n, int) else n for n in (number, *arguments, *[0] * (6 - len(arguments)))]
    pid = made(*given)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "")
    child(pid)

def clone(flags):
    call(calls._MACHINES[os.uname().machine].clone, flags | signal.SIGCHLD)

def is_not_there():
    # A fork: its fifth field is the signal at its end.
    arguments = (ctypes.c_uint64 * 8)(0, 0, 0, 0, signal.SIGCHLD)
    try:
        call(435, arguments, ctypes.sizeof(arguments))
    except OSError as e:
        assert e.errno == errno.ENOSYS, e
    else:
        raise AssertionError

def pool():
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda port: socket.getaddrinfo("127.0.0.1", port)[0][4], (25, 53)))
    assert found == [("127.0.0.1", 25), ("127.0.0.1", 53)]

trials = {
    "key": (here / "store.key").read_text,
    "key in a thread": in_thread,
    "key by the process": lambda: Path(f"/proc/{os.getpid()}/root{here}/store.key").read_text(),
    "key linked": lambda: os.link(here / "store.key", here / "data" / "tmp" / "key"),
    "open before": lambda: os.read(open_before, 1),
    "database": (here / "data" / "accounts.db").read_bytes,
    "names of databases": lambda: os.listdir(here / "data"),
    "other users": Path("/etc/passwd").read_text,
    "public": (here / "public" / "list").read_text,
    "public, written": lambda: (here / "public" / "list").write_text(""),
    "outside": lambda: (here / "new").write_text(""),
    "staging": staging,
    "staging, by name": lambda: tempfile.NamedTemporaryFile(dir=here / "data" / "tmp").close(),
    "memory": in_memory,
    "import": lambda: importlib.import_module("xml.dom.minidom"),
    "import of ours": lambda: importlib.import_module("moxtwisted.errors"),
    "import of a library": lambda: importlib.import_module("dns.name"),
    "pool": pool,
    "parent": lambda: os.kill(os.getppid(), 0),
    "itself": lambda: os.kill(os.getpid(), 0),
    "memory of the parent": Path(f"/proc/{os.getppid()}/mem").open,
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "pair": socket.socketpair,
    "relative of TCP": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "datagram": datagram,
    "allowed port": lambda: connect(told["ports"][0]),
    "other port": lambda: connect(told["port"]),
    "other port, at once": lambda: fast_open(told["port"]),
    "bind": bind,
    "listen": listen,
    "mode": lambda: (here / "store.key").chmod(0o666),
    "mode of an open file": lambda: os.fchmod(open_before, 0o666),
    "owner": lambda: os.chown(here / "store.key", -1, -1),
    "times": lambda: os.utime(here / "store.key"),
    "more attributes": lambda: os.setxattr(here / "store.key", "user.x", b"x"),
    "length": lambda: os.truncate(here / "store.key", 0),
}
# Unless they are refused, the last of them are the end of this program.
of_processes = {
    "spawn": lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {}),
    "subprocess": lambda: subprocess.run(["/bin/true"]),
    "fork": lambda: child(os.fork()),
    "clone": lambda: clone(0),
    "clone, as vfork": lambda: clone(0x4000),
    "clone, as a sibling": lambda: clone(0x8000),
    "clone, with a high bit": lambda: clone(1 << 48),
    "clone3": is_not_there,
    "program": lambda: os.execv("/bin/true", ["true"]),
    "program, open before": lambda: os.execve(program, ["true"], {}),
}
if os.uname().machine == "x86_64":
    of_processes |= {"raw fork": lambda: call(57), "raw vfork": lambda: call(58)}
if "processes" in achieved.parts:
    trials |= of_processes
found = {}
for name, trial in trials.items():
    try:
        trial()
        found[name] = ""
    except Exception as e:
        found[name] = f"{type(e).__name__}"
print(json.dumps([achieved.version, achieved.parts, achieved.holes, found]))
"""
_DENIED = "PermissionError"
IP = "127.0.0.1"
#: What Landlock confines, and from which version on.
_SINCE = {"files": 1, "TCP": 4, "signals": 6}
_DENIED_BY = {
    "files": {
        "key", "key in a thread", "key by the process", "key linked", "database", "names of databases", "other users",
        "public, written", "outside", "memory of the parent",
    },
    "TCP": {"other port", "bind"},
    "signals": {"parent"},
    "sockets": {"unix", "pair", "relative of TCP", "netlink", "other port, at once", "listen"},
    "attributes": {"mode", "mode of an open file", "owner", "times", "more attributes", "length"},
    "processes": {
        "spawn", "subprocess", "fork", "clone", "clone, as vfork", "clone, as a sibling", "clone, with a high bit", "program",
        "program, open before", *(["raw fork", "raw vfork"] if os.uname().machine == "x86_64" else []),
    },
}  # fmt: skip


def _tried(case: SynchronousTestCase, **told: Any) -> tuple[int, list[str], list[str], dict[str, str]]:
    """What a process achieved that confined itself: version, parts, holes; and errors of what it tried."""
    here = Path(case.mktemp()).absolute()
    for name in ("data/tmp/", "data/accounts.db", "store.key", "public/list"):
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_text("x")
    package = Path(moxtwisted.__file__).parent
    readable = [os.__file__.rpartition("/")[0], *sys.path[1:], "/usr/lib", "/lib", package, here]
    given = {
        "here": here,
        "readable": readable,
        "ports": [1],
        "port": 2,
        "numbers": (),
        "thread": False,
        "filter": False,
        **told,
    }
    # Python 3.12 and later warn of a fork beside threads, which is tried here on purpose.
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-P", "-c", _TRIALS, json.dumps(given, default=str)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(package.parent), *sys.path])},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    case.assertEqual((done.returncode, done.stderr), (0, b""))
    version, parts, holes, found = json.loads(done.stdout)
    return version, parts, holes, found


class ConfinedTests(SynchronousTestCase):
    """What a process may do that has confined itself."""

    def setUp(self) -> None:
        """The kernel has it all."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("only Linux confines")

    def test_all(self) -> None:
        """It has what it needs, and of files, programs, sockets, connections and processes, its own or others, nothing else, as far as the
        kernel can."""
        with socket.create_server((IP, 0)) as allowed, socket.create_server((IP, 0)) as other:
            ports = [allowed.getsockname()[1]]
            version, parts, holes, found = _tried(self, ports=ports, port=other.getsockname()[1])
        self.assertEqual(holes, [])
        expected = [
            "core",
            "privileges",
            *(part for part, first in _SINCE.items() if version >= first),
            "sockets",
            "attributes",
            "processes",
        ]
        self.assertEqual(parts, expected)
        denied = {name for part in parts for name in _DENIED_BY.get(part, ())}
        self.assertEqual({name for name, error in found.items() if error}, denied)
        self.assertEqual({found[name] for name in denied} - {_DENIED, "OSError"}, set())

    def test_no_landlock(self) -> None:
        """Without Landlock it goes on, and says so; the filter of system calls is there all the same."""
        version, parts, holes, found = _tried(self, numbers=[100_000] * 3)
        self.assertEqual((version, holes), (0, []))
        self.assertEqual(parts, ["core", "privileges", "sockets", "attributes", "processes"])
        self.assertEqual((found["key"], found["import"], found["unix"]), ("", "", _DENIED))
        self.assertEqual({found[name] for name in _DENIED_BY["processes"]}, {_DENIED})
        self.assertEqual((found["clone3"], found["pool"]), ("", ""))

    def test_refused(self) -> None:
        """When Landlock is there and refuses, the hole is told."""
        version, parts, holes, found = _tried(self, numbers=[444, 445, 100_000])
        if not version:
            self.assertEqual(holes, [])
            return
        self.assertEqual(len(holes), 1)
        self.assertTrue(holes[0].startswith("files: "), holes)
        self.assertNotIn("files", parts)
        self.assertEqual(found["key"], "")

    def test_deadly(self) -> None:
        """When a filter of the unit ends whoever asks for Landlock, nobody is ended but a child, and the hole is told."""
        version, parts, holes, found = _tried(self, filter=True)
        self.assertEqual((version, parts), (0, ["core", "privileges"]))
        self.assertEqual(len(holes), 1)
        self.assertIn("SystemCallFilter", holes[0])
        self.assertEqual((found["key"], found["unix"]), ("", ""))

    def test_threads(self) -> None:
        """A thread that was there before is told of as a hole."""
        version, _, holes, _ = _tried(self, thread=True)
        self.assertEqual(holes, ["1 threads that were there before"] if version else [])


class ProgramTests(SynchronousTestCase):
    """What the filter says, on machines that are not this one as well."""

    def answer(self, machine: str, number: int, first: int = 0) -> int:
        """To a call with one argument: 0 if it is allowed, or the error."""
        numbers = systemcalls._MACHINES[machine]
        data = struct.pack("<iIQ6Q", number, numbers.audit, 0, first, 0, 0, 0, 0, 0)
        steps = list(struct.iter_unpack("=HBBI", systemcalls._program(numbers)))
        at = loaded = 0
        while True:
            code, so, not_so, value = steps[at]
            at += 1
            if code == systemcalls._RETURN:
                return 0 if value == systemcalls._ALLOW else value & 0xFFFF
            if code == systemcalls._LOAD:
                (loaded,) = struct.unpack_from("<I", data, value)
                continue
            holds = {
                systemcalls._EQUAL: loaded == value,
                systemcalls._AT_LEAST: loaded >= value,
                systemcalls._ANY_BIT: bool(loaded & value),
            }[code]
            at += so if holds else not_so

    def test_processes(self) -> None:
        """Threads are all that may be made, by the one call whose flags can be seen."""
        # What glibc asks for: CLONE_VM, FS, FILES, SYSVSEM, SIGHAND, THREAD, SETTLS, PARENT_SETTID, CHILD_CLEARTID.
        thread = 0x3D0F00
        calls = {
            "x86_64": (56, {57: "fork", 58: "vfork", 59: "execve", 322: "execveat"}),
            "aarch64": (220, {221: "execve", 281: "execveat"}),
        }
        for machine, (clone, refused) in calls.items():
            self.assertEqual(self.answer(machine, clone, thread), 0, machine)
            for flags in (signal.SIGCHLD, thread & ~0x10000, 0x4100 | signal.SIGCHLD, 1 << 48):
                self.assertEqual(self.answer(machine, clone, flags), errno.EACCES, (machine, flags))
            for number, name in refused.items():
                self.assertEqual(self.answer(machine, number), errno.EACCES, (machine, name))
            self.assertEqual(self.answer(machine, 435, thread), errno.ENOSYS, machine)
        # Others go on: read, and write.
        self.assertEqual([self.answer(*call) for call in (("x86_64", 0), ("aarch64", 64))], [0, 0])


class PieceTests(SynchronousTestCase):
    """Trees with something secret in them."""

    def setUp(self) -> None:
        """A tree."""
        self.tree = Path(self.mktemp()).absolute()
        for name in ("a/b/c/secret", "a/b/c/other", "a/b/d", "a/e", "f"):
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (self.tree / "link").symlink_to("a")

    def pieces(self, *secret: str, tree: str = "") -> list[str]:
        """What is allowed of it."""
        found = _without(self.tree / tree, [Path(os.path.normpath(self.tree / name)) for name in secret])
        return sorted(str(path.relative_to(self.tree)) for path in found)

    def test_pieces(self) -> None:
        """They are the largest without it; links are left out, for what they lead to has a name of its own."""
        self.assertEqual(self.pieces(), ["."])
        self.assertEqual(self.pieces("../elsewhere"), ["."])
        self.assertEqual(self.pieces("a/b/c/secret"), ["a/b/c/other", "a/b/d", "a/e", "f"])
        self.assertEqual(self.pieces("a/b", "f"), ["a/e"])
        self.assertEqual(self.pieces(""), [])
        self.assertEqual(self.pieces("a", tree="a/b"), ["a/b"])

    def test_too_many(self) -> None:
        """A tree that falls into too many is not allowed at all."""
        self.patch(landlock, "_MOST_RULES", 2)
        self.assertRaises(_TooManyError, self.pieces, "a/b/c/secret")
