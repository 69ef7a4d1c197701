"""Reading both files: what is right is taken, all that is wrong is told at once."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any, get_args, get_origin

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.load import (
    MAX_FILE_OCTETS,
    default_path,
    examine,
    find_data_directory,
    load,
    parse_domains,
    parse_static,
    summary,
)
from moxtwisted.config.reading import MAX_PROBLEMS, FieldInfo, fields_of, key_text, split_type, struct_of
from moxtwisted.config.schema import DomainsConfig, StaticConfig
from moxtwisted.errors import ConfigurationError

STATIC = """
hostname = "mail.example.org"
[postmaster]
account = "alice"
[listeners.public]
ips = ["127.0.0.1"]
[listeners.public.smtp]
"""
DOMAINS = """
[domains."example.org"]
[domains."example.org".aliases.team]
addresses = ["alice@example.org", "bob@example.org"]
[domains."münchen.example"]
[accounts.alice]
domain = "example.org"
[accounts.alice.addresses]
"alice@example.org" = {}
"@example.org" = {mailbox = "Rest"}
[accounts.bob]
domain = "münchen.example"
addresses = {"bob@example.org" = {}, "bob@xn--mnchen-3ya.example" = {}}
"""


class ConfigTestCase(SynchronousTestCase):
    def static_problems(self, text: str) -> tuple[str, ...]:
        """What is wrong with a mox.conf."""
        error: ConfigurationError = self.assertRaises(ConfigurationError, parse_static, text.encode())
        return error.problems

    def domains_problems(self, text: str) -> tuple[str, ...]:
        """What is wrong with a domains.conf."""
        error: ConfigurationError = self.assertRaises(ConfigurationError, parse_domains, text.encode())
        return error.problems

    def told(self, problems: tuple[str, ...], *parts: str) -> None:
        """One line has all of these."""
        if not any(all(part in problem for part in parts) for problem in problems):
            self.fail(f"no line with {parts} in:\n" + "\n".join(problems))


class ReadingTests(ConfigTestCase):
    def test_smallest(self) -> None:
        """A few lines are a configuration; the rest has defaults."""
        config = parse_static(STATIC.encode())
        self.assertEqual(config.limits.smtp.recipients, 1000)
        listener = config.listeners["public"]
        assert listener.smtp is not None
        self.assertEqual(listener.smtp.port, 25)
        self.assertIsNone(listener.imap)

    def test_units(self) -> None:
        """Octets and seconds can be written with units."""
        config = parse_static(
            (
                STATIC + '[store]\nquota_octets = "1.5 GiB"\nretire_expunged_after_seconds = "30 days"\n'
                '[limits.smtp]\nmessage_octets = "50MB"\nread_seconds = "5 min"\n'
            ).encode()
        )
        self.assertEqual(config.store.quota_octets, 3 * 2**29)
        self.assertEqual(config.store.retire_expunged_after_seconds, 30 * 86400.0)
        self.assertEqual(config.limits.smtp.message_octets, 50_000_000)
        self.assertEqual(config.limits.smtp.read_seconds, 300.0)

    def test_wrong_units(self) -> None:
        """A unit of the wrong kind, and a unit where there is none, are refused."""
        problems = self.static_problems(
            STATIC + '[store]\nquota_octets = "3 min"\n[limits.smtp]\nrecipients = "1 kB"\n'
        )
        self.told(problems, "mox.conf: store.quota_octets", '"3 min" found', '"100 MB"')
        self.told(problems, "limits.smtp.recipients", '"1 kB" found')

    def test_all_problems_at_once(self) -> None:
        """Every mistake is told, with file, key, what was found and what was expected."""
        problems = self.static_problems("""
