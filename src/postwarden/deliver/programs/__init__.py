"""Running a program with a message as its input: what it is given, and what its end means."""
