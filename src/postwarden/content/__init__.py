"""Stage 3: headers and envelope as they are stored."""
