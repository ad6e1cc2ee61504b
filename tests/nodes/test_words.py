"""Words as new users type them: which line they get, and what means the same as what.

Each is one that somebody has met. A line stands here whole, so that whoever changes one reads it as
a user will.

Not here: other mistakes (`tests/nodes/test_programs.py`), and types of values by themselves
(`tests/nodes/test_arguments.py`).
"""

import re

import pytest

from nodes.cli.ls_arguments import read_ls_options
from tests.conftest import Command

# Below each command is its line, in as many lines as are needed here.
SAID = """
Words that are missing: only what is required is asked for.

$
say which program to run: ts, ls, client, replay, top or demo (see python3 -m nodes --help)
$ client
the following arguments are required: LS_HOST, LS_PORT (see python3 -m nodes client --help)
$ client localhost
the following arguments are required: LS_PORT (see python3 -m nodes client --help)

Words that there are not. An option is spelled out.

$ tss
there is no program 'tss'; did you mean ts? (see python3 -m nodes --help)
$ serve
there is no program 'serve'; did you mean ls? (see python3 -m nodes --help)
$ ls 5100 localhost 5301 --tiemout 5
there is no option '--tiemout'; did you mean --timeout? (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --time 5
there is no option '--time'; did you mean --timeout? (see python3 -m nodes ls --help)
$ ls --hots ::1 5100 localhost 5301
there is no option '--hots'; did you mean --host? (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --http 5
there is no option '--http'; did you mean --metrics? (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --idle-timeout 9
there is no option '--idle-timeout'; did you mean --idle? (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --banana
there is no option '--banana' (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --policy rcae
argument --policy: 'rcae' is not race or hedge; did you mean race?
(see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --log-level warn
argument --log-level: 'warn' is not debug, info, warning or error; did you mean warning?
(see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --bound timeout=5
argument --bound: there is no bound 'timeout'; did you mean timeout_s? --list-bounds shows all
(see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --bound banana=5
argument --bound: there is no bound 'banana'; --list-bounds shows all
(see python3 -m nodes ls --help)

Times and shares.

$ ls 5100 localhost 5301 --timeout 500msec
argument --timeout: '500msec' is not a time above 0, up to 277 h, like 0.5 (in seconds), 500ms, 5s,
1m or 1h (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --timeout inf
argument --timeout: 'inf' is not a time above 0, up to 277 h, like 0.5 (in seconds), 500ms, 5s, 1m
or 1h (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --policy hedge --max-extra-load 5
argument --max-extra-load: '5' is not a share from 0 to 1, like 0.05 or 5%
(see python3 -m nodes ls --help)

Options that do nothing without another.

$ ls 5100 localhost 5301 --metrics-host 0.0.0.0
--metrics-host is for the status page; there is no --metrics PORT (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --metrics-host=
--metrics-host is for the status page; there is no --metrics PORT (see python3 -m nodes ls --help)
$ ts 5301 --table x --metrics-name a
--metrics-name is for the status page; there is no --metrics PORT (see python3 -m nodes ts --help)
$ ls 5100 127.0.0.1 1 --dns-timeout 9
--dns-timeout is for DNS clients; there is no --dns PORT
$ ls 5100 --dns-upstream 192.0.2.1 --dns-timeout 9
--dns-timeout is for DNS clients; there is no --dns PORT
$ ls 5100 127.0.0.1 1 --dns-ttl 5
--dns-ttl is for DNS clients; there is no --dns PORT
$ ls 5100 127.0.0.1 1 --dns-ttl 0
--dns-ttl is for DNS clients; there is no --dns PORT
$ ls 5100 localhost 5301 --dns-tls 853
--dns-tls needs --tls-cert FILE, too (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --dns-tls 853 --tls-cert x
--dns-tls needs --tls-key FILE, too (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --tls-cert x
--tls-cert needs --tls-key FILE, too (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --tls-key x
--tls-key needs --tls-cert FILE, too (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --tls-cert x --tls-key x
--tls-cert is for DNS over TLS; there is no --dns-tls PORT
$ ls 5100 localhost 5301 --tls-cert= --tls-key x
argument --tls-cert: '' is no file (see python3 -m nodes ls --help)
$ ls 5100 --dns-upstream 9.9.9.9:853 --tls-ca x
--tls-ca is for resolvers by TLS; no --dns-upstream begins with tls://
(see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --dns-tls 0 --tls-cert x --tls-key x --once
--once serves one session of lines; leave out --dns-tls (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --tls 853
there is no option '--tls'; did you mean --tls-ca, --tls-cert or --tls-key?
(see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --max-extra-load 1%
--max-extra-load is for --policy hedge; race asks every server in any case
(see python3 -m nodes ls --help)
$ ls --dns-upstream 192.0.2.1 --host 192.0.2.2
--host 192.0.2.2 does nothing without PORT, --dns PORT or --dns-tls PORT; sockets that are handed
over have their own addresses (see python3 -m nodes ls --help)
$ ls --dns-upstream 192.0.2.1 --host ::1 --host 127.0.0.1:5100 --dns 127.0.0.1:5354
--host ::1 does nothing without PORT, --dns PORT or --dns-tls PORT; sockets that are handed over
have their own addresses (see python3 -m nodes ls --help)
$ ts 5301 --table x --format hosts
argument --format: 'hosts' is not rows or names; did you mean rows? (see python3 -m nodes ts --help)
$ ts 5301 --table x --block-with nowhere
argument --block-with: 'nowhere' is no address; write it like 0.0.0.0,::, or NXDOMAIN
(see python3 -m nodes ts --help)
$ ts 5301 --table x --block-with 0.0.0.0,
argument --block-with: '' is no address; write it like 0.0.0.0,::, or NXDOMAIN
(see python3 -m nodes ts --help)
$ ts 5301 --table x --format rows --block-with NXDOMAIN
--block-with is for a list of names; rows say themselves what they mean
(see python3 -m nodes ts --help)
$ ts --table x --host 127.0.0.1
--host 127.0.0.1 does nothing without PORT; sockets that are handed over have their own addresses
(see python3 -m nodes ts --help)
$ replay x --policy race --max-extra-load 1%
--max-extra-load is for hedge, which is none of the policies to replay
(see python3 -m nodes replay --help)
$ replay x --tier 1=TS1
argument --tier: servers that are in no other tier are in tier 1; leave it out, or write it like
2=DNS1,DNS2 (see python3 -m nodes replay --help)
$ replay x --tier 3=TS1
--tier: there is a tier 3 and no tier 2 (see python3 -m nodes replay --help)
$ replay x --tier 2=TS1 --tier 3=TS1
--tier: TS1 is there twice; once is enough (see python3 -m nodes replay --help)
$ ls 5100 --dns-upstream 192.0.2.1 --policy hedge
--policy hedge is for table servers; every --dns-upstream is always asked
(see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --race-log x
--race-log has nothing to write without --race-sample, for example 0.01
(see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --grace 1
--grace is for the answers of resolvers; there is no --dns-upstream
(see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --trust-data
--trust-data is for the words of resolvers; there is no --dns-upstream
(see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --private-from DNS1
--private-from is for resolvers; there is no --dns-upstream (see python3 -m nodes ls --help)
$ ls 5100 --upstream 192.0.2.1 --upstream quad9=9.9.9.9 --private-from quad9,DNS2
--private-from: no resolver is called 'DNS2'; there are DNS1, quad9
$ ls 5100 --upstream 192.0.2.1 --private-from=
--private-from: no resolver is called ''; there are DNS1

Servers, addresses and networks.

$ ls
no server to ask: name a table server (TS_HOST TS_PORT) or a --dns-upstream
(see python3 -m nodes ls --help)
$ ls localhost:5301
no PORT: say where to listen (see --help)
$ ls 5100 localhost
'localhost' has no port; write it like localhost:5301 (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --metrics 5100
PORT and --metrics are both 5100; try --metrics 5101 (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --dns 5100
PORT and --dns are both 5100; try --dns 5101 (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --dns-upstream 9.9.9.9#53
argument --dns-upstream/--upstream: '9.9.9.9#53' is neither an address nor a host name; write it
like 127.0.0.1:5354, [::1]:5354 or dns.example:53 (see python3 -m nodes ls --help)
$ ls 5100 --upstream tls://dns.quad9.net
argument --dns-upstream/--upstream: 'tls://dns.quad9.net' has no address, and to look one up would
trust whoever says it; write the address of dns.quad9.net in its place and #dns.quad9.net behind it,
like tls://9.9.9.9#dns.quad9.net (see python3 -m nodes ls --help)
$ ls 5100 --upstream https://dns.quad9.net/dns-query
argument --dns-upstream/--upstream: 'https://dns.quad9.net/dns-query' is DNS over HTTPS, which LS
does not speak; write tls://9.9.9.9#dns.quad9.net for DNS over TLS, or 9.9.9.9 for plain DNS
(see python3 -m nodes ls --help)
$ ls 5100 --upstream tls://9.9.9.9#
argument --dns-upstream/--upstream: 'tls://9.9.9.9#' has no host name behind its #; write the one
that the certificate is for, like tls://9.9.9.9#dns.quad9.net, or leave out the # where it is for
the address (see python3 -m nodes ls --help)
$ ls 5100 --upstream tls://9.9.9.9 --upstream quad9=TLS://9.9.9.9:853
the same --dns-upstream is given twice; one is enough
$ ls 5100 --upstream tls://9.9.9.9 --upstream 9.9.9.9:853
tls://9.9.9.9:853 and 9.9.9.9:853 are one resolver, and say differently how it is asked; write both
alike
$ ls 5100 --upstream TS1=9.9.9.9
argument --dns-upstream/--upstream: 'TS1' is a name that something else may have in logs and
metrics; take another (see python3 -m nodes ls --help)
$ ls 5100 --upstream /none
argument --dns-upstream/--upstream: cannot read '/none': no such file or directory
(see python3 -m nodes ls --help)
$ ls 5100 --upstream 9.9.9.9 --upstream quad9=9.9.9.9:53
the same --dns-upstream is given twice; one is enough
$ ls 5100 localhost 5301 localhost 5301
the table server localhost:5301 is given twice; once is enough (see python3 -m nodes ls --help)
$ ls 5100 localhost:5301 LOCALHOST 5301
the table server LOCALHOST:5301 is given twice; once is enough (see python3 -m nodes ls --help)
$ ls 5100 localhost 5301 --host 0.0.0.0 --allow 10.0.0.0
argument --allow: 10.0.0.0 is one address; did you mean 10.0.0.0/8? If not, write 10.0.0.0/32
(see python3 -m nodes ls --help)
$ ls 5100 127.0.0.1 1 --allow 10.0.0.0/8
nobody can connect: 127.0.0.1:5100 is for this machine only, and --allow admits only others; say
with --host where to listen
"""
CASES = re.findall(r"(?m)^\$ ?(.*)\n((?:[^$\n].*\n)+)", SAID)


