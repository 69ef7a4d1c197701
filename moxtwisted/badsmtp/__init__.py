"""Servers that misbehave on request, for those who test mail software: SMTP, LMTP, IMAP, POP3, and TLS as it should not be.

Nothing is ever relayed: what is taken in is kept for whoever tests (in memory, in a Maildir) or thrown away.
"""
