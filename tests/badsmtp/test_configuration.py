"""Where settings come from, and what is said about wrong ones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.badsmtp.configuration import Configuration, configure, print_configuration
from moxtwisted.badsmtp.journal import Journal
from moxtwisted.badsmtp.options import CHOICES, options
from moxtwisted.badsmtp.portranges import RANGES, overlaps, spans
from moxtwisted.badsmtp.settings import LogSettings, Settings
from moxtwisted.errors import ConfigurationError

_PORTS: dict[str, Any] = {option.name: 0 for option in options() if option.kind == "port"}


class Case(SynchronousTestCase):
    """An empty directory, without a home."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.here.mkdir()
        before = Path.cwd()
        os.chdir(self.here)
        self.addCleanup(os.chdir, before)

    def configured(
        self, flags: dict[str, Any] | None = None, file: str = "", /, **environment: str
    ) -> Configuration:
        if file:
            (self.here / "given.yaml").write_text(file)
        return configure(flags or {}, environment, self.here / "given.yaml" if file else None)

    def problems(
        self, flags: dict[str, Any] | None = None, file: str = "", /, **environment: str
    ) -> list[str]:
        e = self.assertRaises(ConfigurationError, self.configured, flags, file, **environment)
        return [line.replace(f"{self.here}/", "") for line in e.problems]


class OptionTests(SynchronousTestCase):
    """``options``."""

    def test_all(self) -> None:
        """Every setting is an option with a sentence about it, and no two are called the same."""
        found = options()
        names = [field.name for cls in (Settings, LogSettings) for field in attrs.fields(cls)]
        self.assertEqual([option.name for option in found], names)
        self.assertEqual([option.name for option in found if not option.text], [])
        self.assertEqual(len({option.flag for option in found}), len(found))
        self.assertEqual(len({option.variable for option in found}), len(found))

    def test_names(self) -> None:
        """Names are those of BadSMTP."""
        by_name = {option.name: option for option in options()}
        for name, flag, variable in (
            ("port", "--port", "BADSMTP_PORT"),
            ("mailbox_dir", "--mailbox", "BADSMTP_MAILBOX_DIR"),
            ("greeting_delay_port_start", "--greeting-delay-port-start", "BADSMTP_GREETING_DELAY_PORT_START"),
            ("enable_hostname_routing", "--enable-hostname-routing", "BADSMTP_ENABLE_HOSTNAME_ROUTING"),
            ("log_level", "--log-level", "LOG_LEVEL"),
            ("syslog_facility", "--syslog-facility", "SYSLOG_FACILITY"),
        ):
            self.assertEqual((by_name[name].flag, by_name[name].variable), (flag, variable))

    def test_choices(self) -> None:
        """Each word that the log can be given makes a log."""
        for name, words in CHOICES.items():
            for word in words:
                given: dict[str, Any] = {"log_remote_addr": "127.0.0.1:9", name: word}
                Journal.to(LogSettings(**given)).close(0)


