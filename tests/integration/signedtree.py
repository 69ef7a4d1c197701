"""A small world of signed zones with a root key of its own, and real name servers that serve it.

::

    world = build(folder)                       # zones, keys and signatures, made with BIND's tools
    server = Named(world, folder, ip)           # or Knot, or Unbound in front of one of them
    server.start()
    world.anchors                               # the DS record of its root key, as text

======================  ==========================================================================
``secure.test``         RSA/SHA-256, NSEC
``p384.test``           ECDSA P-384, NSEC
``nsec3.test``          Ed25519, NSEC3
``optout.test``         ECDSA P-256, NSEC3 with opt-out, and a delegation that is not signed
``insecure.test``       not signed, and the parent says so
``bogus.test``          a record was changed after the signing
``expired.test``        signatures of the year 2020
``stripped.test``       the parent has a DS record, the zone no signatures
``wrongds.test``        the parent's DS record is of another key
``strange.test``        the parent's DS record is of an algorithm that nobody knows
``iterated.test``       NSEC3 with more iterations than anybody should compute
======================  ==========================================================================
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import ClassVar

from attrs import define, field, frozen

from moxtwisted.dns.servers import ServerAddress

from .live import end_with_parent
from .peers import locate

START_SECONDS = 20.0

HEAD = """\
$TTL 300
@ SOA ns.test. hostmaster.test. 1 3600 900 86400 60
@ NS ns.test.
"""

CONTENT = """\
@ MX 10 mail
@ TXT "signed or not"
mail A 192.0.2.1
mail AAAA 2001:db8::1
_25._tcp.mail TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
www CNAME mail
away CNAME mail.insecure.test.
home CNAME www.secure.test.
*.wild TXT "from a wildcard"
a.b.c TXT "below empty non-terminals"
moved DNAME secure.test.
big TXT {big}
""".format(big=" ".join(f'"{number:0240d}"' for number in range(20)))

OPTOUT = "unsigned NS ns.test.\n"

#: Name of the zone: what is in it, its algorithm (empty: not signed), further arguments of dnssec-signzone.
ZONES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "unsigned.optout.test": (CONTENT, "", ()),
    "secure.test": (CONTENT, "RSASHA256", ()),
    "p384.test": (CONTENT, "ECDSAP384SHA384", ()),
    "nsec3.test": (CONTENT, "ED25519", ("-3", "aabb", "-H", "0")),
    "optout.test": (CONTENT + OPTOUT, "ECDSAP256SHA256", ("-3", "-", "-H", "0", "-A")),
    "insecure.test": (CONTENT, "", ()),
    "bogus.test": (CONTENT, "ECDSAP256SHA256", ()),
    "expired.test": (CONTENT, "ECDSAP256SHA256", ("-P", "-s", "20200101000000", "-e", "20200201000000")),
    "stripped.test": (CONTENT, "", ()),
    "wrongds.test": (CONTENT, "ECDSAP256SHA256", ()),
    "strange.test": (CONTENT, "", ()),
    "iterated.test": (CONTENT, "ECDSAP256SHA256", ("-3", "aabb", "-H", "140")),
    "test": ("ns A 127.0.0.1\n", "ECDSAP256SHA256", ()),
    ".": ("ns.test. A 127.0.0.1\n", "ECDSAP256SHA256", ()),
}

OTHER_DS = "DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
FOREIGN_DS = {
    "stripped.test": OTHER_DS,
    "wrongds.test": OTHER_DS,
    "strange.test": OTHER_DS.replace(" 13 2 ", " 250 2 "),
}


@frozen
class World:
    """The zones: where their files are, and the DS record of the root's key."""

    folder: Path
    anchors: str

    def file(self, zone: str) -> Path:
        """The file of a zone as it is served."""
        return self.folder / f"{zone.strip('.') or 'root'}.signed"


