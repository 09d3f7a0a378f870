"""Stage 8: delivery status notifications."""
