"""Lookup tables: one file a type, one function that opens `type:name`."""
