"""What is kept, for how long, and what goes first."""

from __future__ import annotations

from ferryman.dataplane.cache import Cache


def test_kept_until_its_time_is_over() -> None:
    cache: Cache[str] = Cache(10)
    cache.put("a", "1", until=5.0)
    assert cache.get("a", 4.9) == "1"
    assert cache.get("a", 5.0) is None
    assert (len(cache), cache.weight) == (0, 0)


def test_the_least_recently_used_goes_first() -> None:
    cache: Cache[int] = Cache(2)
    cache.put("a", 1, 9.0)
    cache.put("b", 2, 9.0)
    assert cache.get("a", 0.0) == 1
    cache.put("c", 3, 9.0)
    assert [cache.get(key, 0.0) for key in "abc"] == [1, None, 3]


def test_weights_are_what_counts() -> None:
    cache: Cache[bytes] = Cache(100)
    cache.put("a", b"", 9.0, 60)
    cache.put("b", b"", 9.0, 40)
    assert (len(cache), cache.weight) == (2, 100)
    cache.put("c", b"", 9.0, 50)
    assert (len(cache), cache.weight) == (2, 90)
    cache.put("d", b"", 9.0, 101)
    assert cache.get("d", 0.0) is None
    assert cache.weight == 90, "what has no room drives nobody out"


def test_put_again_is_counted_once() -> None:
    cache: Cache[int] = Cache(100)
    cache.put("a", 1, 9.0, 60)
    cache.put("a", 2, 9.0, 70)
    assert (cache.get("a", 0.0), cache.weight) == (2, 70)
    cache.put("a", 3, 9.0, 101)
    assert (cache.get("a", 0.0), cache.weight) == (None, 0), "the one before is no longer true either"


def test_nothing_is_kept_where_there_is_no_room() -> None:
    cache: Cache[int] = Cache(0)
    cache.put("a", 1, 9.0)
    assert cache.get("a", 0.0) is None


def test_forgetting() -> None:
    cache: Cache[int] = Cache(100)
    for key in ("aa", "ab", "b"):
        cache.put(key, 1, 9.0, 10)
    cache.drop("nothing")
    cache.drop_where(lambda key: str(key).startswith("a"))
    assert (len(cache), cache.weight) == (1, 10)
    cache.clear()
    assert (len(cache), cache.weight) == (0, 0)
