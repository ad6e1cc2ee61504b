"""Command lines: what is read as a number, and what becomes of words that contradict each other.

Not here: the same with real processes (`tests/processes/test_system.py`).
"""

import argparse
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.operator import Level
from nodes.cli.arguments import USAGE, Failure, number, port_number, seconds, share, whole
from nodes.cli.client import read_client_options
from nodes.cli.ls_arguments import read_ls_options
from nodes.cli.replay import read_replay_options
from nodes.cli.top import read_top_options
from nodes.cli.ts import read_ts_options

TS = ["localhost", "5301"]
RESOLVER = ["--dns-upstream", "192.0.2.1"]


@given(st.integers(-5, 20), st.integers(-5, 20), st.integers(-5, 20))
def test_a_whole_number_is_read_where_it_is_in_range(least: int, most: int, value: int) -> None:
    read = number(whole, least, most, "right")
    if value >= 0 and least <= value <= most:
        assert read(str(value)) == value
    else:
        with pytest.raises(argparse.ArgumentTypeError, match=f"^'{value}' is not right$"):
            read(str(value))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["5300", "--dns", "5300"], "PORT and --dns are both 5300; try --dns 5301 "),
        (["65535", "--dns", "65535"], "PORT and --dns are both 65535; try --dns 65534 "),
        (["5300", "--metrics", "5300"], "PORT and --metrics are both 5300; try --metrics 5301 "),
        (["5", "--dns", "7", "--metrics", "7"], "--dns and --metrics are both 7; "),
        (["5", "--host", "::2", "--host", "[::1]:6", "--dns", "[::1]:6"], "PORT and --dns are"),
        (["5", "--dns", "7", "--dns", "127.0.0.1:7"], "127.0.0.1:7 is given twice for --dns"),
    ],
)
def test_two_listeners_at_one_address_are_bad_usage(words: list[str], why: str) -> None:
    with pytest.raises(Failure, match=f"^{re.escape(why)}"):
        read_ls_options([words[0], *TS, *words[1:]])


@pytest.mark.parametrize(
    ("words", "lines", "dns"),
    [
        (["5"], [("127.0.0.1", 5)], []),
        (["0", "--dns", "0"], [("127.0.0.1", 0)], [("127.0.0.1", 0)]),
        (["--dns", "53"], [], [("127.0.0.1", 53)]),
        (["--dns", "[::1]:53", "--dns", "127.0.0.2:53"], [], [("::1", 53), ("127.0.0.2", 53)]),
        (
            ["5", "--host", "a", "--host", "::1", "--host", "[::2]:6", "--dns", "53"],
            [("a", 5), ("::1", 5), ("::2", 6)],
            [("a", 53), ("::1", 53), ("::2", 53)],
        ),
        (["--host", "a:6", "--dns", "c:53"], [("a", 6)], [("c", 53)]),
        (["5", "--dns", "53", "--metrics", "5"], None, None),
        (["5", "--dns", "53", "--metrics", "[::1]:5"], [("127.0.0.1", 5)], [("127.0.0.1", 53)]),
    ],
)
def test_lines_and_dns_are_where_the_words_say(
    words: list[str], lines: list[tuple[str, int]] | None, dns: list[tuple[str, int]] | None
) -> None:
    """A first word of digits is PORT; the others are servers."""
    words = [*words, "--dns-upstream", "192.0.2.1"]
    if lines is None or dns is None:
        with pytest.raises(Failure, match="PORT and --metrics are both 5"):
            read_ls_options(words)
        return
    listen = read_ls_options(words).server.listen
    assert (list(listen.lines), list(listen.dns)) == (lines, dns)


# Which options contradict each other: tests/nodes/test_programs.py.
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--workers", "2", "--once"], "leave out --workers"),
        (["--workers", "0"], "'0' is not a number from 1 to 128"),
        (["--workers", "two"], "'two' is not a number from 1 to 128"),
        (["--workers", "129"], "'129' is not a number from 1 to 128"),
        ([*RESOLVER, "--grace", "60.1"], "'60.1' is not a time up to 60 s, like 0.5"),
        ([*RESOLVER, "--grace", "2m"], "'2m' is not a time up to 60 s, like 0.5"),
        (["--dns-ttl", "2147483648"], "'2147483648' is not a time of whole seconds, like 60"),
        (["--dns-ttl", "1500ms"], "'1500ms' is not a time of whole seconds, like 60, 60s, 1m or 1"),
        (["--max-extra-load", "0.1"], "is for --policy hedge"),
        (["--max-extra-load", "-0.1"], "'-0.1' is not a share"),
        (["--race-sample", "1.1"], "'1.1' is not a share"),
        (["--race-sample", "101%"], "'101%' is not a share"),
    ],
)
def test_words_that_make_no_options_are_bad_usage(words: list[str], why: str) -> None:
    with pytest.raises(Failure, match=why) as raised:
        read_ls_options(["0", *TS, *words])
    assert raised.value.exit_code == USAGE


