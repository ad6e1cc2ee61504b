"""Padding of DNS messages: their length tells nothing about the name in them (RFC 7830, RFC 8467).

Padding is an option of the OPT record, zeros of any number. It is of use only where nobody on the
way can read the message, so there alone it is sent (RFC 7830, section 6).

Not here: which messages are padded (`nodes/dns/question.py`, `nodes/dns/query.py`).
"""

from nodes.dns.codes import MESSAGE_BYTES_MAX, OPTION, OptionCode

# The length of a padded message is a multiple of these (RFC 8467, section 4.1).
QUERY_BLOCK_BYTES = 128
REPLY_BLOCK_BYTES = 468
_LENGTH_AT = 9  # where the length of its options stands, in an OPT record
_OPTIONS_AT = 11


def padded_opt(opt: bytes, before: int, block: int) -> bytes:
    """Return an OPT record with padding, as the end of a message whose length is a multiple of
    `block`, or the longest that there can be; unchanged where there is no room for the option.

    `before`: the bytes of the message before the record, with its ID.
    """
    least = before + len(opt) + OPTION.size
    zeros = min(-(-least // block) * block, MESSAGE_BYTES_MAX) - least
    if zeros < 0:
        return opt
    options = b"%b%b%b" % (opt[_OPTIONS_AT:], OPTION.pack(OptionCode.PADDING, zeros), bytes(zeros))
    return b"%b%b%b" % (opt[:_LENGTH_AT], len(options).to_bytes(2), options)


def has_padding(options: bytes) -> bool:
    """Return whether these are well-formed options of an OPT record, and one of them is padding."""
    found = False
    at = 0
    while at + OPTION.size <= len(options):
        code, size = OPTION.unpack_from(options, at)
        found = found or code == OptionCode.PADDING
        at += OPTION.size + size
    return found and at == len(options)
