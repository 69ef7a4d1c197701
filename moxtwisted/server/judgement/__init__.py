"""Whether a message is taken, by what its recipient knows of the sender and of such content, and in which mailbox it goes."""