@pytest.mark.parametrize(
    "text", ["0", "65536", "1_0", "+1", " 1", "٣", "1e3", "9" * 5_000, "", "x"]
)
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r" is not a port"):
        port_number(text)


@pytest.mark.parametrize(
    "text",
    [
        *("0", "0ms", "-1", "-1s", "nan", "inf", "1e6", "300h", "", "s", "5x", "5 s", "1m30s"),
        *("5S", "5%", "1_0", "+1", " 1", "٣", ".", "1e", "e3", "9" * 5_000, "1e999"),
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    why = r" is not a time above 0, up to 277 h, like 0\.5 \(in seconds\), 500ms, 5s, 1m or 1h$"
    with pytest.raises(argparse.ArgumentTypeError, match=why):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("0.5", 0.5), (".5", 0.5), ("5.", 5), ("500ms", 0.5), ("0.5ms", 0.0005),
        ("5s", 5), ("1.5s", 1.5), ("1m", 60), ("1h", 3600), ("0.5h", 1800), ("277h", 997_200),
    ],
)  # fmt: skip
def test_a_time_has_a_unit_or_is_in_seconds(text: str, value: float) -> None:
    assert seconds(text) == value


@given(st.text("0123456789.e-msh% ", max_size=8))
def test_what_is_read_as_a_time_is_one(text: str) -> None:
    try:
        assert 0 < seconds(text) < 1e6
    except argparse.ArgumentTypeError as refusal:
        assert str(refusal).startswith(f"'{text}' is not a time")


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("1", 1), ("0.05", 0.05), ("5%", 0.05), ("0.1%", 0.001), ("100%", 1), ("0%", 0)],
)
def test_a_share_is_a_number_or_in_percent(text: str, value: float) -> None:
    assert share(text) == value


@pytest.mark.parametrize("text", ["-1", "1.1", "101%", "5s", "%", "5 %", "nan", "", "٣"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r" is not a share from 0 to 1, like 0.05"):
        share(text)


def test_times_of_all_programs_may_have_units() -> None:
    words = ["0", *TS, *RESOLVER, "--timeout", "800ms", "--grace", "200ms", "--idle", "1m"]
    options = read_ls_options([*words, "--dns", "0", "--dns-timeout", "900ms", "--dns-ttl", "1h"])
    bounds = options.server.bounds
    assert (bounds.timeout_s, bounds.idle_s, bounds.dns_timeout_s) == (0.8, 60.0, 0.9)
    assert (options.grace_s, options.dns_ttl_s) == (0.2, 3600)
    assert read_client_options(["h", "1", "--patience", "2m", "x"]).bounds.patience_s == 120.0
    replay = read_replay_options(["x", "--timeout", "2s", "--max-extra-load", "20%"])
    assert (replay.bounds.timeout_s, replay.extra_load) == (2.0, 0.2)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10.0.0.0", "10.0.0.0/8"), ("172.16.0.0", "172.16.0.0/16"),
        ("192.168.1.0", "192.168.1.0/24"), ("0.0.0.0", "0.0.0.0/0"), ("::", "::/0"),
        ("fd00::", "fd00::/16"), ("2001:db8::", "2001:db8::/32"), ("2001:db8:0:1::", None),
        ("10.0.0.0/32", ""), ("10.0.0.0/8", ""), ("10.0.0.1", ""), ("10.0.1.10", ""), ("::1", ""),
        ("2001:db8::1", ""), ("::/128", ""),
    ],
)  # fmt: skip
def test_an_address_like_a_network_is_asked_about(text: str, meant: str | None) -> None:
    words = ["0", *TS, "--allow", text]
    if meant == "":
        assert read_ls_options(words).server.allow
        return
    why = f"{text} is one address; did you mean {meant or f'{text}/64'}\\? If not, write {text}/"
    with pytest.raises(Failure, match=why):
        read_ls_options(words)


def test_brackets_around_an_address_are_read_everywhere() -> None:
    assert read_client_options(["[::1]", "5300", "x"]).host == "::1"
    assert read_top_options(["[fe80::1%eth0]", "5300"]).host == "fe80::1%eth0"
    words = ["0", *TS, "--metrics", "0", "--metrics-host", "[::1]", "--allow"]
    with_brackets = read_ls_options([*words, "[::1]", "--allow", "[fd00::]/16"]).server
    page = with_brackets.listen.status_page
    assert page is not None and page.host == "::1"
    assert list(map(str, with_brackets.allow)) == ["::1/128", "fd00::/16"]
    with pytest.raises(Failure, match=r"'\[::1\]:5' does not appear to be"):
        read_ls_options([*words, "[::1]:5"])


