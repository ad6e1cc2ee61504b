"""TimeLimit: who is due, and when, as a sorted list would have it."""

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.io.time_limits import TimeLimit

SPAN_S = 10.0
holders = st.sampled_from("abcd")


class TimeLimitMachine(RuleBasedStateMachine):
    """Spans begin, begin again, end early and run out; the model has when each is over."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ended: list[str] = []
        self.limit: TimeLimit[str] = TimeLimit(SPAN_S, "some_s", "too slow", self.end)
        self.dues: dict[str, float] = {}

    def end(self, holder: str, limit: TimeLimit[str]) -> None:
        assert limit is self.limit and holder not in limit
        self.ended.append(holder)

    @rule(holder=holders)
    def start(self, holder: str) -> None:
        self.limit.start(holder, self.now)
        self.dues.setdefault(holder, self.now + SPAN_S)

    @rule(holder=holders)
    def restart(self, holder: str) -> None:
        self.limit.restart(holder, self.now)
        self.dues[holder] = self.now + SPAN_S

    @rule(holder=holders)
    def stop(self, holder: str) -> None:
        self.limit.stop(holder)
        self.dues.pop(holder, None)

    @rule(seconds=st.sampled_from([1.0, 4.0, 9.0, 10.0, 11.0]))
    def pass_time(self, seconds: float) -> None:
        """Only holders whose span is over are ended, the first to be due first."""
        self.now += seconds
        over = sorted((due, holder) for holder, due in self.dues.items() if due <= self.now)
        self.limit.expire(self.now)
        assert sorted(self.ended) == sorted(holder for _, holder in over)
        assert [self.dues.pop(holder) for holder in self.ended] == [due for due, _ in over]
        self.ended.clear()

    @invariant()
    def it_is_due_when_the_first_is(self) -> None:
        assert self.limit.due == min(self.dues.values(), default=math.inf)
        assert set(self.limit) == set(self.dues)
        assert [self.dues[each] for each in self.limit] == sorted(self.dues.values())


TestTimeLimit = TimeLimitMachine.TestCase
