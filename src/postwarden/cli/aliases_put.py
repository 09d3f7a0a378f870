"""`postwarden aliases put SOURCE`: the other end of `ssh gateway < aliases`, as a forced command that can do nothing
else."""

import os
import sys
from typing import BinaryIO

from postwarden.cli.tool import Refusal
from postwarden.config.settings import Settings
from postwarden.federation.entries import Unfit, read_entries
from postwarden.federation.sources import Push, load_federation
from postwarden.federation.store import write


def put(settings: Settings, name: str, stream: BinaryIO) -> int:
    """Take the file to the source's landing place. What can't be used is refused at once, so that its owner hears it;
    what it may say is judged by the merge. SSH_ORIGINAL_COMMAND, what the other side wished for, means nothing.
    Raises Refusal, ConfigError, OSError."""
    federation = load_federation(settings)
    source = federation.source(name)
    if source is None:
        raise Refusal(f"{name}: there is no such source")
    if not isinstance(source.arrives, Push):
        raise Refusal(f"{name}: this source is fetched from {source.arrives}, it has no landing place")
    data = stream.read(federation.size_limit + 1)
    if len(data) > federation.size_limit:
        raise Refusal(f"larger than {federation.size_limit} bytes (size_limit)")
    try:
        entries = read_entries(data, "standard input", name, source.end_mark)
    except Unfit as error:
        raise Refusal(f"not taken: {error}") from error
    client = os.environ.get("SSH_CLIENT", "").partition(" ")[0]
    try:
        write(source.arrives.path, data, 0o640)
        write(f"{source.arrives.path}.from", f"{client}\n".encode("ascii", "replace"), 0o644)
    except OSError as error:
        raise Refusal(f"the landing place {source.arrives.path} can't be written: {error.strerror}") from error
    print(f"{name}: {len(entries)} entries taken; the next merge judges them", file=sys.stderr)
    return 0
