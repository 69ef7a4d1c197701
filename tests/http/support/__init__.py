"""What all HTTP applications stand on."""
