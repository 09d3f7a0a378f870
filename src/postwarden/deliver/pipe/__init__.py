"""Stage 7 for the transports of master.cf whose command is pipe: a program that the operator names."""