hostnam = "mail.example.org"
[postmaster]
[log]
level = "loud"
format = 3
[listeners.public]
ips = [1, "::"]
[listeners.public.smtp]
prot = 25
port = 70000
[listeners.public.submission]
enabled = "yes"
[limits]
connections_at_once = [1, 2]
[limits.smtp]
read_seconds = nan
data_seconds = inf
[authentication]
mechanisms = ["PLAIN", "NTLM"]
""")
        self.told(problems, "mox.conf: hostnam: unknown key, did you mean hostname?")
        self.told(problems, "mox.conf: hostname: nothing found", "full name of this machine")
        self.told(problems, "postmaster.account: nothing found, a text expected")
        self.told(problems, 'log.level: "loud" found, one of "debug"')
        self.told(problems, "log.format: 3 found")
        self.told(problems, "listeners.public.ips[0]: 1 found, a text expected")
        self.told(problems, "listeners.public.smtp.prot: unknown key, did you mean port?")
        self.told(problems, "smtp.port: 70000 found, a whole number from 0 to 65535 expected")
        self.told(problems, 'submission.enabled: "yes" found, true or false expected')
        self.told(problems, "limits.connections_at_once: a list of 2 found, a list of 3")
        self.told(problems, "limits.smtp.read_seconds: nan found")
        self.told(problems, "limits.smtp.data_seconds: inf found")
        self.told(problems, 'authentication.mechanisms[1]: "NTLM" found')
        self.assertEqual(len(problems), 13)

    def test_unknown_without_likeness(self) -> None:
        """An unknown key that resembles nothing is answered with what there is."""
        self.told(
            self.static_problems(STATIC + "[log]\nzzz = 1\n"), "log.zzz", "one of level, format, packages"
        )

    def test_tables_and_values_mixed_up(self) -> None:
        """A value where a table belongs, and the other way round, are told."""
        problems = self.static_problems('hostname = {}\nlisteners = 3\npostmaster = "alice"\nlog = []\n')
        self.told(problems, "hostname: a table found, a text expected")
        self.told(problems, "listeners: 3 found, a table expected")
        self.told(problems, 'postmaster: "alice" found, a table expected')
        self.told(problems, "log: a list of 0 found, a table expected")

    def test_empty_where_something_must_be(self) -> None:
        """An empty list or table of what is needed is refused."""
        problems = self.static_problems('hostname = ""\n[postmaster]\naccount = "a"\n[listeners]\n')
        self.told(problems, 'hostname: "" found')
        self.told(problems, "listeners: an empty table found")
        self.told(self.static_problems(STATIC.replace('["127.0.0.1"]', "[]")), "ips: an empty list found")

    def test_no_toml(self) -> None:
        """Broken TOML, octets that are no text and endless brackets are one problem each, with the line if it is known."""
        self.told(self.static_problems("hostname = \n"), "mox.conf: TOML expected", "line 1")
        self.told(self.static_problems("a = " + "[" * 5000), "too deep")
        self.told(self.static_problems("a = " + "9" * 5000), "TOML expected")
        problems = self.assertRaises(ConfigurationError, parse_static, b"# a\n# \xff\n").problems
        self.told(problems, "no UTF-8 found in line 2")

    def test_byte_order_mark_and_crlf(self) -> None:
        """A file from a Windows editor is read."""
        parse_static(b"\xef\xbb\xbf" + STATIC.replace("\n", "\r\n").encode())

    def test_too_many_problems(self) -> None:
        """A file of nonsense does not fill the screen."""
        text = "\n".join(f"nonsense{i} = 1" for i in range(1000))
        self.assertLessEqual(len(self.static_problems(text)), MAX_PROBLEMS + 1)

    def test_control_characters_are_not_repeated(self) -> None:
        """What would steer a terminal does not get there by way of an error."""
        problems = self.static_problems(STATIC.replace("mail.example.org", "\\u001b[31m" * 20))
        self.assertTrue(all(problem.isprintable() for problem in problems), problems)

    @settings(max_examples=150)
    @given(
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["log", "listeners", "ips", "x", "smtp", "limits"]), inner, max_size=4
                )
            ),
            max_leaves=12,
        )
    )
    def test_any_tree(self, tree: Any) -> None:
        """Whatever the tree, reading ends with a configuration or with problems, never otherwise."""
        from moxtwisted.config.reading import Problems, read

        problems = Problems("f")
        result = read(StaticConfig, tree if isinstance(tree, dict) else {"listeners": tree}, problems)
        self.assertEqual(result is None, bool(problems.lines))

    @settings(max_examples=100)
    @given(st.text(alphabet=string.printable, max_size=200))
    def test_any_text(self, text: str) -> None:
        """Whatever the text, the error is a ConfigurationError."""
        for parse in (parse_static, parse_domains):
            try:
                parse(text.encode())
            except ConfigurationError as e:
                self.assertTrue(e.problems)

    def test_key_text(self) -> None:
        """A key path looks as in TOML."""
        self.assertEqual(key_text(("accounts", "a b", "x", 3)), 'accounts."a b".x[3]')


class DeclarationTests(SynchronousTestCase):
    def every_field(self, struct: Any, path: str = "") -> list[tuple[str, FieldInfo]]:
        """All keys of a file."""
        result = []
        for info in fields_of(struct):
            result.append((f"{path}.{info.name}", info))
            inner = struct_of(info.type)
            if inner is None and get_origin(info.type) in (dict, tuple):
                inner = struct_of(get_args(info.type)[-1 if get_origin(info.type) is dict else 0])
            if inner is not None:
                result += self.every_field(inner, f"{path}.{info.name}")
        return result

    def test_every_key_is_explained(self) -> None:
        """No key is without its sentence."""
        for struct in (StaticConfig, DomainsConfig):
            for path, info in self.every_field(struct):
                self.assertTrue(info.description.endswith("."), path)

    def test_every_quantity_has_bounds(self) -> None:
        """Octets and seconds are bounded on both sides, so that neither nan nor inf passes."""
        for path, info in self.every_field(StaticConfig) + self.every_field(DomainsConfig):
            if path.endswith(("_octets", "_seconds")):
                items = get_args(info.type) if get_origin(info.type) is tuple else ()
                for metas in [split_type(item)[1] for item in items] or [info.metas]:
                    self.assertTrue(any(m.ge is not None for m in metas), path)
                    self.assertTrue(any(m.le is not None for m in metas), path)


class StaticChecksTests(ConfigTestCase):
    def test_names_and_addresses(self) -> None:
        """Host names, addresses, networks and mailboxes are looked at."""
        text = STATIC.replace("mail.example.org", "mail_1..org").replace("127.0.0.1", "127.0.0.300")
        problems = self.static_problems(
            text
            + '[initial_mailboxes]\nregular = ["a//b", "inbox"]\n[initial_mailboxes.special_use]\njunk = "Sent"\n'
        )
        self.told(problems, "hostname", "a domain name expected")
        self.told(problems, "listeners.public.ips[0]", "an IP address expected")
        self.told(problems, "initial_mailboxes.regular[0]", "empty element")
        self.told(problems, "initial_mailboxes.regular[1]", "made anyway")
        self.told(problems, "special_use.junk", "sent is that already")

    def test_verification(self) -> None:
        """Our name in header fields is a word, sealers are domains, and times have bounds."""
        problems = self.static_problems(
            STATIC + '[verification]\nauthserv_id = "my server"\ntrusted_arc_sealers = ["a..b"]\n'
        )
        self.told(problems, "verification.authserv_id", "a name without spaces expected")
        self.told(problems, "verification.trusted_arc_sealers[0]", "a domain name expected")
        problems = self.static_problems(
            STATIC + '[verification]\nremoved_fields = ["X-Spam", "From", "X-"]\n'
        )
        self.told(problems, "verification.removed_fields[1]", "the beginning of a name as X-Spam expected")
        self.assertEqual(len(problems), 2)
        problems = self.static_problems(STATIC + "[verification]\nmethod_seconds = 0\n")
        self.told(problems, "verification.method_seconds")

    def test_proxy_networks(self) -> None:
        """A network with host bits is no network, wherever it stands."""
        problems = self.static_problems(
            STATIC.replace(
                "[listeners.public.smtp]", 'proxy_protocol_from = ["192.0.2.1/24"]\n[listeners.public.smtp]'
            )
        )
        self.told(problems, "proxy_protocol_from[0]", "write 192.0.2.0/24 for the network, 192.0.2.1 for the")
        problems = self.static_problems(STATIC + '[bans]\nnever = ["10.0.0.5/8", "fe80::", "10/8"]\n')
        self.told(problems, "bans.never[0]", "write 10.0.0.0/8 for the network")
        self.told(problems, "bans.never[2]", "no address and no network")
        self.assertEqual(len(problems), 2)

    def test_ports_of_others(self) -> None:
        """Ports of programs beside us are ports."""
        scanners = """[scanners.rspamd]
