"""The annotated examples of both files, and the manual's pages, from the declarations.

::

    print(annotated_example(StaticConfig))   # a complete mox.conf with every key, its default and its meaning
    rst_pages()["config-static.rst"]         # the same as a page for the manual

The examples are valid files: ``moxmail config describe-static > mox.conf`` is a place to start from.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from msgspec import Struct

from moxtwisted.config.reading import (
    FieldInfo,
    describe_type,
    fields_of,
    key_text,
    quantity_text,
    split_type,
    struct_of,
)
from moxtwisted.config.schema import DomainsConfig, StaticConfig

__all__ = ["annotated_example", "rst_pages", "toml_value"]

_WIDTH = 100
_INTRODUCTION = {
    StaticConfig: "mox.conf: the server itself. Read at start: a change needs a restart. "
    "All keys are shown, with their defaults; only those marked as required have to be there.",
    DomainsConfig: "domains.conf: domains, accounts, addresses. Read again whenever it changes; if it is not valid then, "
    "the old one stays in force and the log says why. The commands (moxmail account, address, domain, alias) "
    "change this file and leave your comments alone.",
}


def toml_value(value: Any) -> str:
    """A value as TOML writes it on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key_text((k,))} = {toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Struct):
        return toml_value({info.name: getattr(value, info.name) for info in fields_of(type(value))})
    return repr(value)


