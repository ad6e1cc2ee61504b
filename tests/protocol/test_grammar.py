"""The grammar of proto.md, and the parsers: every line is the same to both.

Not here: how lines are drawn and compared (`tests/support/grammar.py`), and the examples, limits
and errors of the document (`test_proto.py`).
"""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.protocol import names
from core.protocol.messages import format_message
from tests.protocol.test_messages import lines, replies, requests
from tests.protocol.test_proto import rows
from tests.support.abnf import Grammar
from tests.support.grammar import GRAMMAR, SIDES, Comparison, Judge, compare_drawn, drawn

JUDGE = Judge()


def differences(judge: Judge, count: int, seed: int = 1) -> list[str]:
    """Draw this many lines of each side; return what differs."""
    comparison = Comparison(judge)
    for side in SIDES:
        chance, drawn_lines = Random(seed), 0
        while drawn_lines < count and not comparison.differences:
            drawn_lines += compare_drawn(comparison, side, chance)
    return comparison.differences


# -- ABNF ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fit", "unfit"),
    [
        ('a = "x" / %s"Yz" SP', ["x", "X", "Yz "], ["yz ", "Yz", ""]),
        ('a = 1*2( "x" ) [ "y" ] *DIGIT', ["x", "xxy12", "xx7"], ["", "xxx", "y", "xyy"]),
        ('a = 2b ; twice\n  *1"c"\nb = %x30-31 / %x0A', ["01", "\n0c"], ["0", "012", "01cc"]),
        ('a = *2"x" 3"y"', ["yyy", "xxyyy"], ["xxxyyy", "yy", "yyyy"]),
    ],
)
def test_abnf_is_read_as_its_rfcs_say(text: str, fit: list[str], unfit: list[str]) -> None:
    pattern = re.compile(Grammar(text).pattern("a"))
    assert all(pattern.fullmatch(line.encode()) for line in fit)
    assert not any(pattern.fullmatch(line.encode()) for line in unfit)


@pytest.mark.parametrize(
    "text", ['a = "x', "a = (b", "a = b ]", "a =", "a b", "a = b\na = c", "a = <b>", 'dIgIt = "x"']
)
def test_a_text_that_is_no_abnf_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Grammar(text)


@given(st.sampled_from([*JUDGE.grammar.rules]), st.randoms(use_true_random=False))
def test_what_is_drawn_from_a_rule_fits_it(rule: str, chance: Random) -> None:
    data = JUDGE.grammar.draw(rule, chance)
    assert re.fullmatch(JUDGE.grammar.pattern(rule), data)


def test_another_reader_of_abnf_finds_the_same_lines_legal() -> None:
    abnf = pytest.importorskip("abnf", reason="abnf is an oracle for the grammar")

    class Lines(abnf.Rule):  # type: ignore[misc,name-defined]
        pass

    Lines.load_grammar("\r\n".join([*GRAMMAR.split("\n"), ""]))
    chance = Random(1)
    legal = 0
    for side in SIDES:
        rule, pattern = Lines(side), re.compile(JUDGE.grammar.pattern(side))
        for _ in range(150):
            for line in drawn(JUDGE, side, chance):
                text = line.rstrip(b"\r\n").decode("latin-1")
                try:
                    rule.parse_all(text)
                    fits = True
                except abnf.ParseError:
                    fits = False
                assert (pattern.fullmatch(text.encode("latin-1")) is not None) is fits, text
                legal += fits
    assert legal > 200


# -- the parsers -----------------------------------------------------------------------------------


def test_the_grammar_and_the_parsers_agree() -> None:
    """100,000 lines and more: `python3 -m tests.fuzz_grammar`."""
    assert differences(JUDGE, 3_000) == []


@given(st.sampled_from([*SIDES]), st.randoms(use_true_random=False))
def test_they_agree_on_any_chunk(side: str, chance: Random) -> None:
    comparison = Comparison(JUDGE)
    compare_drawn(comparison, side, chance)
    assert comparison.differences == []


@given(st.one_of(lines, requests.map(format_message), replies.map(format_message)))
def test_they_agree_on_lines_that_the_code_writes(line: bytes) -> None:
    """And on others that were not drawn from the grammar."""
    comparison = Comparison(JUDGE)
    for side in SIDES:
        comparison.compare(side, [line.replace(b"\n", b"") + b"\n"])
    assert comparison.differences == []


def test_the_words_of_the_grammar_are_those_of_the_code() -> None:
    expected = {
        "command": {command.value for command in names.Command},
        "word": {word.value for word in names.Word},
        "code": {error.name.encode() for error in names.Error},
        "reason": {negative.value for negative in names.Negative},
    }
    assert {rule: set(JUDGE.grammar.choices(rule)) for rule in expected} == expected


@pytest.mark.parametrize(("side", "table"), [("request", "Requests"), ("reply", "Replies")])
def test_each_example_of_a_message_fits_the_grammar(side: str, table: str) -> None:
    for kind, example, *_ in rows(table):
        judged = JUDGE.judge(side, example.encode() + b"\r\n")
        assert isinstance(judged, tuple), kind


# -- faults of a grammar ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('label *( "." label )', '[ "." ] label *( "." label )'),
        ('label *( "." label )', 'label *( 1*2"." label )'),
        ('*( "." label ) [ "." ]', '*( "." label )'),
        ("1*63(", "1*64("),
        ("1*63(", "1*62("),
        ('"-" / "_" )\n\nreply', '"-" / "_" / "/" )\n\nreply'),
        ('SP %s"AAAA" ]', 'SP "AAAA" ]'),
        ('%s"QUIT"', '"QUIT"'),
        ("command / question", "question / command"),
        ("[ CR ] LF", "LF"),
        ("[ CR ] LF", "*CR LF"),
        (' / %s"NAMES BELOW"', ""),
        (' / %s"BLOCKED"', ""),
        (' / %s"BUSY"', ""),
        ("/ answer / negative / stat", "/ stat / answer / negative"),
        ('ipv4 *( "," ipv4 )', 'ipv4 *( "," [ SP ] ipv4 )'),
        ('ipv6 *( "," ipv6 )', '( ipv6 / ipv4 ) *( "," ipv6 )'),
        ('"25" %x30-35', '"25" %x30-36'),
        ("dec-octet = DIGIT", "dec-octet = 1*2DIGIT"),
        ("[ *6( group", "[ *7( group"),
        ('"::"    group ":"   last-two', '"::"    group   last-two'),
        ("1*4HEXDIG", "1*5HEXDIG"),
        ("metric    = ALPHA *(", "metric    = *("),
        ("value     = VCHAR", "value     ="),
    ],
)
def test_a_grammar_that_says_something_else_is_found(old: str, new: str) -> None:
    """The generator has lines for each of these: it can say no."""
    assert GRAMMAR.count(old) == 1
    judge = Judge(GRAMMAR.replace(old, new))
    assert differences(judge, 3_000) != [] or not fits_all_words(judge)


def fits_all_words(judge: Judge) -> bool:
    """Return whether the grammar has the lines that the code's words make."""
    texts = [b"- ERROR " + error.name.encode() for error in names.Error]
    texts += [b"x - " + negative.value for negative in names.Negative]
    return all(isinstance(judge.judge("reply", text + b"\n"), tuple) for text in texts)
