"""Accounts that are lent to another process of the server, a keeper, while somebody uses them by IMAP."""
