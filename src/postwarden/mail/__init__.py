"""Values of mail: frozen, without I/O, imported by every other package."""
