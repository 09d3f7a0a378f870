"""Rewriting and resolving of addresses."""
