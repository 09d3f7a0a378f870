"""main.cf, master.cf, the typed parameter table, and typed views of it for each stage."""
