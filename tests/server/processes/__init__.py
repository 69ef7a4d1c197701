"""What processes that the server starts have in common, on both sides."""
