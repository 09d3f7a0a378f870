"""Stage 6: where. From next hop to hosts."""
