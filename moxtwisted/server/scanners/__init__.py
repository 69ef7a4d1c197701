"""Programs beside us that look at mail from strangers: rspamd, ClamAV's clamd, and milters.

Each is switched on by its table in ``mox.conf``, has a time limit, and a stated behaviour when it does not answer.
"""
