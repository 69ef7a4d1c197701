"""The syntax of IMAP, both ways, as pure functions and incremental readers.

- L{commands<moxtwisted.imap.wire.commands>}: one value class per command, with
  L{fetchattributes<moxtwisted.imap.wire.fetchattributes>} and L{searchkeys<moxtwisted.imap.wire.searchkeys>}
- L{parser<moxtwisted.imap.wire.parser>}: octets of a client to commands; ``request`` goes the other way
- L{render<moxtwisted.imap.wire.render>}: values to octets of a server; ``responses`` goes the other way
- L{sequence<moxtwisted.imap.wire.sequence>}, L{mailboxname<moxtwisted.imap.wire.mailboxname>}: the two data
types
  with rules of their own
"""
