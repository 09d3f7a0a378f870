"""Address verification: what is known of addresses, and when a probe has to find out."""
