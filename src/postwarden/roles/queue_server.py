"""The control socket of the queue: local users and the queue's commands ask, the courier answers.

Anybody on the machine may connect, so: a question is small, one is answered at a time, who does not read or ask is
dropped, and a user has few connections. Who asks is what the kernel says (SO_PEERCRED); listing and flushing are for
those that authorized_mailq_users and authorized_flush_users name, all else for root and mail_owner.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from postwarden.ipc import queue_records as ask
from postwarden.ipc.channel import HELLO, ChannelError, Decoder, frame
from postwarden.ipc.local_socket import login_name, peer_uid
from postwarden.mail.decision import settle
from postwarden.mail.events import Failure
from postwarden.mail.hostname import valid_hostname
from postwarden.mail.queue import Damaged, Listed
from postwarden.net.log import Log
from postwarden.roles.decision_reader import DecisionReader
from postwarden.schedule.courier import Courier

_LONGEST = 256 << 10
"""Bytes of a question: 500 queue ids of 255 bytes fit."""
_READ = 64 << 10
_CONNECTIONS = 200
_CONNECTIONS_OF_A_USER = 20
_PATIENCE = 300.0
_PAUSE = 0.5
_IN_DELIVERY = 5.0
"""Seconds until a message that is being delivered is no longer waited for: what was asked will be done."""

Authorized = Callable[[str, str], bool]
"""(name of the parameter that lists them, user name)"""


class QueueServer:
    def __init__(self, courier: Courier, log: Log, authorized: Authorized, decisions: DecisionReader) -> None:
        self.authorized = authorized
        self.decisions = decisions
        self._courier = courier
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._users: Counter[int] = Counter()
        self._trusted = (0, os.geteuid())
        self._socket: socket.socket | None = None
        self._path = ""

    def open(self, path: str) -> None:
        """Listen. Raises OSError. The caller has the courier's lock: a socket that is there is of a dead courier."""
        self._path = path
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            sock.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")  # a longer path does not fit
            os.chmod(path, 0o666)
            sock.listen(64)
        except OSError:
            sock.close()
            raise
        finally:
            os.close(directory)
        self._socket = sock
        self._loop.add_reader(sock.fileno(), self._accept)

    def close(self) -> None:
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        self.decisions.close()
        for task in list(self._tasks):
            task.cancel()

    def _resume(self) -> None:
        if self._socket is not None:
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        assert self._socket is not None
        try:
            sock, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor is left: the loop would come here again at once, and to nothing else
            self._loop.remove_reader(self._socket.fileno())
            self._loop.call_later(_PAUSE, self._resume)
            return
        sock.setblocking(False)
        uid = peer_uid(sock)
        crowded = len(self._tasks) >= _CONNECTIONS or self._users[uid] >= _CONNECTIONS_OF_A_USER
        if crowded and uid not in self._trusted:
            sock.close()
            return
        self._users[uid] += 1
        task = self._loop.create_task(self._serve(sock, uid))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, sock, uid))

    def _ended(self, task: asyncio.Task[None], sock: socket.socket, uid: int) -> None:
        sock.close()
        self._tasks.discard(task)
        self._users[uid] -= 1
        if not self._users[uid]:
            del self._users[uid]

    async def _serve(self, sock: socket.socket, uid: int) -> None:
        decoder: Decoder[ask.Question] = Decoder(ask.Question, limit=_LONGEST)
        desk = _Desk(self, self._courier, uid)
        try:
            await self._send(sock, HELLO)
            while True:
                async with asyncio.timeout(_PATIENCE):
                    data = await self._loop.sock_recv(sock, _READ)
                if not data:
                    return
                for question, _ in decoder.feed(data):
                    began = self._loop.time()
                    answer, fds = await desk.answer(question)
                    await self._send(sock, frame(answer, len(fds)), fds)
                    if uid not in self._trusted:
                        # Who lists the queue again and again has no more than his part of the courier's time.
                        await asyncio.sleep(min((self._loop.time() - began) * self._users[uid], 1.0))
        except (ChannelError, OSError, TimeoutError):
            return  # it broke the rules, has gone, or does not read
        except Exception as error:  # a bug of ours with one question
            self._log.emit("qmgr", Failure(f"internal error: control socket: {error!r}"))

    async def _send(self, sock: socket.socket, data: bytes, fds: tuple[int, ...] = ()) -> None:
        """Takes over the descriptors."""
        try:
            async with asyncio.timeout(_PATIENCE):
                sent = 0
                while fds and not sent:
                    try:
                        sent = socket.send_fds(sock, [data], fds)
                    except BlockingIOError:
                        await asyncio.sleep(0.01)
                await self._loop.sock_sendall(sock, memoryview(data)[sent:])
        finally:
            for fd in fds:
                os.close(fd)

    async def authorize(self, uid: int, parameter: str, what: str) -> ask.Refused | None:
        """Why a user may not; None: he may. Looking up a name may take long, so it keeps no mail waiting."""
        if uid in self._trusted:
            return None
        name = await self._loop.run_in_executor(None, login_name, uid) or "unknown"
        if await settle(partial(self.authorized, parameter, name)):
            return None
        return ask.Refused(ask.DENIED, f"User {name}({uid}) is not allowed to {what}")


