"""What `explain` asks, and how it prints the answer."""
