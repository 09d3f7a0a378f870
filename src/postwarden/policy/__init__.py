"""Stage 2: may it come in? Facts in, decision out."""
