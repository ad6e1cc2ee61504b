"""Planted bugs, one at a time, each to be found by a test: `make mutants`.

A mutant is one small change of one file, as text that occurs there exactly once. The harness
copies the sources, plants it, and runs the tests that need no processes until one fails; that
test is its killer. A mutant that lives is a missing test. A mutant whose text is no longer in the
source is a mistake of this file, and is said to be one: it follows the code.

Run `python3 -m tests.mutants [NAME ...]`; exit code 1 when one lives.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_COPIED = (
    "core",
    "nodes",
    "tests",
    "examples",
    "bench",
    "proto.md",
    "README.md",
    "pyproject.toml",
    "Makefile",
)
_TEST_S = 300  # a mutant's tests; a mutant that makes them hang is killed by the clock
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.M)


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in `file`."""

    name: str
    file: str
    old: str
    new: str


MUTANTS = (
    # -- places for newcomers
    Mutant(
        "have askers on this machine part, too",
        "core/addresses.py",
        "THIS_MACHINE if peer == own or is_loopback(counted) else counted",
        "counted",
    ),
    Mutant(
        "have one part for whoever holds fewer places, not half as many",
        "core/io/places.py",
        "2 * len(self._held_by(newcomer)) >= len(largest)",
        "len(self._held_by(newcomer)) >= len(largest)",
    ),
    Mutant(
        "have the newest part, not the longest idle",
        "core/io/places.py",
        "min(largest, key=_last_turn)",
        "max(largest, key=_last_turn)",
    ),
    Mutant(
        "have any number part at once",
        "core/io/acceptor.py",
        "if len(self.parting) >= parting_max:",
        "if False:",
    ),
    Mutant(
        "forget the descriptors that are closed at the end of the turn",
        "core/io/acceptor.py",
        "if len(self.parting) + len(engine.doomed) >= 2 * parting_max:",
        "if parting_max == 0:",
    ),
    # -- bytes and sockets
    Mutant(
        "ignore what send() took",
        "core/io/streams.py",
        "relieved = stream.sent(taken)",
        "relieved = stream.sent(len(stream.unsent()))",
    ),
    Mutant(
        "drop the rest when send() would block",
        "core/io/streams.py",
        "            except BlockingIOError:\n                taken = 0",
        "            except BlockingIOError:\n                taken = len(stream.unsent())",
    ),
    Mutant(
        "close() instead of a staged close",
        "core/io/stream_state.py",
        "E.FLUSHED: S.LINGERING",
        "E.FLUSHED: S.CLOSED",
    ),
    Mutant(
        "close descriptors inside the turn",
        "core/io/streams.py",
        "engine.doomed.append(stream.socket)",
        "stream.socket.close()",
    ),
    Mutant(
        "a broken send ends the reading, too",
        "core/io/stream_state.py",
        "E.SEND_FAILED: S.DEAF",
        "E.SEND_FAILED: S.CLOSED",
    ),
    Mutant(
        "no rest after running out of descriptors",
        "core/io/listener.py",
        "self.again_at = now + self._rest_s",
        "self.again_at = None",
    ),
    Mutant(
        "a connection gone before accept ends accepting",
        "core/io/listener.py",
        "if error.errno in _GONE:",
        "if False:",
    ),
    Mutant(
        "accept without a budget",
        "core/io/acceptor.py",
        "            self._accept(listener, self._bounds.accepts_per_turn)\n\n    def _accept",
        "            self._accept(listener, math.inf)\n\n    def _accept",
    ),
    Mutant(
        "LS dials itself when a TS moves there",
        "core/io/dialler.py",
        "return bool(ours) and any(",
        "return False and any(",
    ),
    Mutant(
        "only loopback addresses are this machine's own",
        "core/addresses.py",
        "return sent_from == sent_to or is_loopback(network(sent_to))",
        "return is_loopback(network(sent_to))",
    ),
    Mutant(
        "the IPv6 wildcard is thought to take IPv4, too",
        "core/addresses.py",
        'if (":" in host) != (":" in sent_to):',
        "if False:",
    ),
    Mutant(
        "LS may be told to ask itself",
        "nodes/cli/server_addresses.py",
        "if own is not None and _comes_to(system, own, other):",
        "if False:",
    ),
    Mutant(
        "an address at which nobody can be asked is taken",
        "nodes/cli/server_addresses.py",
        "if trouble := _trouble(address):",
        "if (trouble := _trouble(address)) and False:",
    ),
    Mutant(
        "a dial that meets itself counts",
        "core/io/dialler.py",
        "is_own = error == 0 and socket.getsockname() == socket.getpeername()",
        "is_own = False",
    ),
    Mutant(
        "only the first address is dialled",
        "core/io/dialler.py",
        "self.addresses = deque(addresses)",
        "self.addresses = deque(addresses[:1])",
    ),
    # -- time
    Mutant(
        "timers before input",
        "core/io/loop.py",
        "        stage = self.signals.stage\n",
        "        engine.wake(self._system.now(), False)\n        stage = self.signals.stage\n",
    ),
    Mutant(
        "due timeouts wait for a talkative TS for ever",
        "core/io/engine.py",
        "if link_was_full and self.late_turns < bounds.late_turns:",
        "if link_was_full:",
    ),
    Mutant(
        "due timeouts do not wait for a TS that has more",
        "core/io/engine.py",
        "if link_was_full and self.late_turns < bounds.late_turns:",
        "if False:",
    ),
    Mutant(
        "the time of day",
        "core/io/system.py",
        "now = staticmethod(time.monotonic)",
        "now = staticmethod(time.time)",
    ),
    Mutant(
        "limits are judged before the turn has sent",
        "core/io/loop.py",
        "        if self.streams.unsent:\n",
        "        for timer in engine.timers:\n"
        "            timer.expire(now)\n"
        "        if self.streams.unsent:\n",
    ),
    Mutant(
        "who comes while a link holds the clients up is read",
        "nodes/ls/load_balancer.py",
        "            newcomer = self._server.sessions.get(event.conn)",
        "            pass",
    ),
    Mutant(
        "a peer of the client may talk nonsense for ever",
        "nodes/client/client.py",
        "        elif self._streak.is_over:",
        "        elif False:",
    ),
    Mutant(
        "whatever LS says keeps the client waiting",
        "nodes/client/client.py",
        "        if self._sheet.owed < owed:\n",
        "        if True:\n",
    ),
    Mutant(
        "a negative timeout",
        "core/io/loop.py",
        "min(max(0.0, due - self._system.now()), self._bounds.sleep_s)",
        "min(due - self._system.now(), self._bounds.sleep_s)",
    ),
    Mutant(
        "an endless timeout",
        "core/io/loop.py",
        "min(max(0.0, due - self._system.now()), self._bounds.sleep_s)",
        "max(0.0, due - self._system.now())",
    ),
    Mutant(
        "a line's clock is restarted by its bytes",
        "core/io/stream.py",
        "            mid_message.start(self, now)",
        "            mid_message.restart(self, now)",
    ),
    Mutant(
        "no limit on a peer that takes nothing",
        "core/io/streams.py",
        "                    self._write_stall.start(stream, now)",
        "                    pass",
    ),
    Mutant(
        "no limit on lingering",
        "core/io/streams.py",
        "            self._lingering.start(stream, now)\n",
        "            self._lingering.start(stream, math.inf)\n",
    ),
    # -- signals
    Mutant(
        "the wake-up byte is not read",
        "core/io/signals.py",
        "            numbers = self._pipe.recv(64)",
        '            numbers = b"1"',
    ),
    Mutant(
        "a drain does not read each session once more",
        "core/io/signals.py",
        "            self.stage = DrainStage.READING\n",
        "            self.go_on(DrainStage.READING)\n",
    ),
    Mutant(
        "a drain forgets who waits to be accepted",
        "core/io/acceptor.py",
        "listener.last_call(self._bounds.backlog_max + 1)",
        "listener.last_call(0)",
    ),
    Mutant(
        "a drain accepts until nobody waits",
        "core/io/acceptor.py",
        "listener.last_call(self._bounds.backlog_max + 1)",
        "listener.last_call(1 << 30)",
    ),
    Mutant(
        "a drain accepts all who wait in one turn",
        "core/io/acceptor.py",
        "            self._accept(listener, self._bounds.accepts_per_turn)\n        if any",
        "            self._accept(listener, math.inf)\n        if any",
    ),
    Mutant(
        "a drain does not wait for those who ask with DNS",
        "core/bounds.py",
        "(self.longest_s if with_dns else self.timeout_s) +",
        "self.timeout_s +",
    ),
    Mutant(
        "a signal before the loop is forgotten",
        "core/io/process.py",
        "signals, _first = _first or Signals(), None",
        "signals, _first = Signals(), None",
    ),
    Mutant(
        "a hangup before all workers serve is forgotten",
        "nodes/workers/supervisor.py",
        "self._reload_next = bool(self._ready)",
        "self._reload_next = False",
    ),
    Mutant(
        "--once serves whoever was accepted before the session",
        "core/protocol/only_session.py",
        "                effects += turn_away(asker)\n",
        "                pass\n",
    ),
    # -- lines
    Mutant(
        "splitlines",
        "core/text.py",
        '    lines = chunk.split(b"\\n")\n    lines.pop()\n',
        "    lines = chunk.splitlines()\n",
    ),
    Mutant(
        "compare names as text",
        "core/protocol/names.py",
        'return question_of(spelling.removesuffix(b".").lower(), type)',
        'name = spelling.removesuffix(b".").decode("utf-8", "replace").lower().encode()\n'
        "    return question_of(name, type)",
    ),
    Mutant(
        "an endless line is kept",
        "core/io/line_buffer.py",
        "        if len(held) <= self._line_bytes_max or (\n",
        "        if True or (\n",
    ),
    Mutant(
        "a cut name is asked",
        "core/protocol/session.py",
        "is_cut = unfinished and self.life.state is SessionState.OPEN",
        "is_cut = False",
    ),
    Mutant(
        "the lines after an overlong one are dropped",
        "core/io/line_buffer.py",
        'whole = whole[whole.index(b"\\n") + 1 :]',
        'whole = b""',
    ),
    # -- sessions
    Mutant(
        "QUIT closes at once",
        "core/protocol/session.py",
        "if self.owed or state in (SessionState.OPEN, SessionState.DONE):",
        "if state in (SessionState.OPEN, SessionState.DONE):",
    ),
    Mutant(
        "the end of input drops what is open",
        "nodes/ls/load_balancer.py",
        """        return server.step(event)
""",
        """        if type(event).__name__ == "Ended":
            self._questions.forget(server.sessions[event.conn], now)
        return server.step(event)
""",
    ),
    Mutant(
        "no BYE",
        "core/protocol/session.py",
        "if state is SessionState.LEAVING else [close]",
        "if state is None else [close]",
    ),
    Mutant(
        "errors in a row are not counted over",
        "core/protocol/batches.py",
        "            streak.end()\n        if isinstance(request, Question):\n",
        "            pass\n        if isinstance(request, Question):\n",
    ),
    # -- the race
    Mutant(
        "answers are credited by order",
        "nodes/ls/questions.py",
        """        owners = list(map(self._open.pop, whole.questions, repeat(None)))
""",
        """        questions = list(self._open)[: len(whole.questions)] or whole.questions
        owners = list(map(self._open.pop, questions, repeat(None)))
""",
    ),
    Mutant(
        "an answer counts that was not asked for on this connection",
        "nodes/ls/race_policy.py",
        "        if link.is_asked:\n            return None",
        "        if link.is_answering:\n            return None",
    ),
    Mutant(
        "coalescing forgets the second who waits",
        "nodes/ls/waiting.py",
        "self.waiters[batch] = self.waiters.get(batch, 0) + 1",
        "self.waiters.setdefault(batch, 1)",
    ),
    Mutant(
        "who joins inherits the first deadline",
        "nodes/ls/waiting.py",
        "questions, spellings, now, now + timeout_s, count)",
        "questions, spellings, now, max((q[-1].due for q in self._by_timeout.values() if q), "
        "default=now + timeout_s), count)",
    ),
    Mutant(
        "a question joins an asking of any age",
        "nodes/ls/questions.py",
        "if now - owner.asked_at < self._join_s:",
        "if True:",
    ),
    Mutant(
        "what a client asked stays open when it is gone",
        "nodes/ls/load_balancer.py",
        "effects = self._questions.forget(server.sessions[conn], now)",
        "effects: list[Effect] = []",
    ),
    Mutant(
        "a timeout before its time",
        "nodes/ls/waiting.py",
        "or queue[0].due <= now)",
        "or queue[0].due <= now + 0.1)",
    ),
    # -- links
    Mutant(
        "a link that comes back is not asked again",
        "nodes/ls/race_policy.py",
        "self._upto.get(link, 0)",
        "self._upto.get(link, 1 << 60)",
    ),
    Mutant(
        "a malformed answer ends a question",
        "core/protocol/reply_batch.py",
        "            malformed += 1\n",
        "            malformed += 1\n"
        '            questions.append(line.split(b" ")[0].lower())\n'
        '            answers.append(line + b"\\n'
        '")\n',
    ),
    Mutant(
        "a timeout of a TS ends a question",
        "core/protocol/reply_batch.py",
        "            others.append(reply)\n",
        "            others.append(reply)\n"
        '            questions.append(line.split(b" ")[0].lower())\n'
        '            answers.append(line + b"\\n'
        '")\n',
    ),
    Mutant(
        "the wait before a redial does not grow",
        "core/backoff.py",
        "self._next_s = min(2 * wait_s, ",
        "self._next_s = min(wait_s, ",
    ),
    Mutant(
        "the wait before a redial never starts over",
        "core/backoff.py",
        "        if lasted_s > self._longest_s:\n            self.start_over()\n",
        "",
    ),
    Mutant(
        "errors of an earlier connection count",
        "nodes/ls/table_link.py",
        "                self._replies = 0\n                self._streak.end()\n",
        "                self._replies = 0\n",
    ),
    Mutant(
        "a TS may answer what nobody asked",
        "nodes/ls/table_link.py",
        "if self._replies - self.link.asked > self._surplus_max and not replies.failure:",
        "if False:",
    ),
    Mutant(
        "blank lines of a TS count as answers",
        "core/protocol/reply_batch.py",
        "    for line in filter(None, split_lines(data)):\n        count += 1\n",
        '    count = data.count(b"\\n")\n    for line in filter(None, split_lines(data)):\n',
    ),
    # -- known unknowns, and hedging
    Mutant(
        "NOT FOUND is said when every live TS has said so",
        "nodes/ls/negatives.py",
        "elif deniers == self._upstreams.everyone:",
        "elif deniers & awaited == awaited:",
    ),
    Mutant(
        "each NO DATA begins the hold anew",
        "nodes/ls/negatives.py",
        "if until < held.until:",
        "if until != held.until:",
    ),
    Mutant(
        "what a TS has said outlives its connection",
        "nodes/ls/negatives.py",
        "self._deniers[question] = others | unable",
        "self._deniers[question] = deniers | unable",
    ),
    Mutant(
        "NO DATA is held past a timeout",
        "nodes/ls/negatives.py",
        "if self._questions.due() <= now:",
        "if False:",
    ),
    Mutant(
        "a TS that has stalled keeps its word when it goes",
        "nodes/ls/negatives.py",
        "if not reconnected and not unawaited:",
        "if not unawaited:",
    ),
    Mutant(
        "a TS may deny what it was not asked",
        "nodes/ls/exchange.py",
        "if is_admitted and is_open",
        "if is_open",
    ),
    Mutant(
        "a race is told that hedging does not fit",
        "nodes/ls/parts.py",
        "        fitness = HedgingFitness(questions, negatives)\n",
        "    fitness = HedgingFitness(questions, negatives)\n",
    ),
    Mutant(
        "a link that was given more than a slice looks up",
        "nodes/ls/exchange.py",
        "elif link.life.state is LinkState.UP and not is_last:",
        "elif False:",
    ),
    Mutant(
        "the silence of a TS says nothing of its pace",
        "nodes/ls/hedging/ranking.py",
        "self.add(link, now - sent_at, asking.open_count, now)",
        "pass",
    ),
    Mutant(
        "there are tokens at the start",
        "nodes/ls/hedging/budget.py",
        "self.tokens = 0.0",
        "self.tokens = 1.0",
    ),
    Mutant(
        "a speculative question takes no token",
        "nodes/ls/hedging/budget.py",
        "self.tokens -= questions",
        "pass",
    ),
    Mutant(
        "a slice of any size",
        "nodes/ls/hedging/link_queues.py",
        "while queue and size <= self._slice_bytes:",
        "while queue:",
    ),
    Mutant(
        "an answer counts from whoever was not asked",
        "nodes/ls/hedging/hedge_policy.py",
        "asking is not None and bool(asking.recipients & bit) for asking",
        "asking is not None for asking",
    ),
    Mutant(
        "an old question is not sent to everyone",
        "nodes/ls/hedging/hedge_policy.py",
        "if now >= lost_at:",
        "if False:",
    ),
    Mutant(
        "what went over a lost connection counts until its slice",
        "nodes/ls/hedging/hedge_policy.py",
        "                self._changes.forget_lost(asking)\n        bit",
        "                pass\n        bit",
    ),
    Mutant(
        "a round forgets its rest",
        "nodes/ls/hedging/link_changes.py",
        "return bool(self._round) or self._round_version != self.version",
        "return self._round_version != self.version",
    ),
    # -- metrics, samples, replay, the status page, the log
    Mutant(
        "buckets are not cumulative",
        "core/exposition.py",
        "        total += count\n        yield",
        "        total = count\n        yield",
    ),
    Mutant(
        "what was late is won, too",
        "nodes/ls/exchange.py",
        "link.credit(won, late)",
        "link.credit(len(answers.questions), late)",
    ),
    Mutant(
        "a link that comes back is counted anew",
        "nodes/ls/link.py",
        "        self.asked_before += self.asked\n",
        "",
    ),
    Mutant(
        "any number of STATS in a read",
        "core/protocol/batches.py",
        "if request is Command.STATS and stats > stats_max:",
        "if False:",
    ),
    Mutant(
        "a page is made for each who asks",
        "nodes/status_page/http.py",
        "now - made_at >= _FRESH_S",
        "True",
    ),
    Mutant(
        "a head of any length",
        "nodes/status_page/http.py",
        "if request.lines > _HEAD_LINES_MAX:",
        "if False:",
    ),
    Mutant(
        "watchers reach LS",
        "nodes/status_page/with_status_page.py",
        "if event.conn not in self._watchers:",
        "if True:",
    ),
    Mutant(
        "survivors only",
        "nodes/ls/race_samples.py",
        "                self._answer_s[server].add_beyond(timeout_s - asked_s)\n",
        "                pass\n",
    ),
    Mutant(
        "losers are not waited for",
        "nodes/ls/race_record.py",
        "return bool(self.end) and self.replies.keys() == self.asked.keys()",
        "return bool(self.end)",
    ),
    Mutant(
        "each batch begins its count anew",
        "nodes/ls/race_samples.py",
        "        self._ahead = at - count\n",
        "        self._ahead = self._every\n",
    ),
    Mutant(
        "the last reply of a TS counts",
        "nodes/ls/race_record.py",
        "if server not in self.asked or server in self.replies:",
        "if server not in self.asked:",
    ),
    Mutant(
        "any number of samples",
        "nodes/ls/race_samples.py",
        "question not in self._open and len(self._open) < self._bounds.samples_max",
        "question not in self._open",
    ),
    Mutant(
        "addresses are compared as text",
        "nodes/ls/disagreements.py",
        'frozenset(map(ipaddress.ip_address, addresses.split(",")))',
        'frozenset(addresses.split(","))',
    ),
    Mutant(
        "what is asked is not watched",
        "nodes/ls/race_samples.py",
        "race.asked.setdefault(upstream.link.conn, now - race.at)",
        "pass",
    ),
    Mutant(
        "hedged records are refused without the reason",
        "nodes/replay/replay.py",
        'if record.policy == "hedge":',
        "if False:",
    ),
    Mutant(
        "nobody waits for one that comes up",
        "nodes/replay/replay.py",
        "self._at(max(self._now, there_at) + wait_s",
        "self._at(self._now + wait_s",
    ),
    Mutant(
        "JSON is cut like text",
        "core/io/log.py",
        "while len(json.dumps(text)) - 2 > room:",
        "while False:",
    ),
    Mutant("repeats are shown", "core/io/log.py", "if alike.shown == _ALIKE_MAX:", "if False:"),
    Mutant(
        "a full disk is news each time",
        "core/io/outputs.py",
        "is_news, self.has_failed = not self.has_failed, True",
        "is_news = True",
    ),
    Mutant(
        "a record that was cut short is joined to the next",
        "core/io/outputs.py",
        "if self._is_torn and not self._records:",
        "if False:",
    ),
    Mutant(
        "a long record is copied for each of its pieces",
        "core/io/outputs.py",
        "return record[:PIPE_BYTES]",
        "return memoryview(bytes(record))[:PIPE_BYTES]",
    ),
    Mutant(
        "what is over the bound is dropped without a try to write",
        "core/io/outputs.py",
        "            self.make_room(self)\n",
        "            pass\n",
    ),
    Mutant(
        "nobody makes room in an output",
        "core/io/outputs.py",
        "            each.make_room = self._write\n",
        "            pass\n",
    ),
    Mutant(
        "one piece is written a turn",
        "core/io/outputs.py",
        "            while output.waiting:\n",
        "            if output.waiting:\n",
    ),
    Mutant(
        "a terminal is written as if it were a file",
        "core/io/writer.py",
        "partial(os.write, again)",
        "partial(os.write, fd)",
    ),
    Mutant(
        "a socket is written as if it were a file",
        "core/io/writer.py",
        "ours.send(data, socket.MSG_DONTWAIT)",
        "ours.send(data)",
    ),
    Mutant(
        "a terminal takes as much as a pipe when select says so",
        "core/io/writer.py",
        "1 if os.isatty(fd) else select.PIPE_BUF",
        "select.PIPE_BUF",
    ),
    Mutant(
        "a writer does not ask select",
        "core/io/writer.py",
        "if not select.select([], [fd], [], 0)[1]:",
        "if False:",
    ),
    Mutant(
        "a full disk ends the records",
        "core/io/outputs.py",
        "if output is self._records:  # a disk may have room again",
        "if False:",
    ),
    Mutant(
        "a drain closes the door of watchers, too",
        "core/io/acceptor.py",
        "return [each for each in self.listeners.values() if each.service.drains]",
        "return list(self.listeners.values())",
    ),
    # -- reloading
    Mutant(
        "a reload is half applied",
        "nodes/ts/reload.py",
        "        if data:\n            return served, effects\n",
        "        if data:\n"
        "            served.rows.update(table.rows)\n"
        "            return served, effects\n",
    ),
    Mutant(
        "the old table is dropped before the new one is judged",
        "nodes/ts/reload.py",
        "            check(table)\n",
        "            served.rows.clear()\n            check(table)\n",
    ),
    Mutant(
        "a table without a good row is taken",
        "nodes/ts/table_file.py",
        "    if table.bad_rows and not table.rows:\n",
        "    if False:\n",
    ),
    Mutant(
        "a table is emptied by a file that is being written",
        "nodes/ts/reload.py",
        "        if self._is_empty and served.rows:\n",
        "        if False:\n",
    ),
    Mutant(
        "a reload makes everything anew",
        "nodes/ts/reload.py",
        "self._loading.reuse(served.rows)",
        "pass",
    ),
    Mutant(
        "a list without rows cannot be reloaded",
        "nodes/ts/reload.py",
        "        if self._is_empty and served.rows:\n",
        "        if not table.rows:\n",
    ),
    Mutant(
        "a file that is no text is read row by row",
        "core/text.py",
        "        if beginning.startswith(mark):\n",
        "        if False:\n",
    ),
    Mutant(
        "a reload is not strict",
        "nodes/ts/reload.py",
        "if self._strict and table.bad_rows:",
        "if False:",
    ),
    Mutant(
        "a swap lets nothing go",
        "nodes/ts/reload.py",
        "        self._retired = served\n",
        "        self._retired = Table()\n",
    ),
    Mutant(
        "a table is let go in one turn",
        "nodes/ts/table_file.py",
        "forgotten = min(count, len(entries))",
        "forgotten = len(entries)",
    ),
    Mutant(
        "a table that is let go keeps its room",
        "nodes/ts/reload.py",
        "            self._retired = Table()  # an emptied",
        "            # an emptied",
    ),
    Mutant(
        "a table is read in one turn",
        "nodes/ts/reload.py",
        "os.read(fd, SLICE_BYTES)",
        "os.read(fd, 1 << 30)",
    ),
    Mutant(
        "who asks again is forgotten",
        "nodes/ts/reload.py",
        "S.READING: {E.ASKED: S.OUTDATED",
        "S.READING: {E.ASKED: STAY",
    ),
    Mutant(
        "who asked again gets nothing read",
        "nodes/ts/reload.py",
        "            if self.life.fire(ReloadEvent.LET_GO) is ReloadState.READING:\n",
        "            self.life.fire(ReloadEvent.LET_GO)\n            if False:\n",
    ),
    Mutant(
        "a reload is over before the last asking",
        "nodes/ts/reload.py",
        "        if self.life.fire(step) is ReloadState.RESTARTING:\n",
        "        self.life.fire(step)\n        if False:\n",
    ),
    Mutant(
        "opening a table may wait",
        "nodes/ts/reload.py",
        "os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC",
        "os.O_RDONLY | os.O_CLOEXEC",
    ),
    Mutant(
        "whatever can be opened is read",
        "nodes/ts/reload.py",
        "if not stat.S_ISREG(before.st_mode):",
        "if False:",
    ),
    Mutant(
        "a table may change while it is read",
        "nodes/ts/reload.py",
        "if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):",
        "if False:",
    ),
    Mutant(
        "a table that was read stays open",
        "nodes/ts/reload.py",
        "        os.close(fd)\n",
        "        pass\n",
    ),
    Mutant(
        "a swap keeps what was known of the old table",
        "nodes/ts/table_server.py",
        "        self._answers.table, effects = self._reload.turn(self._answers.table, now)\n",
        "        table, effects = self._reload.turn(self._answers.table, now)\n"
        "        self._answers.table.rows = table.rows\n",
    ),
    Mutant(
        "a reload goes on when somebody asks",
        "nodes/ts/table_server.py",
        "if self._reload is not None and self._reload.is_busy:",
        "if False:",
    ),
    Mutant(
        "a TS that drains begins a reload",
        "nodes/ts/table_server.py",
        "if self._reload is None or server.is_draining:",
        "if self._reload is None:",
    ),
    Mutant(
        "a mark is dropped from a whole chunk only",
        "nodes/ts/table_file.py",
        "        if len(self._start) >= BEGINNING_BYTES:\n",
        "        if self._start:\n",
    ),
    Mutant(
        "a hangup is a signal to end",
        "core/io/signals.py",
        "ends = len(numbers) - hangups",
        "ends = len(numbers)",
    ),
    Mutant(
        "LS stays with a TS that has moved",
        "nodes/ls/host_lookups.py",
        "if not self._is_over and (link.is_answering or link.life.state is LinkState.DIALING):",
        "if False:",
    ),
    Mutant(
        "clients take the descriptors of links",
        "core/io/descriptors.py",
        "        self._needed += count\n",
        "        pass\n",
    ),
    Mutant(
        "a limit of descriptors that nobody looks at",
        "nodes/cli/serving.py",
        "Descriptors(bounds, limit, taken)",
        "Descriptors(bounds, bounds.descriptors_max, 3)",
    ),
    Mutant(
        "descriptors that were open at the start do not count",
        "core/io/system.py",
        "return limit, sum(map(_is_open, range(limit)))",
        "return limit, 3",
    ),
    Mutant(
        "a low soft limit of descriptors stays",
        "core/io/system.py",
        "if soft != limit:",
        "if soft > limit:",
    ),
    Mutant(
        "a name that is not known is never looked up again",
        "nodes/ls/host_lookups.py",
        "            whereabouts.not_found(now, nowhere)\n",
        "            pass\n",
    ),
    Mutant(
        "a name that comes to be known is not dialled at once",
        "nodes/ls/link.py",
        """        if not self.addresses:
            self._dial_at = now
""",
        """        if not self.addresses:
""",
    ),
    Mutant(
        "all lookups at once",
        "core/io/lookup.py",
        "return bool(self.waiting) and len(self._running) < self._running_max",
        "return bool(self.waiting)",
    ),
    Mutant(
        "all lookups in one turn",
        "core/io/loop.py",
        "        if self.host_lookups.may_start:\n            self",
        "        while self.host_lookups.may_start:\n            self",
    ),
    Mutant(
        "SIGCHLD stays ignored",
        "core/io/child.py",
        "    if signal.getsignal(signal.SIGCHLD) != signal.SIG_DFL:",
        "    if False:",
    ),
    Mutant(
        "a PID is killed that somebody else has waited for",
        "core/io/child.py",
        "if os.waitpid(self._pid, os.WNOHANG)[0] == 0:",
        "if True:",
    ),
    Mutant(
        "a worker that is stopped keeps the news of all",
        "nodes/workers/slot.py",
        "return self.is_up and self.is_asked and not self.is_old",
        "return self.is_up and self.is_asked",
    ),
    Mutant(
        "a worker that is stopped is told things for ever",
        "nodes/workers/totals.py",
        "            if slot.is_old:\n                continue\n",
        "",
    ),
    Mutant(
        "a worker drains as long as the whole",
        "nodes/cli/ls_arguments.py",
        "if arguments.workers:  # its parent",
        "if False:  # its parent",
    ),
    Mutant(
        "every hangup starts lookups",
        "nodes/ls/host_lookups.py",
        """        if self._reload_again:
            return effects
""",
        "",
    ),
    Mutant(
        "a hangup during lookups is forgotten",
        "nodes/ls/host_lookups.py",
        "if not self._reloading and self._reload_again:",
        "if False:",
    ),
    # -- backpressure
    Mutant(
        "one backpressure rule for every connection",
        "core/io/connection.py",
        "return not (self.accepted and self.weight.state is BacklogState.HEAVY)",
        "return self.weight.state is not BacklogState.HEAVY",
    ),
    Mutant(
        "no backpressure",
        "core/io/connection.py",
        "return not (self.accepted and self.weight.state is BacklogState.HEAVY)",
        "return True",
    ),
    Mutant(
        "a turn reads whatever has come",
        "core/io/loop.py",
        "share = self._bounds.turn_bytes // (len(readable) or 1) or 1",
        "share = self._bounds.read_bytes",
    ),
    Mutant(
        "a turn sends whatever waits",
        "core/io/streams.py",
        "                data = data[:share]\n",
        "",
    ),
    Mutant(
        "a newcomer starves while memory is short",
        "core/io/stream.py",
        "if not streams.owed.is_few(self.name, self.waiting):",
        "if True:",
    ),
    Mutant(
        "few are read as much as ever",
        "core/io/stream.py",
        "            share = min(share, streams.bounds.few_read_bytes)\n",
        "",
    ),
    Mutant(
        "select is asked for those who are not read",
        "core/io/streams.py",
        "if stream.is_read]",
        "if stream.is_reading and not stream.is_paused]",
    ),
    Mutant(
        "a link is not read while memory is short",
        "core/io/stream.py",
        "        if not self.accepted:\n            return self.read_bytes\n",
        "",
    ),
    Mutant(
        "memory is short for ever",
        "core/owed.py",
        "            self._short = self.total >= self.low\n",
        "            pass\n",
    ),
    Mutant(
        "bytes that wait for clients are not added up",
        "core/io/connection.py",
        "            self._owed.add(len(data))\n",
        "            pass\n",
    ),
    Mutant(
        "what was promised to a client outlives it",
        "nodes/ls/questions.py",
        """        self._owed.promise(asker.conn, 0)
""",
        "",
    ),
    Mutant(
        "a stream of DNS has any number of queries in flight",
        "nodes/ls/dns_clients.py",
        'pending_bound = "stream_pending_max"',
        'pending_bound = "pending_per_client_max"',
    ),
    Mutant(
        "datagrams wait while a link holds up the rest",
        "nodes/ls/backpressure.py",
        " or not session.can_wait:",
        ":",
    ),
    Mutant(
        "what has been sent is kept",
        "core/io/connection.py",
        "            left = memoryview(bytes(left))\n",
        "            pass\n",
    ),
    Mutant(
        "a pause without an end",
        "nodes/ls/backpressure.py",
        "effects.append(Resume(conn))",
        "pass",
    ),
    Mutant(
        "a link holds up the clients for ever",
        "nodes/ls/link.py",
        "                return self._held_since + self._bounds.held_s",
        "                return math.inf",
    ),
    Mutant(
        "a client may have any number of questions pending",
        "nodes/ls/backpressure.py",
        "has_too_many = session.owed > session.pending_max",
        "has_too_many = False",
    ),
    # -- workers
    Mutant(
        "what a worker counted dies with it",
        "nodes/workers/totals.py",
        "        lost.values = summed([lost.values, _counters(report.values)])\n",
        "",
    ),
    Mutant(
        "what a worker's level was outlives it",
        "nodes/workers/totals.py",
        "if not value.metric.is_level}",
        "if True}",
    ),
    Mutant(
        "a worker that dies is started again at once, for ever",
        "nodes/workers/slot.py",
        "now + self._backoff.wait_s(now - self._began)",
        "now",
    ),
    Mutant(
        "a worker's wait never starts over",
        "nodes/workers/slot.py",
        "self._backoff.wait_s(now - self._began)",
        "self._backoff.wait_s()",
    ),
    Mutant(
        "it is ready when the first worker is",
        "nodes/workers/supervisor.py",
        "if self._ready and len(self._up()) == len(self._slots):",
        "if self._ready:",
    ),
    Mutant(
        "a worker that cannot start is tried for ever",
        "nodes/workers/supervisor.py",
        "if was_starting and self._ready:",
        "if False:",
    ),
    Mutant(
        "a reload is over when the first worker is",
        "nodes/workers/supervisor.py",
        "any(slot.is_reloading for slot in self._slots.values())",
        "False",
    ),
    Mutant(
        "a worker outlives its parent",
        "nodes/workers/worker.py",
        'return [Report("the parent is gone: draining", Level.WARNING), Drain()]',
        'return [Report("the parent is gone: draining", Level.WARNING)]',
    ),
    Mutant(
        "a worker's last counts are not told",
        "nodes/workers/worker.py",
        "            effects.insert(0, self._report())",
        "            pass",
    ),
    Mutant(
        "STATS tells of one worker only",
        "nodes/workers/worker.py",
        "lambda own: list(summed([keyed(own), self._others]).values())",
        "lambda own: own",
    ),
    Mutant(
        "a worker tells everything each time",
        "nodes/workers/worker.py",
        "changes(part, before.get(name, {}))",
        "part",
    ),
    Mutant(
        "workers hear everything each time",
        "nodes/workers/totals.py",
        "        self._stale, self._known = {}, about_workers\n",
        "        self._known = about_workers\n",
    ),
    Mutant(
        "a worker that is started again hears only what changes",
        "nodes/workers/totals.py",
        "if slot.is_old or slot.is_starting:",
        "if False:",
    ),
    Mutant(
        "what a lost worker had is not heard anew",
        "nodes/workers/totals.py",
        "        self._stale |= dict.fromkeys(report.values)\n",
        "",
    ),
    Mutant(
        "what was told of times goes on counting",
        "nodes/workers/messages.py",
        "tuple(histogram.counts)",
        "histogram.counts",
    ),
    Mutant(
        "a later child ends an earlier one",
        "core/io/child.py",
        "if not self._pid or os.getpid() != self._parent:",
        "if not self._pid:",
    ),
    Mutant(
        "a child hears its signals before it can",
        "core/io/child.py",
        "        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)\n",
        "",
    ),
    # -- DNS
    Mutant(
        "a reply goes to who asked last",
        "nodes/ls/dns_clients.py",
        "return waiting.popleft()",
        "return waiting.pop()",
    ),
    # -- resolvers
    Mutant(
        "a reply to another question counts",
        "nodes/ls/resolvers/reply_matcher.py",
        "                if reply.section != repeated and reply.section:",
        "                if False:",
    ),
    Mutant(
        "a reply that is cut is an answer",
        "nodes/ls/resolvers/reply_matcher.py",
        "                if reply.is_cut or reply.result is",
        "                if reply.result is",
    ),
    Mutant(
        "who guesses may guess for ever",
        "nodes/ls/resolvers/guess_guard.py",
        "self.is_alarmed = self._guesses >= self._bounds.unmatched_max",
        "self.is_alarmed = False",
    ),
    Mutant(
        "two questions have one ID",
        "nodes/ls/resolvers/in_flight.py",
        "            while number in asked:",
        "            while False:",
    ),
    Mutant(
        "sockets are never replaced",
        "nodes/ls/resolvers/udp_sender.py",
        "        if socket.replace_at <= now:",
        "        if False:",
    ),
    Mutant(
        "what a resolver was asked is never forgotten",
        "nodes/ls/resolvers/resolver.py",
        "        for number, question in batch.unanswered():",
        "        for number, question in ():",
    ),
    Mutant(
        "what is lost is not sent again",
        "nodes/ls/resolvers/resend.py",
        "        if batch.tries:\n            return []",
        "        if True:\n            return []",
    ),
    Mutant(
        "with many in flight everybody is silent",
        "nodes/ls/resolvers/grace.py",
        "        if sent_at > self._heard_at:",
        "        if True:",
    ),
    Mutant(
        "a silent resolver is waited for",
        "nodes/ls/resolvers/resolver_link.py",
        "return self.link.is_live and not self.resolver.grace.is_silent",
        "return self.link.is_live",
    ),
    Mutant(
        "as much is in flight as is asked",
        "nodes/ls/resolvers/window.py",
        "            return self._base\n",
        "            return 1 << 30\n",
    ),
    Mutant(
        "the window grows by its own queue",
        "nodes/ls/resolvers/window.py",
        "        if was_calm:",
        "        if True:",
    ),
    Mutant(
        "what is overtaken still takes room",
        "nodes/ls/resolvers/in_flight.py",
        "socket.pass_by(batch, len(batch.questions) - batch.left)",
        "socket.pass_by(batch, 0)",
    ),
    Mutant(
        "what is lost takes room for ever",
        "nodes/ls/resolvers/in_flight.py",
        "            self.count -= socket.pass_by(batch, len(batch.questions))\n",
        "            pass\n",
    ),
    Mutant(
        "what nobody wants is sent from the queue",
        "nodes/ls/resolvers/send_queue.py",
        "                if is_wanted(question):\n                    questions",
        "                if True:\n                    questions",
    ),
    Mutant(
        "a silent resolver gets every question",
        "nodes/ls/resolvers/resolver.py",
        "        if self.grace.is_silent:\n            if now",
        "        if False:\n            if now",
    ),
    Mutant(
        "one that is back is not asked for what is open",
        "nodes/ls/exchange.py",
        "effects += upstream.resume(self._open_for(upstream), now)",
        "pass",
    ),
    Mutant(
        "silence needs no time",
        "nodes/ls/resolvers/grace.py",
        "                self.silent_at = self._unanswered_since + self._bounds.silent_s",
        "                self.silent_at = self._unanswered_since",
    ),
    Mutant(
        "what is held for a silent one stays held",
        "nodes/ls/upstreams.py",
        "unawaited = without(self.awaited, awaited) | without(self._live, live)",
        "unawaited = without(self._live, live)",
    ),
    Mutant(
        "a failure waits no longer than a denial",
        "nodes/ls/resolvers/grace.py",
        "        if is_failure or now < self._differs_until:",
        "        if now < self._differs_until:",
    ),
    Mutant(
        "split views are not learnt",
        "nodes/ls/resolvers/grace.py",
        "        if is_failure or now < self._differs_until:",
        "        if is_failure:",
    ),
    Mutant(
        "split views are not learnt from what is late",
        "nodes/ls/resolvers/reply_matcher.py",
        "                if self._was_denied(question) and _has_data(message):",
        "                if False:",
    ),
    Mutant(
        "what was held before resolvers differed waits no longer",
        "nodes/ls/negatives.py",
        "                if until > held.until:",
        "                if False:",
    ),
    Mutant(
        "what is held is not sent again",
        "nodes/ls/resolvers/resend.py",
        "            effects += self.resend_held(questions, now)",
        "            pass",
    ),
    Mutant(
        "what comes to be held later is not sent again",
        "nodes/ls/exchange.py",
        "effects += self._upstreams.hurry([question for question, _, _ in denials], now)",
        "pass",
    ),
    Mutant(
        "it is sent again for ever",
        "nodes/ls/resolvers/resend.py",
        "            if tries < self._resends_max and",
        "            if",
    ),
    Mutant(
        "a copy of a reply is a guess",
        "nodes/ls/resolvers/recent_queries.py",
        "        return pair in self._pairs",
        "        return False",
    ),
    Mutant(
        "what was asked is remembered for ever",
        "nodes/ls/resolvers/recent_queries.py",
        "        while self._count - len(batches[0][1]) >= self._most:",
        "        while False:",
    ),
    Mutant(
        "who guesses has UDP stand still until there is a stream",
        "nodes/ls/resolvers/guess_guard.py",
        "            self._is_tcp_next = True",
        "            self.tcp_until = math.inf",
    ),
    Mutant(
        "a stream that was closed is asked for all again",
        "nodes/ls/resolvers/stream.py",
        "            self._most = max(1, 2 * socket.replies)",
        "            pass",
    ),
    # -- that a name exists
    Mutant(
        "NXDOMAIN beats NO DATA",
        "nodes/ls/outcomes.py",
        """        E.NOT_FOUND_SAID: STAY,
        E.NAME_SAID: S.NO_DATA_HELD,
        E.NO_DATA_SAID: S.NO_DATA_HELD,
""",
        """        E.NOT_FOUND_SAID: STAY,
        E.NAME_SAID: STAY,
        E.NO_DATA_SAID: STAY,
""",
    ),
    Mutant(
        "that a table has a name begins a grace",
        "nodes/ls/negatives.py",
        "if left and event is not QuestionEvent.NAME_SAID:",
        "if left:",
    ),
    Mutant(
        "NXDOMAIN is relayed of a name that exists",
        "nodes/ls/negatives.py",
        "held.reply = reply if says_so else None",
        "held.reply = reply",
    ),
    Mutant(
        "tables that can say nothing better are waited for",
        "nodes/ls/negatives.py",
        "held.moot = self._upstreams.without_data(question)",
        "pass",
    ),
    Mutant(
        "a grace counts from the word of a table",
        "nodes/ls/negatives.py",
        "                held.since = now",
        "                pass",
    ),
    Mutant(
        "a resolver is pressed since a table has the name",
        "nodes/ls/negatives.py",
        "return held is not None and held.until < math.inf",
        "return held is not None",
    ),
    Mutant(
        "a refusal waits as shortly as NO DATA where a table has the name",
        "nodes/ls/negatives.py",
        "QuestionState.REFUSAL_HELD, QuestionState.NAME_HELD}",
        "QuestionState.REFUSAL_HELD}",
    ),
    Mutant(
        "an address of a table says nothing of other types",
        "nodes/ls/resolvers/line_equivalents.py",
        "denials.append((query, QuestionEvent.NAME_SAID, None))",
        "pass",
    ),
    Mutant(
        "NO DATA of a name is NO DATA of all its types",
        "nodes/ls/resolvers/line_equivalents.py",
        "(query, name_said if is_beyond_tables(query) else event, None)",
        "(query, event, None)",
    ),
    Mutant(
        "a line that was asked for its equivalents only is late",
        "nodes/ls/resolvers/line_equivalents.py",
        "return self._is_wanted(line) or not self._equivalents.have((line,))",
        "return True",
    ),
    Mutant(
        "a table is silent about what it cannot have",
        "nodes/ls/race_samples.py",
        "if upstream.can_be_asked(question) and upstream.can_have_data(question):",
        "if True:",
    ),
    Mutant(
        "hedging asks a table first for what it cannot have",
        "nodes/ls/hedging/hedge_policy.py",
        "link.bit & (asking.unable | asking.without_data)",
        "link.bit & asking.unable",
    ),
    Mutant(
        "hedging asks a table before resolvers for what it cannot have",
        "nodes/ls/hedging/ranking.py",
        "                link.bit & asking.without_data > 0,\n",
        "",
    ),
    Mutant(
        "a TS that is silent is silent about names above its own",
        "nodes/ts/answers.py",
        "            or not table.above.isdisjoint(questions)\n",
        "",
    ),
    Mutant(
        "only the name right above a row is known",
        "nodes/ts/table_file.py",
        "        while known < len(above):",
        "        if known < len(above):",
    ),
    Mutant(
        "names above a table outlive it",
        "nodes/ts/table_file.py",
        "return not self.rows and not self.above",
        "return not self.rows",
    ),
    Mutant(
        "names below one of a table beat what resolvers say of it",
        "nodes/ls/resolvers/line_equivalents.py",
        "if event is name_said:",
        "if False:",
    ),
    Mutant(
        "names below end a question as soon as NO DATA",
        "nodes/ls/table_link.py",
        "QuestionEvent.NO_DATA_SAID, QuestionEvent.NAME_SAID",
        "QuestionEvent.NO_DATA_SAID, QuestionEvent.NO_DATA_SAID",
    ),
    Mutant(
        "rows with more blanks are relayed with them",
        "nodes/ts/table_file.py",
        'block.count(b" ") == 2 * count',
        "True",
    ),
    Mutant(
        "the worse answer is told",
        "nodes/ls/negatives.py",
        "if better is not held.best:",
        "if held.reply is None:",
    ),
    Mutant(
        "a timeout ends what others wait for",
        "nodes/ls/waiting.py",
        "takewhile(lambda batch: batch.due <= now, queue)",
        "takewhile(lambda batch: True, queue)",
    ),
    Mutant(
        "a cookie goes from hop to hop",
        "nodes/dns/reply.py",
        "        if code not in _HOP_BY_HOP:",
        "        if True:",
    ),
    Mutant(
        "a referral is NO DATA",
        "nodes/dns/reply.py",
        "ReplyResult.REFUSED if self.is_referral else ReplyResult.NO_DATA",
        "ReplyResult.NO_DATA",
    ),
    Mutant(
        "NO DATA with NS beside its SOA is a referral",
        "nodes/dns/reply.py",
        "self.is_referral = has_ns and RdataType.SOA not in authority_types",
        "self.is_referral = has_ns",
    ),
    Mutant(
        "a referral is relayed to who wants recursion",
        "nodes/dns/query.py",
        "if reply.is_referral and self._flags & Flag.RD:",
        "if False:",
    ),
    Mutant(
        "a referral is kept from who wants no recursion",
        "nodes/dns/query.py",
        "if reply.is_referral and self._flags & Flag.RD:",
        "if reply.is_referral:",
    ),
    Mutant(
        "who asks another operation, or no question, is taken for one without EDNS",
        "nodes/dns/query.py",
        'return _refused(flags, rcode, b"", opt)',
        'return _refused(flags, rcode, b"", None)',
    ),
    Mutant(
        "an OPT record is sought where records are that nobody may send",
        "nodes/dns/query.py",
        "            at += int.from_bytes(data[at - 2 : at])\n",
        "",
    ),
    Mutant(
        "bytes behind a reply make it none",
        "nodes/dns/reply.py",
        "        self.counts = (answers, authorities, additionals)\n",
        "        if at != len(data):\n"
        "            raise Malformed\n"
        "        self.counts = (answers, authorities, additionals)\n",
    ),
    Mutant(
        "bytes behind a reply are passed on with it",
        "nodes/dns/reply.py",
        "data[start : at if stop is None else stop]",
        "data[start:stop]",
    ),
    Mutant(
        "a datagram that was not read whole is malformed",
        "nodes/dns/reply.py",
        "return None if is_whole else",
        "return None if True else",
    ),
    Mutant(
        "what is cut over TCP is asked for again",
        "nodes/ls/resolvers/reply_matcher.py",
        "batch.socket.is_stream if reply.is_cut else",
        "False if reply.is_cut else",
    ),
    Mutant(
        "an error has to repeat its question",
        "nodes/ls/resolvers/reply_matcher.py",
        "                if reply.section != repeated and reply.section:",
        "                if reply.section != repeated:",
    ),
    Mutant(
        "a copy of an error without a question is a guess",
        "nodes/ls/resolvers/recent_queries.py",
        "                self._pairs[number] = None\n",
        "",
    ),
    Mutant(
        "who does not know EDNS has failed",
        "nodes/ls/resolvers/reply_matcher.py",
        "if reply.is_cut else question in batch.plain",
        "if reply.is_cut else True",
    ),
    Mutant(
        "that a resolver does not know EDNS is never remembered",
        "nodes/ls/resolvers/edns_fallback.py",
        "        self._plain_until = now + self._plain_s",
        "        pass",
    ),
    Mutant(
        "one odd question turns EDNS off",
        "nodes/ls/resolvers/edns_fallback.py",
        "            plain = frozenset(filter(self._odd.__contains__, questions))",
        "            plain = frozenset(questions)",
    ),
    Mutant(
        "EDNS is never tried again",
        "nodes/ls/resolvers/edns_fallback.py",
        "        if now < self._plain_until:\n            plain",
        "        if self._plain_until >= 0:\n            plain",
    ),
    Mutant(
        "who asks for signatures joins who does not",
        "nodes/dns/question.py",
        '_MARKS = ((Flag.AD, b"ad"), (Flag.CD, b"cd"), (EDNS_DO, b"do"))',
        '_MARKS = ((Flag.AD, b"ad"), (Flag.CD, b"cd"))',
    ),
    Mutant(
        "a table has no word for who says more than a line",
        "nodes/ls/resolvers/line_equivalents.py",
        "self._queries.setdefault(line, {})[question] = None",
        "pass",
    ),
    Mutant(
        "what no table server can be asked waits for them",
        "nodes/ls/resolvers/line_equivalents.py",
        "return line_of(question) is not None",
        "return True",
    ),
    Mutant(
        "replies leave from whichever address the routes prefer",
        "core/io/system.py",
        "if is_wildcard(address[1][0]):",
        "if False:",
    ),
    Mutant(
        "the broadcast address is the source of a reply",
        "core/io/wildcard.py",
        "_, ours, _ = _PKTINFO.unpack(about)",
        "_, _, ours = _PKTINFO.unpack(about)",
    ),
    Mutant(
        "a socket of datagrams that the network refuses is kept",
        "core/io/datagrams.py",
        "if self.dialled and error.errno not in _OF_ONE:",
        "if False:",
    ),
    Mutant(
        "what comes after word of a closed port is not read",
        "core/io/datagrams.py",
        "came += self.receive(count_max - len(came))",
        "pass",
    ),
    Mutant(
        "word of a closed port that comes with many at once is not heard",
        "core/io/datagrams.py",
        "                    if error.errno not in _NOT_ALIKE:",
        "                    if False:",
    ),
    Mutant(
        "one error is the end of a resolver",
        "nodes/ls/resolvers/reachability.py",
        "was_in_doubt, self.in_doubt = self.in_doubt, True",
        "was_in_doubt, self.in_doubt = True, True",
    ),
    Mutant(
        "a reply between two errors changes nothing",
        "nodes/ls/resolvers/resolver.py",
        "            if self.reachability.in_doubt and not socket.is_stream:",
        "            if self.reachability.is_refused and not socket.is_stream:",
    ),
    Mutant(
        "only the socket that broke is replaced",
        "nodes/ls/resolvers/resolver.py",
        "        replies.effects, others = self._replacement.replace()\n",
        "        replies.effects, others = [self.sockets.dial_udp()], []\n",
    ),
    Mutant(
        "what is refused is asked again without end",
        "nodes/ls/resolvers/socket_replacement.py",
        "            if times <= self._resends_max:",
        "            if True:",
    ),
    Mutant(
        "what was asked by a socket that broke is not asked again",
        "nodes/ls/resolvers/socket_replacement.py",
        "                moved.setdefault(times, []).append(question)",
        "                pass",
    ),
    Mutant(
        "a resolver that was refused is up when there is a socket",
        "nodes/ls/resolvers/resolver_link.py",
        "if not self.resolver.reachability.is_refused:",
        "if True:",
    ),
    Mutant(
        "one that is down is not asked whether it is back",
        "nodes/ls/resolvers/reachability.py",
        "return self._probed_at + self._probe_s if self.is_refused else math.inf",
        "return math.inf",
    ),
    Mutant(
        "new questions wait for resolvers that are down",
        "nodes/ls/exchange.py",
        "effects += self._negatives.fail(questions, now)",
        "pass",
    ),
    Mutant(
        "what is open waits for a silent resolver that is refused",
        "nodes/ls/upstreams.py",
        "unawaited = without(self.awaited, awaited) | without(self._live, live)",
        "unawaited = without(self.awaited, awaited)",
    ),
    Mutant(
        "a resolver that is back has failed what is open",
        "nodes/ls/upstreams.py",
        "reconnected = self.present ^ present",
        "reconnected = without(self.present, present)",
    ),
    Mutant(
        "a denial of an earlier asking counts for the next",
        "nodes/ls/questions.py",
        "observer.asked_again(again)",
        "pass",
    ),
    Mutant(
        "what is open waits for resolvers that are down",
        "nodes/ls/negatives.py",
        "effects += self.fail(self._questions.all_open(), now)",
        "pass",
    ),
    Mutant(
        "a failure that is there at once waits for a TS as one that took time",
        "nodes/ls/upstreams.py",
        "is_early = self.failing > 0",
        "is_early = False",
    ),
    Mutant(
        "many datagrams are sent as one on any kernel",
        "core/io/datagram_sockets.py",
        "system.send_alike if system.can_send_alike(stream) else None",
        "system.send_alike",
    ),
    Mutant(
        "a reserved port is used",
        "core/io/ports.py",
        "    for refused in (_FILTERED | reserved, _FILTERED):",
        "    for refused in (_FILTERED, _FILTERED):",
    ),
    Mutant(
        "a DNS reply is answered",
        "nodes/dns/query.py",
        "    if sent_flags & Flag.QR:\n        return None\n",
        "",
    ),
    Mutant(
        "a datagram as long as it likes",
        "nodes/dns/query.py",
        "if is_datagram and size > self._size_max:\n            return self._reply(Flag.TC)",
        "if False:\n            return self._reply(Flag.TC)",
    ),
    Mutant(
        "nobody asks too much",
        "nodes/ls/dns_shared.py",
        "if count <= per_second or",
        "if True or",
    ),
    Mutant(
        "the question comes back in another spelling",
        "nodes/dns/query.py",
        "section = data[HEADER.size : end]",
        "section = data[HEADER.size : end].lower()",
    ),
    Mutant(
        "what is remembered of queries grows for ever",
        "nodes/ls/dns_shared.py",
        "if self._bytes > _CACHE_BYTES_MAX:",
        "if False:",
    ),
    Mutant(
        "long queries are remembered",
        "nodes/ls/dns_shared.py",
        "if len(text) > _TEXT_BYTES_MAX:",
        "if False:",
    ),
    Mutant(
        "DNS waits for resolvers as long as for tables",
        "nodes/cli/ls_arguments.py",
        "    if not arguments.upstreams or ",
        "    if True or ",
    ),
    Mutant(
        "what is said of the time of DNS is forgotten before resolvers",
        "nodes/cli/ls_arguments.py",
        ' or "dns_timeout_s" in dict(arguments.bounds)',
        "",
    ),
    Mutant(
        "what a resolver says after the time of lines is a guess",
        "core/bounds.py",
        "        return max(self.timeout_s, self.dns_timeout_s)",
        "        return self.timeout_s",
    ),
    Mutant(
        "what comes for those who joined is late",
        "nodes/ls/resolvers/ageing.py",
        "bounds.join_s + bounds.longest_s)",
        "bounds.longest_s)",
    ),
    Mutant(
        "DNS waits as long as lines do",
        "nodes/ls/dns_clients.py",
        "self.timeout_s = env.bounds.dns_timeout_s",
        "self.timeout_s = env.bounds.timeout_s",
    ),
    Mutant(
        "bytes behind a query are passed over",
        "nodes/dns/query.py",
        "return found, at == len(data)",
        "return found, at <= len(data)",
    ),
    Mutant(
        "a format error has no OPT record",
        "nodes/dns/query.py",
        "return _refused(flags, refusal, section, opt)",
        "return _refused(flags, refusal, section, None)",
    ),
    Mutant(
        "a pointer may point forward",
        "nodes/dns/wire_names.py",
        "if HEADER.size <= target < start:",
        "if HEADER.size <= target < start + 2:",
    ),
    Mutant(
        "a format error says that EDNS is of a bad version, too",
        "nodes/dns/query.py",
        "ttl = rcode >> 4 << 24 |",
        "ttl = (opt[1] >> 16 & 0xFF > 0) << 24 |",
    ),
    Mutant(
        "addresses are always in the same order",
        "nodes/dns/record_set.py",
        "self._at = after if after < size else 0",
        "self._at = 0",
    ),
    Mutant(
        "an address that is written in two ways is two",
        "nodes/dns/record_set.py",
        "packed = list(dict.fromkeys([make(text).packed for text in texts]))",
        "packed = [make(text).packed for text in texts]",
    ),
    Mutant(
        "a message whose length was cut in two is lost",
        "core/io/frame_buffer.py",
        "            return _LENGTH_BYTES - len(held)\n",
        "            return _LENGTH_BYTES\n",
    ),
    Mutant(
        "datagrams that there is no room for are taken",
        "nodes/ls/dns_clients.py",
        "        self._owed_max = self.pending_max\n",
        "",
    ),
    Mutant(
        "what DNS asked in time is thought to be lines'",
        "nodes/ls/waiting.py",
        "self._by_timeout.setdefault(timeout_s, deque())",
        "self._by_timeout.setdefault(0.0, deque())",
    ),
)


