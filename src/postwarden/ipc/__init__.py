"""How the roles talk: records (values) and channels (one Unix socket pair each, made by the master)."""
