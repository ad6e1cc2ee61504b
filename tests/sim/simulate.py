"""Volume: many stories of the simulator, of all faces in turn, on all cores; `make sim SEEDS=n`.

It goes on from the last seed, so that runs add up: the state file keeps what was done with the
sources as they are now, and a change of them starts over. A violation prints the seed, the plan
and the command that plays it again, and ends the run with exit code 1. At the end stands the
table of probes, the things that are to happen sometimes: after a long run each must have been
seen, or the run tests less than it says.
"""

import argparse
import hashlib
import json
import os
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tests.sim.cache_story import CacheStory
from tests.sim.dns_story import TableStory
from tests.sim.resolver_story import ResolverStory
from tests.sim.stories import Cluster, draw_plan
from tests.sim.story import Story
from tests.sim.tier_story import TierStory
from tests.sim.tls_story import TlsStory
from tests.sim.world import World

ROOT = Path(__file__).parents[2]
STATE = ROOT / ".sim-state.json"
FACES: tuple[type[Story], ...] = (
    Cluster,
    TableStory,
    ResolverStory,
    CacheStory,
    TierStory,
    TlsStory,
)
LONG = 6_000  # seeds from which on every probe must have been seen
_CHUNK = 25  # seeds per task
_DAY_S = 86_400

PROBES = (
    # the network
    "a reset", "a close with unread input", "bytes for one who is gone", "send takes a part",
    "send would block", "recv would block", "readiness is a lie", "gone before accept",
    "accept runs out of descriptors", "a dial runs out of descriptors", "a dial is refused",
    "a dial hangs", "a dial meets itself", "the backlog is full", "reset before it was tuned",
    "bytes wait for the network to heal", "a TS that accepts and closes",
    "a client of a storm is told BUSY", "a lookup fails",
    # connections
    "StreamState HALF_CLOSED", "StreamState DEAF", "StreamState FLUSHING",
    "StreamState PARTING", "StreamState LINGERING",
    "BacklogState HEAVY", "BacklogState LIGHT", "a limit ends a connection", "too many clients",
    # sessions and servers
    "SessionState LEAVING", "SessionState ENDING", "errors end a session", "unfinished line",
    "a client leaves with questions open", "ServerState DRAINING", "LS drained in mid-story",
    "a second signal",
    # the race and its links
    "a question joins", "a name is asked anew", "an answer is late", "an answer just in time",
    "a question times out", "LinkState CATCHING_UP", "LinkState HOLDING", "LinkState STALLED",
    "LinkState CLOSING",
    "catching up takes slices", "a client is paused", "a due timeout waits",
    "a TS answers what nobody asked", "a TS does not speak the protocol",
    "a TS sends a line that is too long", "a TS says what is no answer",
    # negatives
    "NOT FOUND is relayed", "NO DATA is held and an answer beats it",
    "NO DATA is relayed when all have spoken", "NO DATA is released by the hold",
    "NO DATA is released by a timeout", "what a TS has said goes with its connection",
    "an answer of IPv6",
    # reloads of TSs' tables
    "ReloadState READING", "ReloadState OUTDATED", "ReloadState RETIRING", "ReloadState RESTARTING",
    "a reload is taken", "a reload is refused", "a reload is asked for again while it reads",
    "an answer is late after a reload",
    # hedging
    "AskingState NOWHERE", "AskingState ASKED", "AskingState LATE",
    "AskingState EVERYWHERE", "a question is hedged",
    "a question waits for the budget", "a question explores another TS",
    "a denied question moves on", "a deserted question moves on",
    "an old asking goes to everyone", "a link falls behind", "LS says that hedging does not fit",
    # clients
    "ClientState DONE", "ClientState FAILED", "a client loses names",
    # datagrams and DNS
    "a datagram is lost", "a datagram arrives twice", "a datagram cannot be sent",
    "a way is too narrow", "a host says it twice", "a host freezes",
    "a host gets another address", "a dial finds no way", "an ICMP error comes",
    "DNS hears NOERROR and data", "DNS hears NOERROR", "DNS hears NXDOMAIN", "DNS hears REFUSED",
    "DNS hears SERVFAIL",
    # resolvers
    "SocketState RETIRED", "a forger guesses", "a header only", "a query with EDNS in vain",
    "a stream without EDNS", "a stream that is cut", "a datagram that is too long",
    "a table has shown that a name exists", "a referral is told as a failure",
    "a socket is given up with a reply in it", "a validator is believed",
    "a validator is not believed",
    # the cache, and names that must not leave
    "a special name is asked for", "a kept reply is told", "a kept reply is told beside tables",
    "a reply is told from the cache", "a failure is told from the cache", "stale data is told",
    "stale data is told again", "a late reply has taken the place of a worse one",
    "the cache counts stale", "the cache counts repaired", "the cache counts evicted",
    # routes and tiers
    "a name of a route is asked for", "a name belongs to nobody", "a route fails",
    "the time of a tier is over", "a tier has nothing to say",
    "what a later tier has said is told", "an earlier tier says something late",
    "a negative is held when the time of its tier is over",
    "a question is asked again in a later tier",
    "a table answers when a later tier is asked, too", "a reply comes before its turn",
    "a link comes up whose turn it is not", "no table has a name",
    "LS drains while questions are open",
    # TLS
    "a story of the real layer", "a TLS stream is secured", "StreamState SECURING",
    "a TLS server is troubled: wrong name", "a TLS server is troubled: expired",
    "a TLS server is troubled: untrusted", "a TLS server is troubled: early",
    "a TLS server is troubled: another authority", "authorities are read anew",
    "a TLS server is troubled: hangs", "a TLS server is troubled: half",
    "a TLS server is troubled: garbage", "a TLS server is troubled: refuses",
    "a TLS server is troubled: hangs up", "a TLS server is troubled: closed",
    "a TLS server is troubled: ends", "a TLS server is troubled: silent",
    "a TLS server is troubled: breaks", "a TLS server is killed",
    "a TLS server forgets its streams", "a TLS server idles out",
    "a TLS server closes after its replies", "a TLS server is asked where it hears nothing",
    "a TLS server ends: both", "a TLS server ends: end", "a TLS server ends: notify",
    "a TLS server ends: reset", "a record is broken", "a stream ends within a record",
    "questions outlive their stream", "LS says why it does not trust a server",
    "a TLS client", "a TLS client that says nothing", "a TLS client that speaks in the clear",
    "a TLS client that sends garbage", "a TLS client that hangs", "a TLS client that vanishes",
    "a TLS client that breaks a record", "a TLS client leaves: both", "a TLS client leaves: end",
    "a TLS client leaves: notify", "a TLS client leaves: reset", "a bad handshake is ended",
    "a padded reply", "a certificate is renewed", "keys cannot be read",
)  # fmt: skip


