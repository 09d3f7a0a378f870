"""Delivery to mailboxes of this machine, as local(8) does it."""
