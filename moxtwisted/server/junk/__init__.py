"""The junk filter of the accounts: ``learning`` is what the store learns with, ``contentfilter`` gives its word on a message that comes in,
``evaluation`` measures it on labelled mail."""
