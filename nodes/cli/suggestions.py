"""Suggestions: the word that somebody meant who wrote one that there is not.

Rules. It is the known words that begin with what was written, if they are few; else what other
programs call so; else one that is spelled nearly so. Nothing is better than a bad guess.

Not here: where words are read (`arguments.py`, `programs.py`).
"""

from collections.abc import Iterable, Mapping

_FEW = 3  # suggestions: more of them are a list to read
# Flags of dnsmasq, dnsdist, dnsproxy, unbound, HAProxy, gunicorn and others, and what does the same
# here.
ELSEWHERE: Mapping[str, str] = {
    "acl": "--allow",
    "all_servers": "--policy",
    "bind": "--host",
    "check_config": "--check",
    "conf_file": "--config",
    "config_file": "--config",
    "config_path": "--config",
    "forward": "--dns-upstream",
    "http": "--metrics",
    "idle_timeout": "--idle",
    "listen": "--host",
    "listen_address": "--host",
    "log_queries": "--wire-log",
    "server": "--dns-upstream",
    "test": "--check",
    "tls_cert_bundle": "--tls-ca",
    "tls_port": "--dns-tls",
    "tls_service_key": "--tls-key",
    "tls_service_pem": "--tls-cert",
    "web.listen_address": "--metrics",
}
# Values of flags here, by what other programs call them.
VALUES_ELSEWHERE: Mapping[str, str] = {"domains": "names", "hosts": "rows"}


def did_you_mean(word: str, known: Iterable[str], elsewhere: Mapping[str, str] = ELSEWHERE) -> str:
    """Return "; did you mean ...?" with the known words that were meant; empty if none is near.
    `elsewhere`: known words by what other programs call them."""
    names = {_plain(name): name for name in known}
    wanted = _plain(word)
    near = [plain for plain in names if len(wanted) > 1 and plain.startswith(wanted)]
    if not 0 < len(near) <= _FEW:
        near = [plain for plain in names if plain == _plain(elsewhere.get(wanted, ""))]
    if not near:
        import difflib  # it takes a while, and nobody waits for it who made no mistake

        near = difflib.get_close_matches(wanted, names, 1)
    return f"; did you mean {one_of(names[plain] for plain in near)}?" if near else ""


def one_of(words: Iterable[str]) -> str:
    """Return words as a choice: `a`, `a or b`, `a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _plain(word: str) -> str:
    """Return a word without what people mix up in it."""
    return word.lstrip("-").lower().replace("-", "_")
