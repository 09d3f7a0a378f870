"""Stage 5: when. Pure: facts and the time in, what to start out."""
