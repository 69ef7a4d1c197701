"""The two configuration files: what may stand in them, reading, describing, editing, watching.

``mox.conf`` (static: read at start) and ``domains.conf`` (dynamic: read again when it changes) are TOML.
``schema`` declares every key once; ``load`` reads and checks, ``describe`` prints the annotated example and
the page of the manual, ``edit`` changes ``domains.conf`` for the commands, ``watch`` notices changes::

    from moxtwisted.config.load import load

    loaded = load(Path("/etc/moxmail/mox.conf"))     # raises ConfigurationError listing every problem
    loaded.static.hostname, loaded.domains.accounts
"""
