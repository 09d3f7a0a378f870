"""Tables that ask somebody: they block, and are asked in threads where a loop runs."""
