"""Error streaks: when there are too many errors in a row, and that this is counted once."""

from core.bounds import Bounds
from core.environment import Environment
from core.protocol.error_streak import ErrorStreak


def test_a_streak_that_is_over_is_counted_once() -> None:
    env = Environment(Bounds(errors_in_a_row_max=3))
    streak = ErrorStreak(env)
    for _ in range(2):
        over = []
        for _ in range(4):
            streak.add()
            over.append(streak.is_over)
        assert over == [False, False, True, True]
        streak.end()
    assert env.hits == {"errors_in_a_row_max": 2}
