"""Who really sent a message: SPF, DKIM, DMARC, ARC and their like. Pure, but for modules named agent."""
