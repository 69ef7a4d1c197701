"""What all HTTP applications stand on: a bounded site, a guard against other people's pages, JSON routes that describe themselves."""