url = "http://127.0.0.1:%(port)s"
controller_url = "http://[::1]:%(port)s/rspamd"
[scanners.clamd]
address = "localhost:%(port)s"
[scanners.milters.one]
address = "[::1]:%(port)s"
[authentication.authority]
url = "https://a.example:%(port)s"
"""
        parse_static((STATIC + scanners % {"port": 65535}).encode())
        for port in ("99999", "65536", "0"):
            problems = self.static_problems(STATIC + scanners % {"port": port})
            for key in (
                "rspamd.url",
                "rspamd.controller_url",
                "clamd.address",
                "milters.one.address",
                "authority.url",
            ):
                self.told(problems, f"{key}: ", "the port from 1 to 65535")
            self.assertEqual(len(problems), 5)

    def test_delivery_limits(self) -> None:
        """How much comes from a network can be said, octets with their units, each by itself."""
        limits = "[limits]\ndeliveries_per_day = [1, 2, 3]\n"
        config = parse_static((STATIC + limits + 'delivered_per_day_octets = ["1 GB", 5, "2 TB"]\n').encode())
        self.assertEqual(config.limits.deliveries_per_day, (1, 2, 3))
        self.assertEqual(config.limits.delivered_per_day_octets, (10**9, 5, 2 * 10**12))
        problems = self.static_problems(
            STATIC + limits + 'delivered_per_minute_octets = ["1 GB", "2 min", 3]\n'
        )
        self.told(problems, "limits.delivered_per_minute_octets: a list of 3", 'or a text as "100 MB"')

    def test_processes(self) -> None:
        """There are no processes that take in mail or serve IMAP unless they are asked for, and not any number of them."""
        for table, most in (("receivers", 16), ("keepers", 64)):
            self.assertEqual(getattr(parse_static(STATIC.encode()), table).processes, 0)
            text = STATIC + f"[{table}]\nprocesses = "
            self.assertEqual(getattr(parse_static((text + "2\n").encode()), table).processes, 2)
            for wrong in ("-1", str(most + 1), '"two"', "1.5"):
                error: ConfigurationError = self.assertRaises(
                    ConfigurationError, parse_static, (text + wrong).encode()
                )
                self.assertIn(f"{table}.processes", error.problems[0])

    def test_tls_is_needed(self) -> None:
        """Services that need a certificate say so."""
        problems = self.static_problems(
            STATIC
            + 'starttls = "required"\n[listeners.public.imaps]\n[listeners.public.submission]\n'
            + "[listeners.public.imap]\nrequire_starttls = false\n"
        )
        self.told(problems, "listeners.public.tls", "for imaps expected")
        self.told(problems, "listeners.public.tls", "submission.require_starttls = false")
        self.told(problems, "smtp.starttls")
        self.assertEqual(len(problems), 3)

    def test_ports_twice(self) -> None:
        """Two services at one port, also by way of a wildcard address, are found; IPv6 is apart from IPv4."""
        problems = self.static_problems(
            STATIC + '[listeners.other]\nips = ["0.0.0.0", "::"]\n[listeners.other.lmtp]\nport = 25\n'
        )
        self.told(problems, "listeners.other.lmtp.port: 25 found, listeners.public.smtp has it already")
        parse_static((STATIC + '[listeners.other]\nips = ["::"]\n[listeners.other.smtp]\n').encode())
        parse_static((STATIC + "[listeners.public.lmtp]\nport = 25\nenabled = false\n").encode())

    def test_listener_without_service(self) -> None:
        """A listener that serves nothing is a mistake."""
        self.told(self.static_problems(STATIC.replace("[listeners.public.smtp]", "")), "no service found")

    def test_two_sources_of_the_key(self) -> None:
        """The key comes from one place."""
        problems = self.static_problems(STATIC + '[store]\nkey_environment = "K"\nkey_credential = "../x"\n')
        self.told(problems, "key_environment found as well")
        self.told(problems, "the name of a credential expected")


class DomainsChecksTests(ConfigTestCase):
    def test_good(self) -> None:
        """Domains in any spelling, catch-all, aliases and inline tables are taken."""
        config = parse_domains(DOMAINS.encode(), parse_static(STATIC.encode()))
        self.assertEqual(config.accounts["alice"].addresses["@example.org"].mailbox, "Rest")

    def test_unknown_domain(self) -> None:
        """Accounts and addresses belong to domains of the file."""
        problems = self.domains_problems(
            '[accounts.a]\ndomain = "x.example"\naddresses = {"a@y.example" = {}}\n'
        )
        self.told(problems, "accounts.a.domain", "a domain of this file expected")
        self.told(problems, 'accounts.a.addresses."a@y.example"', "at y.example found")

    def test_same_address_twice(self) -> None:
        """An address belongs to one account or alias, whatever its spelling."""
        problems = self.domains_problems(
            DOMAINS
            + '[accounts.eve]\ndomain = "example.org"\n[accounts.eve.addresses]\n'
            + '"ALICE@example.org" = {}\n"Team@example.org" = {}\n"@EXAMPLE.org" = {}\n'
        )
        self.told(problems, '"ALICE@example.org": the same address as accounts.alice')
        self.told(problems, 'domains."example.org".aliases.team: the same address as accounts.eve')
        self.told(problems, '"@EXAMPLE.org": the same address')

    def test_case_sensitive(self) -> None:
        """Where case matters, two spellings are two addresses."""
        parse_domains(b"""
