"""The services of the mail server, each of which meets the others through interfaces only.

Nothing is imported here; name the module that is wanted.
"""
