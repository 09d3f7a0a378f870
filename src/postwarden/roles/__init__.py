"""The processes: life, privileges, and what each may touch."""