def free_address() -> ServerAddress:
    """An address whose port nobody listens on now. BIND takes addresses of the interface only, of the loopback 127.0.0.1."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return ServerAddress("127.0.0.1", found.getsockname()[1])


def run(*command: str, cwd: Path) -> str:
    """Run a program, which must end well; what it printed."""
    program = locate(command[0])
    if program is None:
        raise LookupError(f"no program {command[0]}")
    done = subprocess.run(
        (program, *command[1:]),
        cwd=cwd,
        capture_output=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{command}\n{done.stdout.decode()}\n{done.stderr.decode()}")
    return done.stdout.decode()


def build(folder: Path) -> World:
    """Make the zones, children first, so that parents can have their DS records."""
    folder.mkdir(parents=True, exist_ok=True)
    delegations: dict[str, str] = {}
    for name, (content, algorithm, arguments) in ZONES.items():
        delegated = delegations.get(name, "")
        text = HEAD + content + delegated
        if algorithm:
            ds = sign(folder, name, text, algorithm, arguments)
        else:
            ds = ""
            (folder / f"{name}.signed").write_text(text)
        if name == ".":
            return World(folder, ds)
        parent = name.partition(".")[2] or "."
        if name in FOREIGN_DS:
            ds = f"{name}. 300 IN {FOREIGN_DS[name]}"
        if name != "unsigned.optout.test":
            delegations[parent] = delegations.get(parent, "") + f"{name}. NS ns.test.\n{ds}"
    raise LookupError("no root")


def sign(folder: Path, name: str, text: str, algorithm: str, arguments: tuple[str, ...]) -> str:
    """Sign a zone with a key of its own; its DS record."""
    stem = name.strip(".") or "root"
    (folder / stem).write_text(text)
    size = ("-b", "2048") if algorithm.startswith("RSA") else ()
    key = run("dnssec-keygen", "-q", "-a", algorithm, *size, "-f", "KSK", name, cwd=folder).strip()
    # One key signs everything (-z): nothing here is about rolling keys.
    command = ("dnssec-signzone", "-z", "-S", "-o", name, "-f", f"{stem}.signed", *arguments, stem)
    run(*command, cwd=folder)
    signed = folder / f"{stem}.signed"
    if name == "bogus.test":
        signed.write_text(signed.read_text().replace("192.0.2.1", "203.0.113.66"))
    return run("dnssec-dsfromkey", "-2", f"{key}.key", cwd=folder)


@define
class NameServer:
    """A real name server in a child process, on an address and port of its own."""

    world: World
    folder: Path
    address: ServerAddress
    child: subprocess.Popen[bytes] | None = field(init=False, default=None)

    program: ClassVar[str] = ""

    def command(self) -> list[str]:
        """Write the configuration, and say how it is started."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        program = locate(self.program)
        if program is None:
            raise LookupError(f"no program {self.program}")
        with (self.folder / "log").open("ab") as output:
            self.child = subprocess.Popen(
                [program, *self.command()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, and no locks are held
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with socket.create_connection((self.address.address, self.address.port), timeout=1):
                    return
            except OSError as e:
                if self.child.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise AssertionError((self.folder / "log").read_text()[-3000:]) from e
                time.sleep(0.05)

    def stop(self) -> None:
        """End it, by its process number."""
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait(10)
        self.child = None


class Named(NameServer):
    """BIND, serving every zone."""

    program = "named"

    def command(self) -> list[str]:
        zones = "".join(
            f'zone "{name}" {{ type primary; file "{self.world.file(name)}"; masterfile-format text; }};\n'
            for name in ZONES
        )
        (self.folder / "named.conf").write_text(
            f"""
            options {{
                directory "{self.folder}"; pid-file "{self.folder}/pid"; session-keyfile "{self.folder}/session";
                listen-on port {self.address.port} {{ {self.address.address}; }}; listen-on-v6 {{ none; }};
                recursion no; dnssec-validation no; notify no; allow-query {{ any; }};
            }};
            controls {{ }};
            {zones}"""
        )
        return ["-g", "-n", "1", "-c", str(self.folder / "named.conf")]


class Knot(NameServer):
    """Knot DNS, serving every zone."""

    program = "knotd"

    def command(self) -> list[str]:
        zones = "".join(
            f'  - domain: "{name}"\n    file: "{self.world.file(name)}"\n    zonefile-sync: -1\n'
            "    journal-content: none\n    semantic-checks: off\n"
            for name in ZONES
        )
        (self.folder / "knot.conf").write_text(
            f"server:\n  rundir: {self.folder}\n  listen: {self.address.address}@{self.address.port}\n"
            "  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
            f"database:\n  storage: {self.folder}/db\n"
            "log:\n  - target: stderr\n    any: info\n"
            f"zone:\n{zones}"
        )
        return ["-c", str(self.folder / "knot.conf")]


@define
class Unbound(NameServer):
    """Unbound, a resolver in front of another server; it validates or does not."""

    upstream: ServerAddress
    validates: bool = True

    program: ClassVar[str] = "unbound"

    def command(self) -> list[str]:
        (self.folder / "anchor").write_text(self.world.anchors)
        modules = "validator iterator" if self.validates else "iterator"
        behind = f"{self.upstream.address}@{self.upstream.port}"
        stubs = "".join(f'stub-zone:\n  name: "{name}"\n  stub-addr: {behind}\n' for name in ZONES)
        (self.folder / "unbound.conf").write_text(
            f"""
server:
  directory: "{self.folder}"
  chroot: ""
  username: ""
  pidfile: "{self.folder}/pid"
  use-syslog: no
  num-threads: 1
  interface: {self.address.address}@{self.address.port}
  do-not-query-localhost: no
  local-zone: "test." nodefault
  module-config: "{modules}"
  trust-anchor-file: "{self.folder}/anchor"
remote-control:
  control-enable: no
{stubs}"""
        )
        return ["-d", "-c", str(self.folder / "unbound.conf")]
