"""The console command ``moxmail``.

``arguments`` declares all commands; each names the function that does it as ``module:function``, which is imported
only then, so that ``--help`` and the start of the server stay quick. ``session`` reaches the running server, or does the
work on the closed files when none runs.
"""