class PrecedenceTests(Case):
    """``configure``: who goes before whom."""

    def test_defaults(self) -> None:
        """Without anything, everything is as it comes out of the box."""
        found = self.configured()
        self.assertEqual((found.settings, found.log), (Settings(), LogSettings()))
        self.assertEqual((dict(found.sources), found.file), ({}, None))

    def test_order(self) -> None:
        """The command line goes before the environment, that before the file, that before the defaults."""
        file = "port: 1001\ntls_port: 1002\nstarttls_port: 1003\n"
        found = self.configured(
            {"port": "3001", "tls_hostname": None}, file, BADSMTP_PORT="2001", BADSMTP_TLS_PORT="2002"
        )
        self.assertEqual(
            (
                found.settings.port,
                found.settings.tls_port,
                found.settings.starttls_port,
                found.settings.lmtp_port,
            ),
            (3001, 2002, 1003, Settings().lmtp_port),
        )
        self.assertEqual((found.sources["port"], found.sources["tls_port"]), ("--port", "$BADSMTP_TLS_PORT"))
        self.assertTrue(found.sources["starttls_port"].endswith("given.yaml: starttls_port"))
        self.assertNotIn("lmtp_port", found.sources)

    def test_places(self) -> None:
        """A file is looked for here, in the user's .badsmtp and in /etc/badsmtp, .yaml before .yml before .json."""
        home = self.here / "home"
        (home / ".badsmtp").mkdir(parents=True)
        expected = Settings().port
        for path, text in (
            (home / ".badsmtp" / "badsmtp.json", '{"port": 1004}'),
            (home / ".badsmtp" / "badsmtp.yml", "port: 1003"),
            (self.here / "badsmtp.json", '{"port": 1002}'),
            (self.here / "badsmtp.yaml", "port: 1001"),
        ):
            path.write_text(text)
            found = self.configured(HOME=str(home))
            self.assertNotEqual(found.settings.port, expected)
            self.assertEqual(
                found.settings.port, json.loads(text)["port"] if text[0] == "{" else int(text[-4:])
            )
            expected = found.settings.port or 0

    def test_spellings(self) -> None:
        """Variables may be spelled as BadSMTP spells them, without underscores between words."""
        found = self.configured(
            BADSMTP_MAILBOXDIR="m",
            BADSMTP_TLSPORT="1",
            BADSMTP_GREETINGDELAYPORTSTART="0",
            BADSMTP_LISTEN_ADDRESS="::1",
        ).settings
        self.assertEqual(
            (found.mailbox_dir, found.tls_port, found.greeting_delay_port_start, found.listen_address),
            ("m", 1, 0, "::1"),
        )

    def test_off(self) -> None:
        """A listener can be left out, in each language's words."""
        found = self.configured(
            {"port": "off"}, "tls_port: off\nlmtp_port: 'off'\nimap_port: null\n", BADSMTP_POP3_PORT="OFF"
        ).settings
        self.assertEqual(
            (found.port, found.tls_port, found.lmtp_port, found.imap_port, found.pop3_port), (None,) * 5
        )

    def test_log(self) -> None:
        """The log is told by its own variables, in capitals or not; empty ones say nothing."""
        found = self.configured(
            LOG_LEVEL="warning", LOG_FORMAT="TEXT", LOG_OUTPUT="udp", LOG_REMOTE_ADDR="h:514", SYSLOG_FACILITY="",
            LOG_TRACE="true",
        ).log  # fmt: skip
        self.assertEqual(
            found,
            LogSettings(
                log_level="WARN", log_format="text", log_output="udp", log_remote_addr="h:514", log_trace=True
            ),
        )

    def test_variables_of_others(self) -> None:
        """What other programs understand by the log's variables is noted, and is no mistake; our own name for it goes before it."""
        found = self.configured(LOG_LEVEL="verbose", LOG_FORMAT="text", BADSMTP_LOG_FORMAT="json")
        self.assertEqual(found.log, LogSettings(log_format="json"))
        self.assertEqual(
            found.notes,
            ('$LOG_LEVEL: "verbose" is not for us and ignored, one of DEBUG, INFO, WARN, ERROR would be',),
        )
        self.assertIn("BADSMTP_LOG_LEVEL", self.problems(BADSMTP_LOG_LEVEL="verbose")[0])

    def test_empty_variables(self) -> None:
        """An empty variable says nothing, but it empties a text that a file has."""
        found = self.configured({}, "port: 1\nmailbox_dir: m\nlog_level: WARN\n", BADSMTP_PORT="", BADSMTP_MAILBOX_DIR="",
                                BADSMTP_LOG_LEVEL="")  # fmt: skip
        self.assertEqual(
            (found.settings.port, found.settings.mailbox_dir, found.log.log_level), (1, "", "WARN")
        )

    def test_mapping_without_routing(self) -> None:
        """Host names that decide nothing are noted."""
        found = self.configured({"hostname_mailbox_map": ["a.example=/a"]})
        self.assertEqual(
            found.notes, ("--hostname-mapping: this has no effect without enable_hostname_routing",)
        )

    def test_mapping(self) -> None:
        """Host names of all places come together; in variables a dot is an underscore, a hyphen two."""
        found = self.configured(
            {"hostname_mailbox_map": ["d.example=/d", "c.example="]},
            "hostname_mailbox_map: {A.example: /a, b.example: /b}\nenable_hostname_routing: yes\n",
            BADSMTP_HOSTNAME_MAPPING_b_example="/b2",
            BADSMTP_HOSTNAME_MAPPING_c__c_example="/c",
        ).settings
        self.assertEqual(
            dict(found.hostname_mailbox_map),
            {"a.example": "/a", "b.example": "/b2", "c-c.example": "/c", "d.example": "/d", "c.example": ""},
        )
        self.assertTrue(found.enable_hostname_routing)

    def test_home(self) -> None:
        """A path in a file may begin with the user's home, which no shell has put in there."""
        self.patch(os, "environ", {**os.environ, "HOME": "/home/alice"})
        self.assertEqual(self.configured({}, "mailbox_dir: ~/mail").settings.mailbox_dir, "/home/alice/mail")

    def test_empty_file(self) -> None:
        """A file with nothing but comments says nothing."""
        self.assertEqual(self.configured({}, "# nothing\n").settings, Settings())

    def test_exported(self) -> None:
        """What ``--exec`` gives to commands is not taken for a mistake when such a command starts a server."""
        found = self.configured(BADSMTP_HOST="h", BADSMTP_PORTS="{}", BADSMTP_URL="", BADSMTP_PORT="9")
        self.assertEqual(found.settings.port, 9)

    def test_printed(self) -> None:
        """What is printed can be read again, and says where each value is from."""
        found = self.configured(
            {**_PORTS, "http_port": "off"},
            "tls_hostname: 'a # b'\nhostname_mailbox_map: {a.example: /a}",
            LOG_LEVEL="WARN",
        )
        printed = print_configuration(found)
        self.assertIn(
            'tls_hostname: "a # b"  # ' + str(self.here / "given.yaml") + ": tls_hostname\n", printed
        )
        self.assertIn("http_port: off  # --http-port\n", printed)
        self.assertIn('listen_address: "127.0.0.1"  # default\n', printed)
        again = self.configured({}, printed)
        self.assertEqual((again.settings, again.log), (found.settings, found.log))