[domains."example.org"]
case_sensitive = true
[accounts.a]
domain = "example.org"
addresses = {"A@example.org" = {}, "a@example.org" = {}}
""")

    def test_separator_in_an_address(self) -> None:
        """An address that could never be reached is refused."""
        problems = self.domains_problems(
            '[domains."e.org"]\n[accounts.a]\ndomain = "e.org"\naddresses = {"a+b@e.org" = {}}\n'
        )
        self.told(problems, '"a+b@e.org"', "separates suffixes")

    def test_alias_members(self) -> None:
        """Members are addresses of accounts here: not strangers, not aliases, not catch-alls."""
        problems = self.domains_problems(
            DOMAINS
            + '[domains."example.org".aliases.x]\naddresses = ["team@example.org", "z@else.example", "nobody", "who@example.org"]\n'
        )
        self.told(problems, "aliases.x.addresses[0]")
        self.told(problems, "aliases.x.addresses[1]")
        self.told(problems, "aliases.x.addresses[2]", "an address expected")
        self.told(problems, "aliases.x.addresses[3]", "address of an account")

    def test_capabilities_and_keys(self) -> None:
        """Disabled capabilities must be ones that there are; a key must log in as an address of its account."""
        problems = self.domains_problems(
            """
[domains."example.org"]
[accounts.alice]
domain = "example.org"
imap_capabilities_disabled = ["QRESYNC", "qresync", "XYZZY", "UIDONLI"]
addresses."alice@example.org" = {}
tls_public_keys.%s = {login = "bob@example.org"}
"""
            % ("ab" * 32)
        )
        self.told(problems, "imap_capabilities_disabled[1]", 'did you mean "QRESYNC"?')
        self.told(problems, "imap_capabilities_disabled[2]", "an IMAP capability expected")
        self.told(problems, "imap_capabilities_disabled[3]", 'did you mean "UIDONLY"?')
        self.told(problems, ".login", "an address of the account expected")
        self.assertFalse([line for line in problems if "disabled[0]" in line])

    def test_names(self) -> None:
        """Names of accounts, domains and mailboxes and separators are looked at."""
        problems = self.domains_problems("""
