"""The disk of the mailboxes is full, or a quota is used up: what was there stays whole, and the mail waits or is
returned."""

import contextlib
import mailbox
import re
import shutil
import smtplib
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.message import Message
from pathlib import Path

import pytest
from tests.disks import in_memory, mounted
from tests.whole import MASTER_CF, Gateway, running, until

pytestmark = [pytest.mark.slow, pytest.mark.root]
USER = "nobody"
SIZES = (30_000, 300_000)
"""Bodies that a job carries with it, and those that stay in a file."""


def btrfs(stack: ExitStack, base: Path) -> Path:
    if shutil.which("mkfs.btrfs") is None:
        pytest.skip("needs btrfs-progs")
    image = base / "image"
    subprocess.run(["truncate", "-s", "200M", image], check=True)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    disk = stack.enter_context(mounted(base / "disk", "-o", "loop", str(image)))
    disk.chmod(0o755)
    home = disk / "limited"
    for words in (f"quota enable {disk}", f"subvolume create {home}", f"qgroup limit 2M {home}"):
        subprocess.run(["btrfs", *words.split()], check=True, capture_output=True)
    return home


def ext4(stack: ExitStack, base: Path) -> Path:
    image = base / "image"
    subprocess.run(["truncate", "-s", "4M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, capture_output=True)
    return stack.enter_context(mounted(base / "disk", "-o", "loop", str(image)))


def tmpfs(stack: ExitStack, base: Path) -> Path:
    return stack.enter_context(in_memory(base / "disk", "size=2m"))


@pytest.fixture(params=[ext4, tmpfs, pytest.param(btrfs, marks=pytest.mark.long)], ids=lambda kind: kind.__name__)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, bool]]:
    """And whether what is missing there is a quota's."""
    kind: Callable[[ExitStack, Path], Path] = request.param
    with ExitStack() as stack:
        disk = kind(stack, tmp_path)
        disk.chmod(0o755)
        for name in ("boxes", "dirs"):
            (disk / name).mkdir()
            (disk / name).chmod(0o1777)
        (disk / "ballast").write_bytes(bytes(800_000))
        yield disk, kind is btrfs


class Sender:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.sent = {"boxes": 0, "dirs": 0}

    def send(self, where: str, size: int) -> str:
        """What the log says of it."""
        number = self.sent[where] = self.sent[where] + 1
        body = ("x" * 70 + "\r\n") * (size // 72) + "the end\r\n"
        with smtplib.SMTP("127.0.0.1", self._gateway.port, timeout=60) as client:
            client.ehlo()
            client.mail("")
            client.rcpt(f"{USER}@{where}.example")
            said = client.data(f"Subject: {number}\r\n\r\n{body}")[1].decode()
        line = re.compile(rf"/local\[\d+\]: {said.split()[-1]}: to=.* status=(.*)")
        until(lambda: line.search(self._gateway.log()) is not None, 60)
        found = line.search(self._gateway.log())
        assert found is not None
        return found[1]


def whole(disk: Path) -> tuple[list[str], list[str]]:
    """The subjects of what is in the mbox and in the Maildir, each to its end, and nothing else in them."""
    with contextlib.closing(mailbox.mbox(disk / "boxes" / USER)) as box:
        boxed: list[Message] = list(box)
    directory: list[Message] = list(mailbox.Maildir(disk / "dirs" / USER, create=False))
    for message in (*boxed, *directory):
        assert str(message.get_payload()).rstrip().endswith("\nthe end"), message["subject"]
    assert list((disk / "dirs" / USER / "tmp").iterdir()) == []
    assert [path.name for path in (disk / "boxes").iterdir()] == [USER]
    return [str(m["subject"]) for m in boxed], sorted((str(m["subject"]) for m in directory), key=int)


def test_what_was_delivered_stays_whole(tmp_path: Path, disk: tuple[Path, bool]) -> None:
    place, quota = disk
    master = MASTER_CF + "".join(
        f"{name} unix - n n - - local -o mail_spool_directory={place}/{name}{end}\n"
        for name, end in (("boxes", ""), ("dirs", "/"))
    )
    settings = {
        "transport_maps": "inline:{boxes.example=boxes:, dirs.example=dirs:}",
        "relay_domains": "boxes.example dirs.example",
    }
    (tmp_path / "gateway").mkdir()
    with running(Gateway(tmp_path / "gateway", 0, master, **settings)) as gateway:
        sender, delivered = Sender(gateway), dict[str, list[str]](boxes=[], dirs=[])
        for where in ("boxes", "dirs"):
            said = sender.send(where, SIZES[0])
            assert said.startswith("sent "), said
            delivered[where].append("1")
        refused = set[str]()
        for size in SIZES[::-1]:
            for where in ("boxes", "dirs"):
                # Both kinds of body come to the end of the disk, whatever the first one leaves.
                while (said := sender.send(where, size)).startswith("sent "):
                    delivered[where].append(str(sender.sent[where]))
                refused.add(said)
        assert whole(place) == (delivered["boxes"], delivered["dirs"])
        if quota:
            assert all(said.startswith("bounced ") and "Disk quota exceeded" in said for said in refused), refused
            assert "dsn=5.2.2" in gateway.log()
            return
        assert all(said.startswith("deferred ") and "No space left on device" in said for said in refused), refused
        (place / "ballast").unlink()
        gateway.command("flush")
        every = [[str(n + 1) for n in range(sender.sent[where])] for where in ("boxes", "dirs")]
        until(lambda: gateway.log().count("status=sent") == sum(map(len, every)), 60)
        boxes, dirs = whole(place)
        assert [sorted(boxes, key=int), dirs] == every
