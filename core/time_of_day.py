"""The time of day as text: ISO 8601 in UTC, so that records of several machines sort as text.

Not here: the clock (`core/io/system.py`).
"""

import time


def utc_text(seconds: float, decimals: int) -> str:
    """Write a time of day, in s since 1970, with this many decimals: 2026-11-29T14:02:11.123Z."""
    unit = 10**decimals
    whole, part = divmod(round(seconds * unit), unit)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{stamp}.{part:0{decimals}}Z"
