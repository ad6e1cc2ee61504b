"""Own names: what a machine is called, by its host name and its table of hosts."""

import pytest

from core.io import own_names

HOSTS = """\
127.0.0.1\tlocalhost
127.0.1.1   Web7.example.org web7 www  # other.example
0.0.0.0 ads.example web70
# 10.0.0.9 web7 commented.example
::1 localhost ip6-localhost

10.0.0.1
10.0.0.2 files.example files
"""


@pytest.mark.parametrize(
    ("host_name", "names"),
    [
        ("web7", {"web7", "web7.example.org", "www"}),
        ("WEB7.Example.ORG", {"web7", "web7.example.org", "www"}),
        ("web7.other.example", {"web7", "web7.other.example", "web7.example.org", "www"}),
        ("alone", {"alone"}),
        ("", set()),
    ],
)
def test_names_stand_beside_the_host_name(host_name: str, names: set[str]) -> None:
    assert own_names.names_beside(host_name, HOSTS) == names


def test_a_machine_without_a_table_has_its_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_names, "_HOSTS", "/nowhere")
    names = own_names.own_names()
    assert 1 <= len(names) <= 2 and names == own_names.names_beside(max(names, key=len), "")
