"""Reports of other servers about our domains: reading them while mail is judged, and keeping what they say."""