@pytest.mark.parametrize(("words", "said"), CASES, ids=[words for words, _ in CASES])
def test_a_mistake_gets_the_line_that_helps(command: Command, words: str, said: str) -> None:
    line = " ".join(said.split("\n")).strip()
    assert command(*words.split()) == (2, "", f"photofinish: {line}\n")


def test_a_line_stays_one_whatever_the_words_hold(command: Command) -> None:
    code, _, log = command("ls", "5100", "localhost", "5301", "--timeout", "5\n\x1b[2Jx\udcff")
    assert code == 2
    assert log.startswith("photofinish: argument --timeout: '5\\n\\x1b[2Jx\\udcff' is not a time")
    assert log.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "alike"),
    [
        ("ts2:5301 [::1]:5302", "ts2 5301 ::1 5302"),
        ("--host [::1]", "--host ::1"),
        ("--timeout 500ms", "--timeout 0.5"),
        ("--idle 1h", "--idle 3600"),
        ("--race-sample 1%", "--race-sample 0.01"),
        ("--policy hedge --max-extra-load 5%", "--policy hedge --max-extra-load 0.05"),
        ("--dns 53 --dns-ttl 1m --dns-timeout 1500ms", "--dns 53 --dns-ttl 60 --dns-timeout 1.5"),
        ("--dns-upstream 192.0.2.1 --grace 200ms", "--dns-upstream 192.0.2.1 --grace 0.2"),
        ("--bound away_s=1m", "--bound away_s=60"),
    ],
)
def test_words_that_mean_the_same_are_read_alike(words: str, alike: str) -> None:
    before = ["5100", "localhost", "5301"]
    assert read_ls_options([*before, *words.split()]) == read_ls_options([*before, *alike.split()])
