"""Fetching the mail of an account on another server, by IMAP: where it goes (``folders``), how it is fetched (``work``)."""
