"""A connection that a load balancer has to explain first, over real sockets, as far as the session behind it."""

import asyncio
import contextlib
import ssl
from pathlib import Path

from tests.proxied import behind, connected, first_line

from postwarden.testing.certificate import write_certificate

HEADER = b"PROXY TCP4 192.0.2.4 192.0.2.6 1234 25\r\n"
PORTS = {"smtpd_client_port_logging": "yes"}


def test_the_client_is_who_the_header_names() -> None:
    async def play() -> None:
        async with behind(**PORTS) as gateway:
            assert (await first_line(gateway.port, HEADER))[0] == "220 mx.example.com ESMTP Postfix"
            await gateway.until(lambda: not gateway.service.sessions)
            assert gateway.log[0] == "smtpd: connect from unknown[192.0.2.4]:1234"

    asyncio.run(play())


def test_what_comes_with_the_header_is_the_clients() -> None:
    async def play() -> None:
        async with behind(**PORTS) as gateway:
            reader, writer = await connected(gateway.port)
            for piece in (HEADER[:7], HEADER[7:] + b"HELO", b" x\r\n"):
                writer.write(piece)
                await writer.drain()
            assert await reader.readline() == b"220 mx.example.com ESMTP Postfix\r\n"
            assert await reader.readline() == b"250 mx.example.com\r\n"
            (session,) = gateway.service.sessions
            assert (session.facts.server_address, session.facts.server_port) == ("192.0.2.6", 25)
            writer.close()

    asyncio.run(play())


def test_a_balancer_that_speaks_for_itself_is_a_client() -> None:
    async def play() -> None:
        async with behind(**PORTS) as gateway:
            header = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
            heard, port = await first_line(gateway.port, header)
            assert heard.startswith("220 ")
            assert gateway.log[0] == f"smtpd: connect from localhost[127.0.0.1]:{port}"

    asyncio.run(play())


def test_without_a_header_nothing_is_obeyed() -> None:
    async def play() -> None:
        async with behind(**PORTS) as gateway:
            heard, port = await first_line(gateway.port, b"EHLO x\r\n")
            assert heard == "421 4.3.0 mx.example.com Server local error"
            assert gateway.log == [
                "smtpd: warning: haproxy read: unexpected protocol header: EHLO x\\r\\n",
                f"smtpd: connect from unknown[127.0.0.1]:{port}",
                f"smtpd: disconnect from unknown[127.0.0.1]:{port} commands=0/0",
            ]
            assert not gateway.service.sessions and not gateway.proxies.open

    asyncio.run(play())


def test_who_says_nothing_is_not_waited_for() -> None:
    async def play() -> None:
        async with behind(0.05) as gateway:
            reader, writer = await connected(gateway.port)
            assert await reader.read() == b"421 4.3.0 mx.example.com Server local error\r\n"
            assert gateway.log[0] == "smtpd: warning: haproxy read: timeout error"
            writer.close()

    asyncio.run(play())


def test_who_leaves_is_forgotten() -> None:
    async def play() -> None:
        async with behind() as gateway:
            _, writer = await connected(gateway.port)
            writer.write(HEADER[:9])
            await gateway.until(lambda: gateway.proxies.open == 1)
            writer.close()
            await gateway.until(lambda: not gateway.proxies.open)
            assert gateway.log[0] == "smtpd: warning: haproxy read: EOF: PROXY TCP"

    asyncio.run(play())


def test_who_waits_counts_as_a_session() -> None:
    async def play() -> None:
        async with behind(postwarden_session_limit="1") as gateway:
            _, writer = await connected(gateway.port)
            await gateway.until(lambda: gateway.proxies.open == 1)
            reader, other = await connected(gateway.port)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            assert gateway.proxies.open == 1
            writer.close()
            other.close()
            await gateway.until(lambda: not gateway.proxies.open)
            heard, _ = await first_line(gateway.port, HEADER)
            assert heard.startswith("220 ")

    asyncio.run(play())


def test_tls_begins_after_the_header(tmp_path: Path) -> None:
    certificate = tmp_path / "mx.pem"
    write_certificate(certificate, "mx.example.com")
    tls = {"smtpd_tls_wrappermode": "yes", "smtpd_tls_cert_file": str(certificate)}

    async def play() -> None:
        async with behind(**PORTS, **tls) as gateway:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            reader, writer = await connected(gateway.port)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = context.wrap_bio(incoming, outgoing)
            shake(client)
            # In one packet, as a balancer may send it that has already heard the client.
            writer.write(HEADER + outgoing.read())
            while not shake(client):
                incoming.write(await reader.read(65536))
            writer.write(outgoing.read())
            while not (heard := plain(client)):
                incoming.write(await reader.read(65536))
            assert heard == b"220 mx.example.com ESMTP Postfix\r\n"
            assert gateway.log[0] == "smtpd: connect from unknown[192.0.2.4]:1234"
            writer.close()

    asyncio.run(play())


def shake(client: ssl.SSLObject) -> bool:
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def plain(client: ssl.SSLObject) -> bytes:
    try:
        return client.read()
    except ssl.SSLWantReadError:
        return b""
