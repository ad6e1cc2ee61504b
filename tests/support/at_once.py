"""Tests of a module that mostly wait, run at once: each waits beside the others.

`at_once` marks a test. When the first such test of a module comes, the functions of all that are to
run are begun, each in a thread, with programs and a folder of its own; each test waits for its own
function to end. Of function fixtures such a function can have `run` and `tmp_path` only.

Not here: whatever needs this process for itself (signals, limits, what is captured).
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.processes import programs

_OWN = ("run", "tmp_path")


def at_once(function: Callable[..., None]) -> Callable[..., None]:
    """Run this test beside all others of its module that are marked like this."""

    @functools.wraps(function)
    def test(request: pytest.FixtureRequest, begun: dict[str, Future[None]], **_: object) -> None:
        begun[request.node.name].result()

    others = [name for name in inspect.signature(function).parameters if name not in _OWN]
    test.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)
            for name in ("request", "begun", *others)
        ]
    )
    test.function = function  # type: ignore[attr-defined]
    return test


@pytest.fixture(scope="module")
def begun(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """All such tests of this module, under way, by their names."""
    with ExitStack() as stack:
        some = {}
        for item in request.session.items:
            if not isinstance(item, pytest.Function) or item.module is not request.module:
                continue
            if (function := getattr(item.function, "function", None)) is not None:
                folder = tmp_path_factory.mktemp("begun")
                own = {"run": stack.enter_context(programs(folder)), "tmp_path": folder}
                values = _values(function, item, request, own)
                some[item.name] = functools.partial(function, **values)
        pool = stack.enter_context(ThreadPoolExecutor(max(1, len(some))))
        yield {name: pool.submit(function) for name, function in some.items()}


def _values(
    function: Callable[..., None],
    item: pytest.Function,
    request: pytest.FixtureRequest,
    own: dict[str, Any],
) -> dict[str, Any]:
    """Return the arguments of a function: its own, its parameters, and fixtures of the module."""
    given = {**own, **(item.callspec.params if hasattr(item, "callspec") else {})}
    return {
        name: given[name] if name in given else request.getfixturevalue(name)
        for name in inspect.signature(function).parameters
    }
