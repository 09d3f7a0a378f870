"""A client that says one line after the other, and hears each reply."""

import socket


class Session:
    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), 30)
        self._stream = self._sock.makefile("rwb")
        self.reply()

    def close(self) -> None:
        self._stream.close()
        self._sock.close()

    def reply(self) -> str:
        while (line := self._stream.readline())[3:4] == b"-":
            pass
        return line.decode().rstrip()

    def write(self, line: str) -> None:
        """Without waiting for the reply."""
        self._stream.write(line.encode() + b"\r\n")
        self._stream.flush()

    def say(self, line: str) -> str:
        self.write(line)
        return self.reply()


def begun(port: int) -> Session:
    """Somebody from elsewhere, as far as MAIL."""
    session = Session(port)
    session.say("EHLO mail.example")
    session.say("MAIL FROM:<a@far.example>")
    return session


def answer(port: int, recipient: str) -> str:
    """What is said to RCPT."""
    session = begun(port)
    heard = session.say(f"RCPT TO:<{recipient}>")
    session.close()
    return heard


def send(port: int, recipient: str, subject: str = "x") -> str:
    """What is said to the message, or to RCPT where that is refused."""
    session = begun(port)
    heard = session.say(f"RCPT TO:<{recipient}>")
    if heard.startswith("250"):
        session.say("DATA")
        heard = session.say(f"Subject: {subject}\r\n\r\nbody\r\n.")
    session.close()
    return heard
