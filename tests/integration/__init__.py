"""Real mail programs against the real server, on loopback; each skips by name when its program is not installed."""
