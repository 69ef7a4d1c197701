"""IMAP over the store: what the server machine of ``moxtwisted.imap`` asks, answered from an account."""
