"""The output of the client: a file keeps what it has until there is something new.

Not here: an output that is full or closed (`tests/processes/test_system.py`).
"""

import pytest

from tests.support.processes import Programs

pytestmark = pytest.mark.process

OLD = b"a 10.0.0.1 A IN\n"


@pytest.mark.parametrize("as_link", [False, True])
def test_the_list_is_not_taken_as_output(run: Programs, as_link: bool) -> None:
    names, out = run.folder / "names", run.folder / "out"
    names.write_bytes(b"a\n")
    if as_link:
        out.symlink_to(names)
    else:
        out = names
    code, _, log = run.run("client", "127.0.0.1", "1", "--names", names, "--out", out)
    assert (code, names.read_bytes()) == (2, b"a\n")
    assert log == f"photofinish: {out} is both the list of names and the output\n"


@pytest.mark.parametrize(
    ("names", "after"),
    [
        ("a\n".encode("utf-16"), OLD),  # refused
        (b"", b""),
        (b"b\n", b"b - LOST\n"),
    ],
)
def test_a_file_is_emptied_for_something_new_only(
    run: Programs, names: bytes, after: bytes
) -> None:
    listed, out = run.folder / "names", run.folder / "out"
    listed.write_bytes(names)
    out.write_bytes(OLD)
    run.run("client", "127.0.0.1", "1", "--names", listed, "--out", out)
    assert out.read_bytes() == after
