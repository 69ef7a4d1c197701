"""Administration of the running server: what can be asked of it, and how the commands reach it.

``interfaces`` says what can be asked (``IAdministration``). The commands speak to a running server over a unix
socket (``amp``), or to the same object over the closed files when no server runs.
"""
