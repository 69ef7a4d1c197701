"""Who sent this: SPF, DKIM, ARC, DMARC and the reverse DNS of a message on its way in, asked for together and in time."""
