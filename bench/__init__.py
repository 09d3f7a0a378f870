"""`make bench`: Postwarden and Debian's Postfix in turn, on the same machine, directory and settings."""