[domains."a b"]
localpart_separators = ["", "@"]
[accounts."../x"]
domain = "a b"
disabled = "naïve"
tls_public_keys.abc = {}
""")
        self.told(problems, 'accounts."../x".disabled')
        self.told(problems, 'accounts."../x".tls_public_keys.abc', "64 digits")
        problems = self.domains_problems(
            '[domains."a b"]\nlocalpart_separators = ["", "@"]\n[accounts."../x"]\ndomain = "a b"\n'
        )
        self.told(problems, 'domains."a b"', "a domain name expected")
        self.told(problems, "localpart_separators[1]")
        self.told(problems, 'accounts."../x"', "the name of an account expected")

    def test_domain_twice(self) -> None:
        """One domain in two spellings is one too many."""
        self.told(
            self.domains_problems('[domains."ä.example"]\n[domains."xn--4ca.example"]\n'), "another spelling"
        )

    def test_postmaster(self) -> None:
        """The postmaster is one of the accounts."""
        static = parse_static(STATIC.replace('"alice"', '"nobody"').encode())
        problems = self.assertRaises(ConfigurationError, parse_domains, DOMAINS.encode(), static).problems
        self.assertEqual(
            problems, ('mox.conf: postmaster.account: "nobody" found, an account of domains.conf expected',)
        )

    def test_many_accounts(self) -> None:
        """Ten thousand accounts are read in a moment: the work per account does not grow."""
        lines = ['[domains."example.org"]']
        lines += [
            f'[accounts.a{i}]\ndomain = "example.org"\naddresses = {{"a{i}@example.org" = {{}}}}'
            for i in range(10_000)
        ]
        self.assertEqual(len(parse_domains("\n".join(lines).encode()).accounts), 10_000)


class FilesTests(ConfigTestCase):
    def setUp(self) -> None:
        """A directory with both files."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "mox.conf"
        self.path.write_text(STATIC)
        (self.directory / "domains.conf").write_text(DOMAINS)

    def test_load(self) -> None:
        """Both files are found; relative paths start beside them."""
        loaded = load(self.path)
        self.assertEqual(loaded.directory, self.directory.absolute())
        self.assertEqual(loaded.data_directory, self.directory.absolute() / "data")
        self.assertEqual(loaded.resolve("/etc/x"), Path("/etc/x"))

    def test_problems_of_both_files(self) -> None:
        """What is wrong in both files is told together."""
        self.path.write_text(STATIC + "x = 1\n")
        (self.directory / "domains.conf").write_text("y = 1\n")
        problems = self.assertRaises(ConfigurationError, load, self.path).problems
        self.told(problems, "mox.conf: listeners.public.smtp.x")
        self.told(problems, "domains.conf: y")

    def test_all_phases_at_once(self) -> None:
        """Keys, types, names, references, ports, certificates, the user: whatever can be judged is told in one run."""
        self.path.write_text(
            'user = "nobody-of-that-name"\n'
            + STATIC.replace('"alice"', '"alcie"').replace("127.0.0.1", "127.0.0.300")
            + "prot = 2525\n[listeners.public.imap]\nport = 70000\nrequire_starttls = false\n"
            + '[listeners.other]\nips = ["127.0.0.1", "192.0.2.77"]\n[listeners.other.smtp]\nport = 4000\n'
            + "[listeners.other.lmtp]\nport = 4000\n[listeners.other.imaps]\n"
            + '[listeners.other.tls]\ncertificates = [{certificate = "no.crt", key = "no.key"}]\n[log]\nlevel = "loud"\n'
        )
        (self.directory / "domains.conf").write_text(
            DOMAINS
            + '[accounts.eve]\ndomain = "exmaple.org"\ncolour = "red"\naddresses = {"eve@example.rog" = {}}\n'
            + '[accounts."../x"]\n'
            + '[domains."example.org".aliases.all]\naddresses = ["alcie@example.org", 3]\n'
        )
        found = examine(self.path)
        for parts in (
            ("mox.conf: user:", "no user nobody-of-that-name"),
            ("postmaster.account", 'did you mean "alice"?'),
            ("public.ips[0]", "an IP address expected"),
            ("public.smtp.prot: unknown key, did you mean port?",),
            ("public.imap.port: 70000 found",),
            ("other.lmtp.port: 4000 found, listeners.other.smtp has it already",),
            ("no.crt: cannot be read",),
            ("no.key: cannot be read",),
            ("log.level", '"loud" found'),
            ("there is no key file",),
            ("accounts.eve.domain", 'did you mean "example.org"?'),
            ("accounts.eve.colour: unknown key",),
            ("an address at example.rog found", 'did you mean "example.org"?'),
            ('accounts."../x"', "the name of an account expected"),
            ('accounts."../x".domain: nothing found',),
            ("aliases.all.addresses[0]", 'did you mean "alice@example.org"?'),
            ("aliases.all.addresses[1]: 3 found",),
        ):
            self.told(found.problems, *parts)
        self.assertEqual(len(found.problems), 17, "\n".join(found.problems))
        self.told(found.notes, "listeners.other.ips[1]: 192.0.2.77 is no address of this machine")
        self.told(found.notes, 'domains."example.org".dkim', "moxmail dkim gen example.org")
        self.assertEqual(len(found.notes), 3)

    def test_one_complaint_for_each_mistake(self) -> None:
        """A key that is noted as wrong is no reason for further complaints."""
        for text, count in (
            (STATIC.replace('["127.0.0.1"]', "3"), 1),
            (STATIC.replace('"mail.example.org"', "3"), 1),
            (STATIC.replace('account = "alice"', ""), 1),
            (STATIC.replace("[listeners.public.smtp]", "smtp = 3"), 1),
            (STATIC.replace("[listeners.public.smtp]", "smpt = 3"), 1),
            (STATIC + "[listeners.public.imaps]\n[listeners.public.tls]\n", 1),
            (STATIC + '[limits.imap]\ncommand_octets = "x"\nliteral_octets = 2000000\n', 1),
        ):
            self.assertEqual(len(self.static_problems(text)), count, text)
        self.assertEqual(
            len(
                self.domains_problems(
                    "domains = 3\n"
                    + DOMAINS.partition("[accounts.alice]")[1]
                    + DOMAINS.partition("[accounts.alice]")[2]
                )
            ),
            1,
        )

    def test_data_directory_of_a_broken_file(self) -> None:
        """The data directory is found whatever else is wrong with the file, and that it cannot be is said."""
        self.path.write_text('data_directory = "mail"\nnonsense = 1\n')
        self.assertEqual(find_data_directory(self.path), self.directory.absolute() / "mail")
        for text in ("nonsense = 1\n", "data_directory = 3\n"):
            self.path.write_text(text)
            self.assertEqual(find_data_directory(self.path), self.directory.absolute() / "data")
        self.path.write_text("[[[")
        problems = self.assertRaises(ConfigurationError, find_data_directory, self.path).problems
        self.told(problems, "TOML expected")
        self.told(problems, "data_directory cannot be known", "--socket")

    def test_summary(self) -> None:
        """The last line names the files that have problems, and counts."""
        here = self.path.absolute()
        other = here.with_name("domains.conf")
        self.assertEqual(summary(self.path, ["domains.conf: x"]), f"1 problem in {other}")
        self.assertEqual(summary(self.path, [f"{other}: x"]), f"1 problem in {other}")
        self.assertEqual(
            summary(self.path, ["domains.conf: x", "mox.conf: y"]), f"2 problems in {here} and {other}"
        )

    def test_missing_file(self) -> None:
        """A file that is not there is told with its path."""
        (self.directory / "domains.conf").unlink()
        problems = self.assertRaises(ConfigurationError, load, self.path).problems
        self.told(problems, "domains.conf: cannot be read: No such file")

    def test_huge_file(self) -> None:
        """A file that is no configuration is not read to its end."""
        with self.path.open("r+b") as f:
            f.truncate(MAX_FILE_OCTETS + 1)
        self.told(self.assertRaises(ConfigurationError, load, self.path).problems, "a configuration expected")

    def test_default_path(self) -> None:
        """The environment names the file; else it is here or in /etc."""
        self.patch(__import__("os"), "environ", {"MOXMAIL_CONFIG": "/x/mox.conf"})
        self.assertEqual(default_path(), Path("/x/mox.conf"))
