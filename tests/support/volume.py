"""How much a test does: little by default, and more under the `fuzz` profile of hypothesis."""

from hypothesis import settings

_EXAMPLES = 80  # of the `ci` profile


def scaled(count: int) -> int:
    """Return so many in the `ci` profile, and as many times more in one that has more examples."""
    return max(count, count * settings.default.max_examples // _EXAMPLES)
