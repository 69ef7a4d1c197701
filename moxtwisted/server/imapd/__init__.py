"""IMAP over the store: what the server machine of L{moxtwisted.imap} asks, answered from an account."""
