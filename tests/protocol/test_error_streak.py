"""Error streaks: when there are too many errors in a row, and that this is counted once."""

from core.bounds import Bounds
from core.environment import Environment
from core.protocol.error_streak import ErrorStreak


def test_a_streak_that_is_over_is_counted_once() -> None:
    env = Environment(Bounds(errors_in_a_row_max=3))
    streak = ErrorStreak(env)
    for before in range(2):
        seen = []
        for _ in range(4):
            streak.add()
            seen.append((streak.is_over, env.hits["errors_in_a_row_max"] - before))
        assert seen == [(False, 0), (False, 0), (True, 1), (True, 1)]
        streak.end()
