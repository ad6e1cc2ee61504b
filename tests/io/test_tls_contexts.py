"""TLS contexts: files that are read anew, and certificates that end.

The loop's part has clocks of the test's, and contexts that say what the test says.

Not here: what is in a context (`tests/io/test_tls_layer.py`).
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.io.log_format import LogRecord
from core.io.secure_layer import SecureLayer, SecurityError
from core.io.tls_contexts import TlsContexts
from core.operator import ReadKeys
from core.tls import CertificateFacts, ServerIdentity, TlsKeys
from nodes.cli.serving import DNS_TLS_STREAMS, LINES
from tests.support.certificates import EC, Issued, authority, openssl, self_signed
from tests.support.loops import QuietSystem, Script, listen_at, real_loop

NAME = "dns.example"
DAY_S = 86_400.0
HERE = (2, ("127.0.0.1", 0))


def meet(dialled: SecureLayer, accepted: SecureLayer) -> str:
    """Let two layers talk; return why the one that dials does not take the other."""
    try:
        dialled.receive(b"")
        for _ in range(3):
            accepted.receive(dialled.seal(b""))
            dialled.receive(accepted.seal(b""))
    except SecurityError as error:
        return str(error)
    assert dialled.is_secured and accepted.is_secured
    return ""


class Files:
    """The paths of a certificate and its key, whose content a test replaces."""

    def __init__(self, folder: Path) -> None:
        self.keys = TlsKeys(str(folder / "cert.pem"), str(folder / "key.pem"))

    def put(self, issued: Issued) -> None:
        shutil.copy(issued.certificate, self.keys.certificate)
        shutil.copy(issued.key, self.keys.key)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


# -- contexts --------------------------------------------------------------------------------------


@openssl
def test_keys_read_anew_serve_those_that_come_then(files: Files) -> None:
    """A handshake that is under way keeps what it has."""
    one, contexts = authority(kind=EC), TlsContexts()
    contexts.load_authorities(one.file)
    who = ServerIdentity(NAME, one.file)
    files.put(one.issue(NAME, ends_in_days=20))
    before = contexts.load_keys(files.keys)
    under_way = contexts.secure_accepted(files.keys)
    files.put(one.issue("other.example", ends_in_days=40))
    after = contexts.load_keys(files.keys)
    assert meet(contexts.secure_dialled(who), under_way) == ""
    why = meet(contexts.secure_dialled(who), contexts.secure_accepted(files.keys))
    assert why == "its certificate is not for dns.example"
    assert (before.names, after.names) == ((NAME,), ("other.example",))
    assert after.ends_at - before.ends_at == pytest.approx(20 * DAY_S, abs=60)
    assert contexts.certificate(files.keys) == after


@openssl
@pytest.mark.parametrize("how", ["gone", "no PEM", "another key", "half"])
def test_keys_of_no_use_leave_those_before(files: Files, how: str) -> None:
    one, contexts = authority(kind=EC), TlsContexts()
    contexts.load_authorities(one.file)
    files.put(one.issue(NAME))
    before = contexts.load_keys(files.keys)
    certificate = Path(files.keys.certificate)
    if how == "gone":
        certificate.unlink()
    elif how == "no PEM":
        certificate.write_text("nothing\n")
    elif how == "another key":
        shutil.copy(one.issue(NAME, has_own_key=True).certificate, certificate)
    else:
        certificate.write_text(certificate.read_text()[:300])
    with pytest.raises((OSError, ValueError)):
        contexts.load_keys(files.keys)
    assert contexts.certificate(files.keys) == before
    who = ServerIdentity(NAME, one.file)
    assert meet(contexts.secure_dialled(who), contexts.secure_accepted(files.keys)) == ""


@openssl
def test_authorities_are_those_of_each_server(tmp_path: Path) -> None:
    """A file of no use leaves those that were read from it before."""
    one, contexts = authority(kind=EC), TlsContexts()
    path = tmp_path / "authorities.pem"
    shutil.copy(one.file, path)
    contexts.load_authorities(str(path))
    contexts.load_authorities(authority("Other", EC).file)
    keys = TlsKeys(*one.issue(NAME))
    contexts.load_keys(keys)
    mine = ServerIdentity(NAME, str(path))
    others = ServerIdentity(NAME, authority("Other", EC).file)
    assert contexts.authorities == [str(path), others.authorities]
    for _ in range(2):
        assert meet(contexts.secure_dialled(mine), contexts.secure_accepted(keys)) == ""
        why = meet(contexts.secure_dialled(others), contexts.secure_accepted(keys))
        assert why == "its certificate is by an authority that is not trusted here"
        path.write_text("nothing\n")
        with pytest.raises(ValueError, match="no certificate in PEM form"):
            contexts.load_authorities(str(path))
    shutil.copy(self_signed("Nobody", kind=EC).certificate, path)
    contexts.load_authorities(str(path))
    assert meet(contexts.secure_dialled(mine), contexts.secure_accepted(keys)) != ""


# -- in the loop -----------------------------------------------------------------------------------

KEYS = TlsKeys("here.pem", "here.key")


class Contexts:
    """Contexts without files. `ends_in`: days from now, of what `load_keys` reads; or why not."""

    def __init__(self, house: "House", ends_in: float) -> None:
        self._house = house
        self.ends_in: float | Exception = ends_in
        self.authorities: list[str] = []
        self.bad: Exception | None = None  # the fault in the authorities
        self.load_keys(KEYS)

    def load_authorities(self, path: str) -> None:
        if self.bad is not None:
            raise self.bad

    def load_keys(self, keys: TlsKeys) -> CertificateFacts:
        if isinstance(self.ends_in, Exception):
            raise self.ends_in
        self.facts = CertificateFacts((NAME,), self._house.wall + self.ends_in * DAY_S)
        return self.facts

    def certificate(self, keys: TlsKeys) -> CertificateFacts:
        assert keys == KEYS
        return self.facts


class House:
    """A loop that serves by TLS, with two clocks that the test turns."""

    def __init__(self, ends_in: float, keys: TlsKeys | None = KEYS) -> None:
        self.now, self.wall = 100.0, 1.7e9
        self.said: list[str] = []
        system: Any = QuietSystem()
        system.now, system.wall = lambda: self.now, lambda: self.wall
        self.tls = system.tls = Contexts(self, ends_in)
        self.loop = real_loop(system=system, said=self._say, log_format=self._format)
        listen_at(self.loop, HERE, LINES if keys is None else replace(DNS_TLS_STREAMS, keys=keys))
        self.loop.start(Script())

    def _format(self, record: LogRecord) -> str:
        return f"{record.level.name} {record.text}"

    def _say(self, line: bytes) -> None:
        self.said.append(line.decode().rstrip("\n"))

    def after(self, days: float) -> list[str]:
        """Let time pass, an hour at a time; return what was said."""
        self.said.clear()
        for _ in range(round(days * 24)):
            self.now += 3_600
            self.wall += 3_600
            self.loop.turn()
        return self.said

    def read(self) -> list[str]:
        """Have it read its files anew; return what it said."""
        self.said.clear()
        self.loop.engine.performers[ReadKeys](ReadKeys())
        return self.said

    def days(self) -> Any:  # noqa: ANN401
        return {value.key: value.value for value in self.loop.metrics()}.get("tls_days")


@pytest.fixture
def houses() -> Iterator[list[House]]:
    made: list[House] = []
    yield made
    for house in made:
        house.loop.close()


def house_of(houses: list[House], ends_in: float, keys: TlsKeys | None = KEYS) -> House:
    houses.append(House(ends_in, keys))
    houses[-1].loop.turn()
    return houses[-1]


ENDS = "WARNING the certificate here.pem {}; renew it, and send SIGHUP"


def test_the_end_is_told_each_day_from_two_weeks_on(houses: list[House]) -> None:
    """And after it, too. Before that there is nothing to tell."""
    house = house_of(houses, 15.4)
    assert house.said == [] and house.days() == 15.4
    assert house.after(1.0) == [] and house.days() == 14.4
    told = house.after(13.0)
    assert told == [ENDS.format(f"ends in {days} days") for days in range(13, 0, -1)]
    assert house.after(1.0) == [ENDS.format("ends within a day")]
    assert house.after(2.0) == [ENDS.format("has ended")] * 2
    assert house.days() == -1.6


@pytest.mark.parametrize(("days", "is_told"), [(14.1, False), (13.9, True), (-1.0, True)])
def test_the_end_is_told_at_the_start(houses: list[House], days: float, is_told: bool) -> None:
    assert bool(house_of(houses, days).said) is is_told


def test_a_renewed_certificate_says_so_and_is_told_no_more(houses: list[House]) -> None:
    house = house_of(houses, 3.0)
    assert house.said == [ENDS.format("ends in 3 days")]
    house.tls.ends_in = 90.0
    assert house.read() == ["INFO the certificate here.pem was read anew, and ends in 90 days"]
    assert house.days() == 90.0 and house.after(75.0) == []


def test_a_renewed_certificate_that_ends_soon_is_a_warning(houses: list[House]) -> None:
    house = house_of(houses, 3.0)
    house.tls.ends_in = 5.0
    assert house.read() == [ENDS.format("was read anew, and ends in 5 days")]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            FileNotFoundError(2, "No such file or directory", "here.pem"),
            "no such file or directory",
        ),
        (ValueError("the key is that of another certificate"), "the key is that of another"),
    ],
)
def test_files_of_no_use_are_one_line_and_change_nothing(
    houses: list[House], error: Exception, why: str
) -> None:
    house = house_of(houses, 30.0)
    house.tls.ends_in = error
    (line,) = house.read()
    assert line.startswith(f"ERROR cannot use here.pem with here.key: {why}")
    assert line.endswith("; all stays as it was") and house.days() == 30.0
    assert len(house.after(17.0)) == 1  # its end is that of the one before


def test_authorities_are_read_anew_too(houses: list[House]) -> None:
    """Also where nobody is served by TLS; those of no use are one line."""
    house = house_of(houses, 30.0, keys=None)
    house.tls.authorities = ["", "ours.pem"]
    assert house.read() == [] and house.days() is None
    house.tls.bad = ValueError("there is no certificate in PEM form in it")
    rest = "there is no certificate in PEM form in it; all stays as it was"
    assert house.read() == [
        f"ERROR cannot use the authorities of this machine: {rest}",
        f"ERROR cannot use the authorities of ours.pem: {rest}",
    ]


def test_nothing_is_looked_at_without_tls(houses: list[House]) -> None:
    house = house_of(houses, 1.0, keys=None)
    assert house.said == [] and house.after(3.0) == []
