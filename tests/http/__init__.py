"""HTTP applications, asked in memory."""
