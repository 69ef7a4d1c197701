"""The domain name system: names, messages, and a stub resolver that knows whether an answer can be believed."""
