import time

from fastim.runtime.clock import SystemClock


def test_it_shows_milliseconds_since_the_epoch() -> None:
    before = time.time()
    now = SystemClock().now()
    assert isinstance(now, int)
    assert int(before * 1000) <= now <= time.time() * 1000
