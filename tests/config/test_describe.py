"""The annotated examples are valid and complete; the pages are well formed."""

from __future__ import annotations

import io
import re
import tomllib
from typing import Any

import docutils.core  # type: ignore[import-untyped]
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.describe import annotated_example, rst_pages, toml_value
from moxtwisted.config.load import parse_domains, parse_static
from moxtwisted.config.reading import Problems, fields_of, read, struct_of
from moxtwisted.config.schema import DomainsConfig, StaticConfig


def all_of(struct: Any) -> str:
    """The example with the tables that are not in force."""
    return re.sub(r"(?m)^#(?=\[|[a-z0-9_]+ = (?!…$))", "", annotated_example(struct))


class ExampleTests(SynchronousTestCase):
    def test_static_example_is_valid(self) -> None:
        """The described mox.conf is a mox.conf."""
        config = parse_static(annotated_example(StaticConfig).encode())
        self.assertEqual(config.hostname, "mail.example.org")

    def test_domains_example_is_valid(self) -> None:
        """The described domains.conf is one, and fits the described mox.conf."""
        static = parse_static(annotated_example(StaticConfig).encode())
        parse_domains(annotated_example(DomainsConfig).encode(), static)

    def check_complete(self, struct: Any, table: dict[str, Any], path: str) -> None:
        """Every key is there, in all tables."""
        for info in fields_of(struct):
            self.assertIn(info.name, table, path)
            value = table[info.name]
            inner = struct_of(info.type)
            if inner is not None:
                self.check_complete(inner, value, f"{path}.{info.name}")

    def test_programs_beside_us(self) -> None:
        """Tables of programs beside us are shown and not in force; without the signs before them they are valid."""
        static = parse_static(annotated_example(StaticConfig).encode())
        self.assertIsNone(static.authentication.authority)
        self.assertEqual((static.scanners.rspamd, static.scanners.clamd), (None, None))
        self.assertFalse(static.scanners.milters)
        static = parse_static(all_of(StaticConfig).encode())
        self.assertIsNotNone(static.authentication.authority)
        self.assertTrue(static.scanners.rspamd and static.scanners.clamd and static.scanners.milters)

    def test_complete(self) -> None:
        """Every key stands in the example."""
        table = tomllib.loads(all_of(StaticConfig))
        self.check_complete(StaticConfig, table, "")
        for listener in table["listeners"].values():
            for service in ("tls", "smtp", "submission", "submissions", "imap", "imaps", "lmtp"):
                self.assertIn(service, listener)
        table = tomllib.loads(annotated_example(DomainsConfig))
        self.check_complete(DomainsConfig, table, "")

    def test_defaults_are_shown(self) -> None:
        """What the example shows for limits is what holds without it."""
        table = tomllib.loads(annotated_example(StaticConfig))
        smallest = parse_static(
            b'hostname="h.example"\n[postmaster]\naccount="a"\n[listeners.x]\nips=["::1"]\n[listeners.x.smtp]\n'
        )
        problems = Problems("f")
        self.assertEqual(read(type(smallest.limits), table["limits"], problems), smallest.limits)
        self.assertEqual(read(type(smallest.store), table["store"], problems), smallest.store)
        self.assertEqual(read(type(smallest.bans), table["bans"], problems), smallest.bans)
        self.assertEqual(read(type(smallest.receivers), table["receivers"], problems), smallest.receivers)
        self.assertEqual(read(type(smallest.keepers), table["keepers"], problems), smallest.keepers)

    def test_whole_file_in_force(self) -> None:
        """Whatever stands behind a # can be put in force, and what has no room for words is told in words."""
        text = annotated_example(DomainsConfig)
        self.assertNotIn("= …", text)
        tomllib.loads(re.sub(r"(?m)^#(?=[a-z0-9_]+ = )", "", text))
        # What would do without a scanner is shown and not in force.
        self.assertIn('\n#scanners_off = ["rspamd"]\n', text)
        self.assertNotIn('\nscanners_off = ["rspamd"]\n', text)
        for word in ("is_forward", "list_allow_domain", "verified_domain"):
            self.assertIn(f"#   {word} = ", text)

    def test_readable(self) -> None:
        """Octets and seconds have units where those give the same number; no number is hard to read."""
        text = annotated_example(StaticConfig) + annotated_example(DomainsConfig)
        for line in (
            'retire_expunged_after_seconds = "365 days"',
            'message_octets = "100 MiB"',
            'command_octets = "1 MB"',
            "read_seconds = 30",
            'delivered_per_day_octets = ["3 GB", "9 GB", "27 GB"]',
            'data_seconds = "30 min"',
        ):
            self.assertIn("\n" + line + "\n", text)
        for number in re.findall(r"[0-9.]+", "\n".join(line for line in text.splitlines() if " = " in line)):
            self.assertLess(len(number), 20)
        self.assertNotIn("2147483648", text)
        self.assertNotIn(".0\n", text)

    def test_toml_values(self) -> None:
        """Values are written so that they are read again."""
        values: tuple[Any, ...] = (True, 3, 1.5, 'a"b\\c\n\x1b', ["x", {"k y": 1}], {}, "ü")
        for value in values:
            self.assertEqual(tomllib.loads("v = " + toml_value(value))["v"], value)


class PagesTests(SynchronousTestCase):
    def test_pages(self) -> None:
        """Docutils finds nothing wrong with the pages."""
        for name, text in rst_pages().items():
            complaints = io.StringIO()
            docutils.core.publish_doctree(
                text,
                settings_overrides={
                    "warning_stream": complaints,
                    "report_level": 1,
                    "syntax_highlight": "none",
                },
            )
            # Sphinx's code-block is docutils' code.
            self.assertEqual(complaints.getvalue(), "", name)
