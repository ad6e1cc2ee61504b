"""RecentQueries: which queries a socket sent lately, so that a copy of a reply is no guess.

Not here: what becomes of copies (`tests/nodes/test_reply_matcher.py`).
"""

from nodes.ls.resolvers.recent_queries import RecentQueries


def test_the_newest_queries_are_known_and_the_oldest_forgotten() -> None:
    """However often it is asked, and so however often what is outdated is cleared away."""
    most, recent = 8, RecentQueries(8)
    ids = [number.to_bytes(2) for number in range(100)]
    for sent, number in enumerate(ids, 1):
        recent.remember(number, [b"n%d.example" % sent])
        newest = ids[max(0, sent - most) : sent]
        assert all(map(recent.has, newest)), sent
    assert not any(map(recent.has, ids[: -5 * most]))
    recent.clear()
    assert not any(map(recent.has, ids))
