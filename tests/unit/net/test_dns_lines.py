"""Sockets to name servers: one for all questions on this host, one a question beyond it."""

import asyncio
import socket
from collections.abc import Callable

import pytest
from tests.ports import free_port

from postwarden.net.dns_exchange import SocketNetwork


class Asker:
    def __init__(self, network: SocketNetwork, port: int) -> None:
        self.network = network
        self._server = ("127.0.0.1", port)
        self.heard: list[bytes | None] = []

    async def ask(self, *packets: bytes) -> list[bytes | None]:
        self.heard.clear()
        sent = [self.network.datagram(self._server, packet, self.heard.append) for packet in packets]
        for _ in range(10_000):
            if len(self.heard) >= len(packets):
                break
            await asyncio.sleep(0.005)
        for one in sent:
            one.close()
        return self.heard


def echo(sock: socket.socket, ports: list[int]) -> None:
    data, client = sock.recvfrom(512)
    ports.append(client[1])
    sock.sendto(data, client)


async def echoed(
    network: Callable[[asyncio.AbstractEventLoop], SocketNetwork], *questions: bytes
) -> tuple[set[bytes], int]:
    """What is heard of a server that answers with the question, and how many sockets asked it."""
    loop = asyncio.get_running_loop()
    ports: list[int] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        loop.add_reader(server, echo, server, ports)
        asker = Asker(network(loop), server.getsockname()[1])
        heard = await asker.ask(*questions)
        loop.remove_reader(server)
    asker.network.close()
    return set(heard), len(set(ports))


@pytest.mark.parametrize(("near", "sockets"), [(lambda address: True, 1), (lambda address: False, 3)])
def test_questions_and_their_sockets(near: Callable[[str], bool], sockets: int) -> None:
    questions = (b"\0\1one", b"\0\2two", b"\0\3three")
    heard, asked_by = asyncio.run(echoed(lambda loop: SocketNetwork(loop, near), *questions))
    assert heard == set(questions)
    assert asked_by == sockets


def test_the_same_identifier_twice_gets_a_socket_of_its_own() -> None:
    assert asyncio.run(echoed(SocketNetwork, b"\0\1one", b"\0\1two")) == ({b"\0\1one", b"\0\1two"}, 2)


def test_a_server_that_is_gone_is_told_to_all_and_found_again() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        port = free_port()
        asker = Asker(SocketNetwork(loop), port)
        assert await asker.ask(b"\0\1one", b"\0\2two") == [None, None]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", port))
            loop.add_reader(server, echo, server, [])
            assert await asker.ask(b"\0\3three") == [b"\0\3three"]
            loop.remove_reader(server)
        asker.network.close()

    asyncio.run(main())
