"""The syntax of IMAP, both ways, as pure functions and incremental readers.

- `commands <moxtwisted.imap.wire.commands>`: one value class per command, with
  `fetchattributes <moxtwisted.imap.wire.fetchattributes>` and `searchkeys <moxtwisted.imap.wire.searchkeys>`
- `parser <moxtwisted.imap.wire.parser>`: octets of a client to commands; ``request`` goes the other way
- `render <moxtwisted.imap.wire.render>`: values to octets of a server; ``responses`` goes the other way
- `sequence <moxtwisted.imap.wire.sequence>`, `mailboxname <moxtwisted.imap.wire.mailboxname>`: the two data
  types with rules of their own
"""
