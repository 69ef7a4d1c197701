"""The store: one encrypted SQLite database per account, all of it below one data directory.

``moxtwisted.store.interfaces`` says what it promises; ``moxtwisted.store.store.Store`` is the way in::

    store = Store.open(reactor, Path("data"), master_key)
    account = await store.create_account("me", [("Sent", "\\\\Sent")])
"""
