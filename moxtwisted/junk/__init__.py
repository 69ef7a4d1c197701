"""Telling junk from wanted mail by what it says: ``tokens`` takes a message apart, ``scoring`` weighs what was found against what was
learned. Nothing here knows where that is kept, nor Twisted."""
