"""Line equivalents: DNS queries that table servers beside resolvers are asked as a plain line.

A query that says more than a line can is a question of its own, and resolvers are asked it. Table
servers are asked the line that comes nearest, once for all queries that it stands for:

- for a query for addresses that wants more than a line can say, signatures for example, the line
  for the same addresses: what a table has is an answer to the query, and NO DATA is NO DATA;
- for a query of another type (MX, say) the line that is the name alone. No table can know what
  there is of that type. But one that has the name, with whatever addresses, shows that it exists,
  and one that blocks it, that it does not.

Not here: how questions are written (`nodes/dns/question.py`), and how a table server is heard
(`nodes/ls/table_link.py`).
"""

from collections.abc import Callable, Iterable, Sequence

from core.effects import Effect
from core.environment import Environment
from core.events import ConnectionEvent
from core.protocol.outcome import Answered, Answers, Relayed
from nodes.dns.question import TableAnswer, is_beyond_tables, line_of
from nodes.ls.link import Link
from nodes.ls.observer import Observer
from nodes.ls.outcomes import QuestionEvent, QuestionState
from nodes.ls.replies import Denial, Replies
from nodes.ls.table_link import TableLink
from nodes.ls.whereabouts import Host


class LineEquivalents(Observer):
    """The open questions that are no lines, by the lines that stand for them."""

    def __init__(self) -> None:
        self._queries: dict[bytes, dict[bytes, None]] = {}
        self.kept = self._queries

    def __bool__(self) -> bool:
        return bool(self._queries)

    def as_lines(self, questions: Iterable[bytes]) -> list[bytes]:
        """Return the lines that a table server is asked for these, each once. A question that no
        line comes near is left out."""
        lines: dict[bytes, None] = {}
        for question in questions:
            line = line_of(question)
            if line is None:
                continue
            if line is not question:
                self._queries.setdefault(line, {})[question] = None
            lines[line] = None
        return list(lines)

    def queries_of(self, lines: Iterable[bytes]) -> list[bytes]:
        """Return all queries that these lines stand for."""
        return [query for line in lines for query in self._queries.get(line, ())]

    def have(self, lines: Iterable[bytes]) -> bool:
        """Return whether one of these lines stands for a query."""
        return bool(self._queries) and not self._queries.keys().isdisjoint(lines)

    def closed(
        self, questions: Sequence[bytes], end: QuestionState, now: float
    ) -> Iterable[Effect]:
        for question in questions:
            line = line_of(question)
            if line is not question and line in self._queries:
                self._queries[line].pop(question, None)
                if not self._queries[line]:
                    del self._queries[line]
        return ()


class TableLinkBesideResolvers(TableLink):
    """A table server that is asked questions of DNS as lines, and whose replies to lines count for
    them. `is_wanted(line)`: whether a line was asked for itself."""

    def __init__(
        self,
        link: Link,
        env: Environment,
        host: Host | None,
        equivalents: LineEquivalents,
        is_wanted: Callable[[bytes], bool],
    ) -> None:
        super().__init__(link, env, host)
        self._equivalents = equivalents
        self._is_wanted = is_wanted

    def can_be_asked(self, question: bytes) -> bool:
        return line_of(question) is not None

    def can_have_data(self, question: bytes) -> bool:
        return not is_beyond_tables(question)

    def ask(self, questions: list[bytes], now: float, lines: bytes = b"") -> list[Effect]:
        asked = self._equivalents.as_lines(questions)
        return super().ask(asked, now) if asked else []

    def receive(self, event: ConnectionEvent, now: float) -> Replies:
        replies = super().receive(event, now)
        if replies.answers or replies.denials or replies.unknown:
            self._translate(replies)
        return replies

    def _translate(self, replies: Replies) -> None:
        """Let replies to lines count for the queries that the lines stand for, too, and for the
        lines only where they were asked for themselves."""
        equivalents, name_said = self._equivalents, QuestionEvent.NAME_SAID
        answers: list[Answered] = []
        denials: list[Denial] = []
        unknown = list(replies.unknown)
        for chunk in replies.answers:
            assert isinstance(chunk, Answers)
            if not equivalents.have(chunk.questions):
                answers.append(chunk)
                continue
            answers += self.answers_to_queries(chunk, denials)
            asked = list(map(self._is_asked_itself, chunk.questions))
            if any(asked):
                answers.append(chunk.only(asked))
        for line, event, _ in replies.denials:
            if event is name_said:  # whether a name exists only above others, resolvers say
                unknown.append(line)
                continue
            for query in equivalents.queries_of((line,)):
                exists = event is QuestionEvent.NO_DATA_SAID and is_beyond_tables(query)
                denials.append((query, name_said if exists else event, None))
            if self._is_asked_itself(line):
                denials.append((line, event, None))
        queries = equivalents.queries_of(unknown)
        replies.unknown = [*filter(self._is_asked_itself, unknown), *queries]
        replies.answers, replies.denials = answers, denials

    def answers_to_queries(self, chunk: Answers, denials: list[Denial]) -> list[Answered]:
        """Return what a table's answers to lines answer of queries, and add what they deny."""
        queries: list[bytes] = []
        found: list[TableAnswer] = []
        for line, addresses in zip(chunk.questions, chunk.addresses(), strict=True):
            for query in self._equivalents.queries_of((line,)):
                if is_beyond_tables(query):
                    denials.append((query, QuestionEvent.NAME_SAID, None))
                else:
                    queries.append(query)
                    found.append(TableAnswer(addresses))
        return [Relayed(queries, found)] if queries else []

    def _is_asked_itself(self, line: bytes) -> bool:
        return self._is_wanted(line) or not self._equivalents.have((line,))
