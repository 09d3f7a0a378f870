"""A cache of verified addresses in which bytes were changed says that it is damaged, or gives rows that make sense. It
never raises anything else, and can be begun anew."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.mail.verified import BOUNCE, DEFER, OK
from postwarden.verify import file
from postwarden.verify.cache import Known

ROWS: dict[str, Known | None] = {
    f"user{n}@example.com": Known((OK, DEFER, BOUNCE)[n % 3], "host mx said: 550 nö", float(n)) for n in range(200)
}


def whole() -> bytes:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "cache"
        file.write(str(path), ROWS)
        return path.read_bytes()


WHOLE = whole()
CHANGES = st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=30)


@given(CHANGES, st.integers(1, len(WHOLE)))
@settings(max_examples=rounds(40), deadline=None)
def test_a_file_in_which_bytes_were_changed(changes: list[tuple[int, int]], size: int) -> None:
    data = bytearray(WHOLE)
    for at, byte in changes:
        data[at] = byte
    with TemporaryDirectory() as directory:
        path = Path(directory) / "cache"
        path.write_bytes(data[:size])
        try:
            for address, known in file.read(str(path)):
                assert known.status in (OK, DEFER, BOUNCE)
                assert known.text.isprintable()
                assert isinstance(known.updated, (int, float))
                address.encode()
            file.find(str(path), "user1@example.com")
            file.write(str(path), ROWS)
        except file.CacheError:
            file.discard(str(path))
            file.write(str(path), ROWS)
            assert len(file.read(str(path))) == len(ROWS)
