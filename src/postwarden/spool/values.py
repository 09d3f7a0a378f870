"""The values of the ledger, which the courier shares: they live in `mail.queue`, since no stage imports another."""

from postwarden.mail.queue import Change, Content, Damaged, Entry, Key, NewMessage, SpoolError

__all__ = ["Change", "Content", "Damaged", "Entry", "Key", "NewMessage", "SpoolError"]
