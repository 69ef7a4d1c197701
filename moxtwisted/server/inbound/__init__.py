"""Mail from others: what an MX and an LMTP listener do with connections, recipients and messages."""