def digest() -> str:
    """Digest the sources that the counts belong to: those of the system and of the simulator."""
    sources = [*(ROOT / "core").rglob("*.py"), *(ROOT / "nodes").rglob("*.py")]
    sources += (ROOT / "tests" / "sim").glob("*.py")
    whole = hashlib.sha256()
    for path in sorted(sources):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def read_state() -> dict[str, Any]:
    """Read what was done before with these sources; nothing, when they have changed."""
    try:
        state: dict[str, Any] = json.loads(STATE.read_text())
    except (OSError, ValueError):
        state = {}
    nothing = {"digest": digest(), "next": 0, "runs": 0, "simulated_s": 0.0, "probes": {}}
    return state if state.get("digest") == digest() else nothing


def story_of(seed: int) -> Story:
    """Draw the story of a seed: one of each face in turn."""
    return FACES[seed % len(FACES)](seed // len(FACES))


def run_chunk(first: int, last: int) -> tuple[int, float, Counter[str], str]:
    """Run the seeds from `first` up to `last`; return how many, their time, their probes, and what
    went wrong."""
    probes: Counter[str] = Counter()
    simulated_s = 0.0
    for seed in range(first, last):
        try:
            world = story_of(seed).tell()
        except Exception:
            return seed - first, simulated_s, probes, failure(seed)
        simulated_s += world.t
        probes.update(world.probes.keys())
    return last - first, simulated_s, probes, ""


def named(seed: int) -> str:
    """Name the story of a seed, with the plan of a cluster; all else is drawn in the story."""
    face, number = FACES[seed % len(FACES)], seed // len(FACES)
    plan = draw_plan(number) if face is Cluster else []
    return "\n    ".join([f"seed {seed}, which is {face.__name__}({number}):", *map(str, plan)])


def failure(seed: int) -> str:
    """Format all that is needed to see it again."""
    return (
        f"{traceback.format_exc()}\n{named(seed)}\nsources {digest()}\n"
        f"again: python3 -m tests.sim.simulate --replay {seed}"
    )


def replay(seed: int) -> int:
    """Replay a seed, with all that happens."""

    def note(world: World, text: str) -> None:
        if " " in text:
            print(f"{world.t:10.6f} {text}")

    World.note = note  # type: ignore[method-assign]  # printing, in place of the checksum
    print(named(seed))
    try:
        world = story_of(seed).tell()
    except Exception:
        traceback.print_exc()
        return 1
    print(f"nothing wrong in {world.t:.1f} simulated seconds")
    return 0


def main() -> int:
    """Run seeds, or one; return 0 when nothing was violated and every probe was seen."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.sim.simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, metavar="N", help="how many to run")
    parser.add_argument("--from", dest="first", type=int, metavar="SEED", help="where to begin")
    parser.add_argument("--replay", type=int, metavar="SEED", help="play one, and show all of it")
    arguments = parser.parse_args()
    if arguments.replay is not None:
        return replay(arguments.replay)
    state = read_state()
    first = state["next"] if arguments.first is None else arguments.first
    last = first + arguments.seeds
    began = time.monotonic()
    done, simulated_s = 0, 0.0
    probes: Counter[str] = Counter()
    on_terminal = sys.stderr.isatty()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        chunks = range(first, last, _CHUNK)
        results = pool.map(run_chunk, chunks, [min(last, at + _CHUNK) for at in chunks])
        for count, seconds, seen, wrong in results:
            done, simulated_s = done + count, simulated_s + seconds
            probes.update(seen)
            if wrong:
                print(f"\n{wrong}\nafter {done} runs without a violation", flush=True)
                pool.shutdown(cancel_futures=True)
                return 1
            if on_terminal:
                rate = done / (time.monotonic() - began)
                text = f"\r{done:,} of {arguments.seeds:,}, {rate:.0f} runs/s"
                print(text, end="", file=sys.stderr)
    if on_terminal:
        print(file=sys.stderr)
    if first == state["next"]:
        probes.update(state["probes"])
        state["next"] = last
        state["runs"] += done
        state["simulated_s"] += simulated_s
        state["probes"] = dict(probes)
        STATE.write_text(json.dumps(state))
    took_s = time.monotonic() - began
    return sum_up(state, probes, done, simulated_s, took_s)


def sum_up(
    state: dict[str, Any], probes: Counter[str], done: int, simulated_s: float, took_s: float
) -> int:
    """Print what was seen; return 1 when a long run has not seen everything."""
    print(f"{'runs that saw it':>16}  probe")
    for probe in PROBES:
        print(f"{probes[probe]:16,}  {probe}")
    print(
        f"{done:,} runs, 0 violations, {done / took_s:.0f} runs/s, "
        f"{simulated_s / _DAY_S:.2f} simulated days"
    )
    total_days = state["simulated_s"] / _DAY_S
    print(f"with these sources: {state['runs']:,} runs, {total_days:.2f} simulated days")
    unseen = [probe for probe in PROBES if not probes[probe]]
    if unseen:
        print(f"never seen: {', '.join(unseen)}")
    return 1 if unseen and done >= LONG else 0


if __name__ == "__main__":
    sys.exit(main())