def _readable(name: str, value: Any) -> str:
    """A value of the key of this name, as an operator would write it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        text = quantity_text(name, value)
        return text if text.isdecimal() else toml_value(text if " " in text else value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_readable(name, item) for item in value) + "]"
    return toml_value(value)


def annotated_example(struct: type[Struct]) -> str:
    """A complete file with every key, each with what it means above it."""
    lines = [*_comment(_INTRODUCTION[struct]), ""]
    lines += _table(struct, ())
    text = "\n".join(lines).rstrip() + "\n"
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text


def _comment(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _is_table(info: FieldInfo) -> bool:
    """Whether the key has a [table] of its own (a list of tables stands on one line)."""
    return _inner(info) is not None


def _inner(info: FieldInfo) -> type[Struct] | None:
    """The class of a table, or of the tables in a table of tables."""
    direct = struct_of(info.type)
    if direct is None and get_origin(info.type) is dict:
        return struct_of(split_type(get_args(info.type)[1])[0])
    return direct


def _table(struct: type[Struct], path: tuple[str, ...]) -> Iterator[str]:
    """The lines of a table: first its own keys (TOML wants them there), then its tables."""
    infos = list(fields_of(struct))
    for info in infos:
        if not _is_table(info):
            yield from _key(info)
            yield ""
    for info in infos:
        inner = _inner(info)
        if inner is None:
            continue
        yield ""
        inner_path = (*path, info.name)
        if info.name in _OFF:
            yield from _comment(f"{info.description} Off: take # away from the lines below.")
            for line in (f"[{key_text(_example_path(info, inner_path))}]", *_table(inner, inner_path)):
                yield f"#{line}" if line and not line.startswith("#") else line
            continue
        yield from _comment(info.description)
        if struct_of(info.type) is None:
            inner_path = _example_path(info, inner_path)
            if (own := (inner.__doc__ or "").split("\n\n")[0]) != info.description:
                yield from _comment(f"Each: {own}")
        yield f"[{key_text(inner_path)}]"
        yield from _table(inner, inner_path)


def _example_path(info: FieldInfo, path: tuple[str, ...]) -> tuple[str, ...]:
    """Where the table stands; one of a table of tables has an example of a name."""
    return path if struct_of(info.type) is not None else (*path, info.example_key)


def _key(info: FieldInfo) -> Iterator[str]:
    yield from _comment(info.description)
    expected = describe_type(info.type, info.metas, info.name)
    necessity = "required" if info.required else "optional"
    yield from _comment(f"({expected}; {necessity}{_default_text(info)})")
    shown = _shown(info)
    yield (
        f"#{info.name} = {_possible(info)}"
        if shown is None
        else f"{info.name} = {_readable(info.name, shown)}"
    )
    item = _list_item(info)
    if item is not None:
        yield from _item_keys(item)


def _possible(info: FieldInfo) -> str:
    """Something that may stand there, for a key that holds nothing unless it is set."""
    if get_origin(info.type) is Literal:
        return toml_value(get_args(info.type)[0])
    if info.examples:
        return _readable(info.name, info.examples[0])
    return "true" if info.type is bool else "100000"


def _item_keys(item: type[Struct]) -> Iterator[str]:
    """The keys of the tables in a list, which stand on one line and have no room there for what they mean."""
    yield "#"
    yield from _comment(f"Each table: {item.__doc__ or ''}")
    for info in fields_of(item):
        example = info.examples[0] if info.examples else True if info.type is bool else "…"
        yield f"#   {info.name} = {_readable(info.name, example)}"
        yield from textwrap.wrap(
            info.description, _WIDTH, initial_indent="#     ", subsequent_indent="#     "
        )


def _default_text(info: FieldInfo) -> str:
    """The default, when the example shows something else; an example, when the default is shown."""
    if info.required or _shown(info) == info.default:
        quiet = info.name in _QUIET and info.examples
        return f"; as {_readable(info.name, info.examples[0])}" if quiet else ""
    return "; default: " + ("none" if info.default is None else _readable(info.name, info.default))


#: Tables of programs beside us, which are asked once they stand there: shown, and not in force.
_OFF = frozenset({"authority", "rspamd", "clamd", "milters", "host_tls_reports"})
#: Examples that would change how an unconfigured server works; they are told in words, the default is shown.
_QUIET = frozenset(
    {
        "user", "proxy_protocol_from", "key_environment", "key_credential", "imap_capabilities_disabled", "rulesets",
        "smtp_error", "message_auth_required_smtp_error", "introbox", "dns_block_lists", "dns_allow_lists", "contact",
        "spam_trap_account", "scanners_off", "servers", "authserv_id", "trusted_arc_sealers",
    }
)  # fmt: skip


def _shown(info: FieldInfo) -> Any:
    """What the example has for the key."""
    item = _list_item(info)
    if item is not None and info.name not in _QUIET:
        return [{f.name: f.examples[0] for f in fields_of(item) if f.examples}]
    if info.examples and info.name not in _QUIET:
        return info.examples[0]
    if info.default is None:
        return 10**10 if info.name.endswith("_octets") else None
    return info.default


def _list_item(info: FieldInfo) -> type[Struct] | None:
    args = get_args(info.type)
    return struct_of(args[0]) if get_origin(info.type) is tuple and args else None


# -- the manual --------------------------------------------------------------------------------------------


def rst_pages() -> dict[str, str]:
    """The reference pages by file name: all keys with type, default and meaning, then the annotated example."""
    return {
        "config-static.rst": _page("mox.conf", StaticConfig),
        "config-domains.rst": _page("domains.conf", DomainsConfig),
    }


def _page(name: str, struct: type[Struct]) -> str:
    lines = [name, "=" * len(name), "", _INTRODUCTION[struct].partition(": ")[2], ""]
    lines += [
        "In a text where ``<name>`` stands, a name of your choice is put. Keys that end in ``_octets`` and",
        '``_seconds`` take a number, or a text with a unit: ``"100 MB"``, ``"30 min"``.',
        "",
    ]
    lines += _rst_table(struct, ())
    lines += ["The whole file", "--------------", "", ".. code-block:: toml", ""]
    lines += [f"   {line}".rstrip() for line in annotated_example(struct).splitlines()]
    return "\n".join(lines) + "\n"


def _rst_table(struct: type[Struct], path: tuple[str, ...]) -> Iterator[str]:
    infos = list(fields_of(struct))
    if path:
        title = ".".join(path)
        yield from (title, "-" * len(title), "")
        yield " ".join((struct.__doc__ or "").split())
        yield ""
    for info in infos:
        if _is_table(info):
            continue
        item = _list_item(info)
        expected = "a list of tables" if item else describe_type(info.type, info.metas, info.name)
        default = "required" if info.required else f"default ``{_readable(info.name, info.default)}``"
        if info.default is None:
            default = "optional"
        yield f"``{info.name}`` ({_literal(expected)}; {default})"
        yield f"   {_literal(info.description)}"
        for inner in fields_of(item) if item else ():
            yield ""
            yield f"   ``{inner.name}``: {_literal(inner.description)}"
        yield ""
    for info in infos:
        deeper = _inner(info)
        if deeper is not None:
            named = (*path, info.name) if struct_of(info.type) else (*path, info.name, "<name>")
            yield from _rst_table(deeper, named)


def _literal(text: str) -> str:
    """Plain text for reStructuredText: nothing in it is markup, commands in back-ticks are literals."""
    parts = " ".join(text.split()).split("`")
    escaped = ["".join("\\" + c if c in "\\*_|" else c for c in part) for part in parts[::2]]
    literals = [f"``{part}``" for part in parts[1::2]]
    return "".join(a + b for a, b in zip(escaped, [*literals, ""], strict=False))
