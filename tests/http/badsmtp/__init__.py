"""The page and the JSON interface of BadSMTP."""
