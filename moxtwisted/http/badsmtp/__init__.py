"""The page and the JSON interface of a BadSMTP server: what was captured, what listens where, and a playground."""