def plant(mutant: Mutant, tree: Path) -> None:
    """Change the copy. Raises ValueError when the text is not there exactly once."""
    path = tree / mutant.file
    source = path.read_text()
    if source.count(mutant.old) != 1:
        times = source.count(mutant.old)
        raise ValueError(f"{mutant.name}: the text occurs {times} times in {mutant.file}")
    path.write_text(source.replace(mutant.old, mutant.new))


def killer(mutant: Mutant | None) -> str:
    """Return the first test that fails on a tree with this mutant (None: with none); "" when it
    lives."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        tree = Path(directory)
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tree / name)
        if mutant is not None:
            plant(mutant, tree)
        words = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not process"]
        # A test that reads the sources as text is no judge of what they do.
        words += ["-p", "no:cacheprovider", "--deselect", "tests/test_tidy.py", "--tb=no"]
        words += ["--ignore", "tests/test_mutants.py"]
        try:
            run = subprocess.run(
                words,
                cwd=tree,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                timeout=_TEST_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"the clock: not done after {_TEST_S} s"
    if run.returncode == 0:
        return ""
    found = _FAILED.search(run.stdout)
    return found[1] if found else run.stdout[-300:] + run.stderr[-300:]


def main() -> int:
    """Plant them all, or those named; print who killed which."""
    parser = argparse.ArgumentParser(description="Plants bugs and sees which tests find them.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="only mutants whose names hold this"
    )
    arguments = parser.parse_args()
    chosen = [
        m for m in MUTANTS if not arguments.names or any(n in m.name for n in arguments.names)
    ]
    before = killer(None)
    if before:
        print(f"without any mutant a test fails already: {before}")
        return 1
    living = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for mutant, by in zip(chosen, pool.map(killer, chosen), strict=True):
            living += not by
            print(f"{'killed' if by else 'LIVES ':6}  {mutant.name:55}  {by}", flush=True)
    print(f"{len(chosen) - living} of {len(chosen)} mutants killed")
    return 1 if living else 0


if __name__ == "__main__":
    sys.exit(main())