class ProblemTests(Case):
    """``configure``: what is wrong, all of it, with where it was said."""

    def test_all_at_once(self) -> None:
        """Every mistake is told, each with its flag, variable, or file and key."""
        self.assertEqual(
            self.problems(
                {"tls_port": "many"},
                "prot: 25\nlog_level: loud\nenable_hostname_routing: perhaps\n",
                BADSMTP_TLSPRT="1",
                BADSMTP_STARTTLS_PORT="65536",
                LOG_OUTPUT="tcp",
            ),
            [
                "given.yaml: prot: unknown key, did you mean port?",
                'given.yaml: log_level: "loud" found, one of DEBUG, INFO, WARN, ERROR expected',
                'given.yaml: enable_hostname_routing: "perhaps" found, true or false expected',
                '$BADSMTP_STARTTLS_PORT: "65536" found, a port from 0 (any free one) to 65535, or "off" expected',
                "$BADSMTP_TLSPRT: unknown variable, did you mean BADSMTP_TLS_PORT?",
                '--tls-port: "many" found, a port from 0 (any free one) to 65535, or "off" expected',
                "$LOG_OUTPUT: log_remote_addr (HOST:PORT of the log server) is needed as well",
            ],
        )

    def test_kinds(self) -> None:
        """Each kind of value is checked."""
        for file, expected in (
            ("port: true", 'true found, a port from 0 (any free one) to 65535, or "off" expected'),
            ("port: -1", 'found, a port from 0 (any free one) to 65535, or "off" expected'),
            ("port: 2.5", 'found, a port from 0 (any free one) to 65535, or "off" expected'),
            ("port: [1]", "a list found"),
            ("message_octets: 0", "a whole number, at least 1"),
            ("mailbox_dir: 5", "5 found, a text expected"),
            ('mailbox_dir: "a\\nb"', "a text expected"),
            (
                "listen_address: localhost",
                '"localhost" found, an IP address of this machine, as 127.0.0.1, expected',
            ),
            ("log_remote_addr: here", '"here" found, HOST:PORT expected'),
            ("hostname_mailbox_map: {../x: /a}", 'a host name in the place of "../x" expected'),
            ("hostname_mailbox_map: {a.example: 1}", "a directory for a.example expected"),
            ("hostname_mailbox_map: [a]", "a list found, host names with a directory each expected"),
            ("tls_cert_file: /nowhere.pem", "tls_key_file is needed as well"),
            ("tls_cert_file: /nowhere.pem", "there is no such file"),
        ):
            self.assertIn(expected, "\n".join(self.problems({}, file)), file)
        self.assertIn("HOST=DIRECTORY expected", self.problems({"hostname_mailbox_map": ["x"]})[0])

    def test_files(self) -> None:
        """What is no YAML or JSON is said so, with the place."""
        for name, text, expected in (
            ("a.yaml", "port: [1\nx: y", "line 2, column 2: "),
            ("a.yaml", "- port", "a list found, keys with values expected"),
            ("a.yaml", "!!python/object:os.system x", "could not determine a constructor"),
            ("a.json", '{"port": }', "malformed"),
            ("a.json", "[" * 100_000, "nested"),
            ("a.yaml", "[" * 100_000, "nested"),
            ("a.yaml", "x: " + "y" * 2_000_000, "larger than"),
        ):
            path = self.here / name
            path.write_text(text)
            e = self.assertRaises(ConfigurationError, configure, {}, {}, path)
            self.assertIn(expected, e.problems[0])
        e = self.assertRaises(ConfigurationError, configure, {}, {}, "missing.yaml")
        self.assertEqual(e.problems, ("missing.yaml: No such file or directory",))

    def test_overlaps(self) -> None:
        """Listeners that would take each other's ports are refused, also on the unused ports of a range."""
        for flags, expected in (
            ({"port": 25465}, "--port: port 25465 and tls_port 25465 overlap (tls_port has its default)"),
            ({"port": 25209}, "overlap (greeting_delay_port_start has its default)"),
            (
                {"port": 25210},
                "port 25210 is one of the 100 ports that greeting_delay_port_start 25200 keeps for itself",
            ),
            ({"port": 25299}, "keeps for itself; it uses the first 10"),
            (
                {"drop_delay_port_start": 25205},
                "greeting_delay_port_start 25200-25209 overlap (greeting_delay_port_start has its default)",
            ),
            (
                {"drop_delay_port_start": 65530},
                "--drop-delay-port-start: 10 ports from 65530 on are more than there are",
            ),
            ({"port": 1, "tls_port": 1}, "--port: port 1 and tls_port 1 overlap (--tls-port)"),
        ):
            found = self.problems(flags)
            self.assertEqual(len(found), 1, found)
            self.assertIn(expected, found[0])
        for fine in (
            {"port": 25300},
            {"port": 25210, "greeting_delay_port_start": None},
            {"port": 0, "tls_port": 0},
        ):
            self.configured({name: "off" if value is None else value for name, value in fine.items()})

    def test_spoiled(self) -> None:
        """Of a value that is wrong, it is not said besides that its default is in the way."""
        self.assertEqual(len(self.problems({"port": 25465, "tls_port": "x"})), 1)

    @given(
        st.dictionaries(
            st.sampled_from(
                [option.variable for option in options()] + ["BADSMTP_X", "BADSMTP_HOSTNAME_MAPPING_"]
            ),
            st.text(alphabet="0159off-tru/~=:.\0é", max_size=8),
            max_size=5,
        )
    )
    @hypothesis_settings(max_examples=100)
    def test_any(self, environment: dict[str, str]) -> None:
        """Whatever the environment says, there is a configuration or there are sentences."""
        try:
            configure({}, environment)
        except ConfigurationError as e:
            self.assertTrue(all(line.isprintable() for line in e.problems))