class _Desk:
    """One connection's questions, one at a time."""

    def __init__(self, server: QueueServer, courier: Courier, uid: int) -> None:
        self._server = server
        self._courier = courier
        self._operations = courier.operations
        self._uid = uid
        self._began = 0.0
        self._asking = server.decisions.asking()

    async def answer(self, question: ask.Question) -> tuple[ask.Answer, tuple[int, ...]]:
        refused = await self._refuse(question)
        if refused is not None:
            return refused, ()
        try:
            return await self._answer(question)
        except Damaged as error:
            return ask.Refused(ask.BAD, str(error)), ()
        except OverflowError:
            return ask.Refused(ask.BAD, "no such place in the listing"), ()

    async def _answer(self, question: ask.Question) -> tuple[ask.Answer, tuple[int, ...]]:
        """Raises Damaged."""
        match question:
            case ask.ListPage():
                messages, after = self._operations.page(question.after, min(max(question.limit, 1), ask.PAGE))
                return ask.Page(tuple(messages), after), ()
            case ask.Act():
                return await self._act(question), ()
            case ask.Fetch():
                return self._fetch(question.queue_id)
            case ask.AskFigures():
                return self._courier.whereabouts(), ()
            case ask.AskHistory() | ask.AskRefused():
                return await self._asking.answer(question), ()
        return await self._flush(question), ()

    async def _refuse(self, question: ask.Question) -> ask.Refused | None:
        if isinstance(question, ask.AskHistory | ask.AskRefused):
            return await self._server.authorize(self._uid, "authorized_mailq_users", "view what happened to mail")
        if isinstance(question, ask.ListPage | ask.AskFigures):
            return await self._server.authorize(self._uid, "authorized_mailq_users", "view the mail queue")
        if isinstance(question, ask.Act | ask.Fetch):
            if self._uid in (0, os.geteuid()):
                return None
            return ask.Refused(ask.DENIED, "use of this command is reserved for the superuser")
        return await self._server.authorize(self._uid, "authorized_flush_users", "flush the mail queue")

    async def _act(self, question: ask.Act) -> ask.Answer:
        if question.operation not in ask.OPERATIONS or len(question.queue_ids) > ask.PAGE:
            return ask.Refused(ask.BAD, "no such operation, or too many queue ids")
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not over.done():
                over.set_result(None)

        after = None
        operation, queues = question.operation, question.queues
        if question.queue_ids:
            acting = self._operations.act(operation, question.queue_ids, queues, done)
        else:
            if question.after is None:
                self._began = time.time()
            page, after = self._operations.page(question.after)
            if operation == ask.REQUEUE:  # what is requeued is new, and comes again at the end of the listing
                page = [listed for listed in page if _since(listed) < self._began]
            acting = self._operations.act_on(operation, page, queues, done)
        while not over.done():
            await asyncio.wait({over}, timeout=_IN_DELIVERY)
            if acting.only_waits:
                break
        return ask.Acted((*acting.done, *sorted(acting.waiting)), after)

    def _fetch(self, queue_id: str) -> tuple[ask.Answer, tuple[int, ...]]:
        try:
            found = self._operations.peek(queue_id)
        except (Damaged, OSError) as error:
            return ask.Refused(ask.BAD, f"{queue_id}: {error}"), ()
        if found is None:
            return ask.Refused(ask.ABSENT, f"{queue_id}: no such message"), ()
        listed, content = found
        head = _in_memory(content.head)
        if content.body is None:
            return ask.Fetched(listed, content.offset, content.size), (head, content.fd)
        return ask.Fetched(listed, 0, len(content.body)), (head, _in_memory(content.body))

    async def _flush(self, question: ask.FlushAll | ask.FlushSite | ask.FlushMessage) -> ask.Answer:
        match question:
            case ask.FlushSite():
                site = question.site
                if not (site.startswith("[") and site.endswith("]")) and not valid_hostname(site):
                    return ask.Refused(ask.BAD, f"invalid destination: {site!r}")
                if not await settle(partial(self._operations.flush_site, site)):
                    text = f'Flush service is not configured for destination "{site}"'
                    return ask.Refused(ask.UNSERVED, text)
            case ask.FlushMessage():
                if not question.queue_id.isalnum():
                    return ask.Refused(ask.BAD, f"invalid queue ID: {question.queue_id!r}")
                self._operations.flush_message(question.queue_id)
            case ask.FlushAll():
                self._courier.flush()
        return ask.Done()


def _since(listed: Listed) -> float:
    envelope = listed.envelope()
    return envelope.created or envelope.arrival


def _in_memory(data: bytes) -> int:
    """A file with `data`, open for reading at its begin."""
    fd = os.memfd_create("content", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
