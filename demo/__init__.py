"""`make run`: a gateway, a stand-in for an internal mail server behind it, and three messages that show the way."""
