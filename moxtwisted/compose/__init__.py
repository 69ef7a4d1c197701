"""From the configuration to running objects: the only package that knows the classes of all services.

`moxtwisted.compose.server` is the whole server, `moxtwisted.compose.offline` the same store without listeners.
"""
