"""Why, and where to: what the pipeline's own objects answer about an address."""
