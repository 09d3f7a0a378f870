"""Stage 7: how. SMTP, local mailboxes, error, discard."""
