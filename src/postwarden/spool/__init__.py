"""Stage 4: durable storage."""
