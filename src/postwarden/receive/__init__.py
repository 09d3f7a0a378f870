"""Stage 1: SMTP sessions."""
