import asyncio

import pytest

from postwarden.net.waiting import LoopWaiting


def outcome(*, fails: bool) -> list[Exception | None]:
    heard: list[Exception | None] = []

    async def fetch() -> None:
        await asyncio.sleep(0)
        if fails:
            raise OSError("no")

    async def main() -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ended(error: Exception | None) -> None:
            heard.append(error)
            done.set_result(None)

        LoopWaiting(asyncio.get_running_loop()).wait(fetch, ended)
        assert heard == []
        await done

    asyncio.run(main())
    return heard


def test_done_comes_once_and_later() -> None:
    assert outcome(fails=False) == [None]


@pytest.mark.parametrize("kind", [OSError])
def test_an_error_is_handed_over(kind: type[Exception]) -> None:
    (error,) = outcome(fails=True)
    assert isinstance(error, kind)
