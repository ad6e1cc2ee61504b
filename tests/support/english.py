"""The rule of English: how a sentence begins, and the docstring of a function.

No sentence of a docstring or a comment begins with a word that has not named what it is about, and
a function's docstring begins with a verb. Each rule is a function from a path and its source to
what is wrong with it, as in `tests/support/house_rules.py`.

Not here: whether a sentence is true, and its grammar (ruff's D401 knows more of verbs).
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from tests.support.sources import nodes_of

NAMELESS = {"who", "whoever", "what", "whatever", "one", "so"}  # no sentence begins with these
NAMELESS_FIRST = {  # nor does a docstring with these
    *("whom", "whose", "whence", "whither", "it", "they", "there", "those")
}
FUNCTION_WORDS = {  # with which no imperative begins
    *("a", "an", "the", "its", "their", "his", "her", "our", "your", "my", "this", "that", "these"),
    *("it", "they", "he", "she", "we", "you", "nobody", "nothing", "none", "no", "not"),
    *("each", "every", "everybody", "everyone", "everything", "all", "any", "both", "either"),
    *("some", "somebody", "something", "only", "other", "others", "same", "several", "many", "few"),
    *("more", "most", "less", "least", "two", "three", "four", "first", "second", "next", "last"),
    *("how", "which", "when", "where", "whether", "why", "while", "if", "unless", "since", "until"),
    *("in", "on", "at", "of", "by", "for", "from", "to", "into", "with", "without", "within"),
    *("as", "after", "before", "between", "under", "over", "behind", "once", "there", "then"),
    *("and", "or", "but", "than", "such", "also", "always", "else", "true", "false", "like"),
}
LOOKS_LIKE_NO_VERB = {  # a verb, for all its ending
    *("bring", "ring", "ping", "embed", "feed", "need", "exceed", "proceed", "seed", "shed"),
    *("bias", "focus"),
}
STANDS_FOR_A_VALUE = {"property", "cached_property", "setter", "fixture", "composite"}
STATES_A_FACT = {"rule", "invariant", "initialize", "precondition"}  # of hypothesis, as test_* do


BREAK = re.compile(
    r"""(?:\A|\n[ ]*\n|\n[ ]*(?=(?:[-*]|\d+\.)[ ]))[-*\s]*   # a paragraph, item or heading
      | (?<=[.!?])[)"'`]*\s+(?=[("'`]*[A-Z])                  # a sentence
      | (?<=:)\s+(?=[A-Z])                                    # what a colon introduces
    """,
    re.VERBOSE,
)


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yield the sentences of a text, each with the offset at which it begins.

    Paragraphs, list items and headings begin sentences, and so does a capital after a full stop or
    a colon.
    """
    breaks = list(BREAK.finditer(text))
    ends = [*(found.start() for found in breaks[1:]), len(text)]
    for begin, end in zip((found.end() for found in breaks), ends, strict=True):
        if sentence := text[begin:end].strip():
            yield begin, sentence


def docstrings(source: str) -> Iterator[tuple[int, str, ast.AST]]:
    """Yield all docstrings of a source: line, text, and what each is about."""
    for node in nodes_of(source):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text, node


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield all comments of a source: line and text. Adjoining lines without code are one."""
    block: list[str] = []
    began, column = 0, 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, at = token.start
        follows = line == began + len(block) and at == column and not token.line[:at].strip()
        if not follows:
            if block:
                yield began, "\n".join(block)
            block, began, column = [], line, at
        block.append(token.string.lstrip("#").strip())
    if block:
        yield began, "\n".join(block)


def first_word(sentence: str) -> str:
    """Return the word that a sentence begins with in lower case; empty for a name in backticks."""
    found = re.match(r"""["'(\[]*([A-Za-z][\w'-]*)""", sentence)
    return found[1].lower() if found else ""


def sentences_nameless(path: str, source: str) -> list[str]:
    """Find sentences of docstrings and comments that begin with a word that names nothing."""
    texts = [*((line, text) for line, text, _ in docstrings(source)), *comments(source)]
    return [
        f"{line + text.count(chr(10), 0, at)}: {sentence[:60]}"
        for line, text in sorted(texts)
        for at, sentence in sentences(text)
        if first_word(sentence) in NAMELESS
    ]


def riddles(path: str, source: str) -> list[str]:
    """Find docstrings whose first line does not say what they are about."""
    wrong = []
    for line, text, _ in docstrings(source):
        first = text.partition("\n")[0]
        words = re.findall(r"[\w'-]+", first.lower())
        if re.fullmatch(r"\[P\d+\]", first):  # a test of a promise of the fault matrix
            continue
        if len(words) < 2 or words[0] in NAMELESS | NAMELESS_FIRST or words[1:] == ["reverse"]:
            wrong.append(f"{line}: {first}")
    return wrong


def decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Return the last words of a function's decorators."""
    called = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return {ast.unparse(decorator).split(".")[-1] for decorator in called}


def is_imperative(word: str) -> bool:
    """Return whether a word may be a verb in the imperative, from its looks."""
    if word in LOOKS_LIKE_NO_VERB:
        return True
    ends_wrongly = re.search(r"(?<!s)s$|ing$|ed$", word)
    return bool(word) and word not in FUNCTION_WORDS and not ends_wrongly


def verbs_missing(path: str, source: str) -> list[str]:
    """Find functions whose docstring does not begin with a verb in the imperative.

    Exempt are properties, fixtures and strategies, whose docstring names a value, special methods,
    and tests, whose docstring states a fact.
    """
    wrong = []
    for line, text, node in docstrings(source):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        exempt = decorators(node) & (STANDS_FOR_A_VALUE | STATES_A_FACT)
        if exempt or node.name.startswith(("test_", "__")):
            continue
        if not is_imperative(first_word(text)):
            wrong.append(f"{line}: {node.name}: {text.partition(chr(10))[0][:60]}")
    return wrong
