"""Sockets, TLS, names and time: the only place, with `ipc`, where the stages meet asyncio."""