def test_options_at_the_ends_of_their_ranges_are_read() -> None:
    words = ["0", *TS, *RESOLVER, "--dns", "0", "--idle", "5.001", "--timeout", "5"]
    words += ["--workers", "128", "--grace", "60", "--dns-ttl", "2147483647"]
    words += ["--policy", "hedge", "--max-extra-load", "0", "--race-sample", "1"]
    options = read_ls_options([*words, "--bound", "drain_grace_s=0.001"])
    zero = (("127.0.0.1", 0),)
    listen = options.server.listen
    assert (listen.lines, listen.dns, options.workers) == (zero, zero, 128)
    assert (options.grace_s, options.dns_ttl_s) == (60.0, 2**31 - 1)
    assert (options.extra_load, options.sample) == (0.0, 1.0)
    assert (port_number("1"), port_number("65535")) == (1, 65535)
    assert (seconds("1e-9"), seconds("999999.9")) == (1e-9, 999999.9)
    bounds = options.server.bounds
    assert (bounds.idle_s, bounds.timeout_s, bounds.drain_grace_s) == (5.001, 5.0, 0.001)


def test_options_of_both_servers_are_read() -> None:
    words = ["5", "--host", "::", "--allow", "::/0", "--allow", "10.0.0.0/8", "--once"]
    words += ["--log-level", "error", "--log-format", "json", "--wire-log"]
    for server in (
        read_ls_options([*words, *TS]).server,
        read_ts_options([*words, "--table", "x"]).server,
    ):
        assert (server.listen.lines, server.log_level) == ((("::", 5),), Level.ERROR)
        assert list(map(str, server.allow)) == ["::/0", "10.0.0.0/8"]
        assert server.once and server.log_format == "json" and server.wire_log


@pytest.mark.parametrize(
    ("words", "sample"),
    [
        ([], 0.0),
        (["--metrics", "0"], 0.01),
        (["--metrics", "0", "--race-log", "x"], 0.01),
        (["--metrics", "0", "--race-sample", "0"], 0.0),
        (["--race-sample", "0.5"], 0.5),
    ],
)
def test_races_are_sampled_by_default_where_there_is_a_page(
    words: list[str], sample: float
) -> None:
    assert read_ls_options(["0", "localhost", "1", *words]).sample == sample


def test_options_of_the_status_page_are_read_by_both() -> None:
    names = ["--metrics-name", "LS.Example.", "--metrics-name", "b\u00fccher.example"]
    for words, host in ([], "127.0.0.1"), (["--metrics-host", "::", *names], "::"):
        for server in (
            read_ls_options(["5", *TS, "--metrics", "0", *words]).server,
            read_ts_options(["5", "--table", "x", "--metrics", "0", *words]).server,
        ):
            page = server.listen.status_page
            assert page is not None and (page.host, page.port) == (host, 0)
            assert page.names == (("LS.Example.", "xn--bcher-kva.example") if words else ())


@pytest.mark.parametrize(
    "name", ["http://a", "a:5380", "a/", "", "a..b", ".", "*.a", "a b", "::1", "[::1]", "x" * 64]
)
def test_what_is_no_host_name_is_no_metrics_name(name: str) -> None:
    with pytest.raises(Failure, match=r" is not a host name; write it like") as raised:
        read_ts_options(["0", "--table", "x", "--metrics", "0", "--metrics-name", name])
    assert raised.value.exit_code == USAGE


def test_ls_options_have_their_defaults() -> None:
    options = read_ls_options(["5300", *TS])
    assert options.table_servers == (("localhost", 5301),) and options.asking.resolvers == ()
    assert (options.extra_load, options.sample, options.grace_s) == (None, 0.0, None)
    listen = options.server.listen
    assert (listen.status_page, listen.dns, options.workers) == (None, (), None)
    assert options.dns_ttl_s == 60 and options.race_log is None
    assert read_ls_options(["5300", *TS, "--policy", "hedge"]).extra_load == 0.05
    server = options.server
    assert (listen.lines, server.allow) == ((("127.0.0.1", 5300),), ())
    assert server.log_level is Level.INFO
    assert server.log_format == "auto" and not (server.once or server.wire_log)


def test_a_file_of_resolvers_has_a_parent_that_reads_it_again(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    words = ["5300", "--upstream", str(path)]
    before = read_ls_options(words)
    assert before.workers == 1 and read_ls_options(words) == before
    assert read_ls_options([*words, "--workers", "2"]).workers == 2
    assert read_ls_options([*words, "--once"]).workers is None
    path.write_text("nameserver 192.0.2.2\n")
    assert read_ls_options(words) != before


def test_the_other_programs_have_their_defaults() -> None:
    ts = read_ts_options(["0", "--table", "x"])
    assert (ts.table, ts.strict, ts.answer_unknown) == ("x", False, False)
    client = read_client_options(["localhost", "5300", "x.example"])
    assert (client.names, client.names_file, client.output_file) == ((b"x.example",), None, None)
    assert (client.is_json, client.unanswered_fails, client.list_name) == (False, False, "")
    assert client.bounds.write_stall_s == math.inf
    replay = read_replay_options(["x"])
    assert replay.policies == ("race", "single", "hedge") and replay.extra_load == 0.05
