"""Fakes that pass the conformance suite of the real thing."""
