"""IMAP4rev2 and IMAP4rev1 (RFC 9051, RFC 3501) with their extensions, without I/O.

``wire`` turns octets into typed commands and back; the machines above it decide what a command does. A server
reads with ``moxtwisted.imap.wire.parser.CommandReader``, a client speaks through
``moxtwisted.imap.client.Client``. On Twisted's connections they are ``moxtwisted.imap.protocol`` and ``moxtwisted.imap.agent``.
"""