class RangeTests(SynchronousTestCase):
    """``portranges``."""

    def test_only(self) -> None:
        """The settings for some listeners leave all others out."""
        settings = Settings.only(port=2525, tls_port=2526, connections=7)
        self.assertEqual({span.name for span in spans(settings)}, {"port", "tls_port"})
        self.assertEqual((settings.port, settings.tls_port, settings.connections), (2525, 2526, 7))

    def test_defaults(self) -> None:
        """Out of the box nothing is in the way of anything."""
        self.assertEqual(list(overlaps(Settings())), [])
        off = {name for name in _PORTS if getattr(Settings(), name) is None}
        self.assertEqual(off, {"imap_greeting_fault_port_start", "pop3_greeting_fault_port_start"})
        self.assertEqual({span.name for span in spans(Settings())}, set(_PORTS) - off)

    def test_ranges(self) -> None:
        """Each setting that begins a range is known to have more than one port."""
        self.assertEqual({name for name in _PORTS if name.endswith("_start")}, set(RANGES))

    def test_any_free(self) -> None:
        """Ports that the machine chooses, and listeners that are left out, are in nobody's way."""
        self.assertEqual(list(overlaps(Settings(**_PORTS))), [])
        self.assertEqual(spans(attrs.evolve(Settings(**_PORTS), port=None)), ())
