"""Mail from our own users: who may send as whom, and what becomes of it."""
