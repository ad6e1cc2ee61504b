"""The certificates that tests of TLS use are what their makers say: read by OpenSSL, through `ssl`.

Not here: what photofinish makes of them.
"""

import ssl
from pathlib import Path

import pytest

from tests.support.certificates import (
    EC,
    RSA,
    Authority,
    Issued,
    authority,
    encrypted,
    openssl,
    self_signed,
    without_chain,
)

pytestmark = openssl
NAME, ADDRESS = "dns.example", "127.0.0.1"


def reached(keys: Issued, trusted: str, name: str) -> str:
    """Shake hands with a server that has these keys, in memory; return the version, or why not."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*keys)
    client = ssl.create_default_context(cafile=trusted)
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=name),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ends[0].version() or ""


@pytest.mark.parametrize("kind", [RSA, EC])
def test_certificates_are_good_for_their_names_alone(kind: str) -> None:
    one = authority(kind=kind)
    keys = one.issue(NAME, ADDRESS, "::1")
    for name in (NAME, ADDRESS, "::1"):
        assert reached(keys, one.file, name) == "TLSv1.3"
    assert "Hostname mismatch" in reached(keys, one.file, "other.example")
    assert "IP address mismatch" in reached(keys, one.file, "127.0.0.2")


def test_certificates_lead_to_the_authority_above() -> None:
    between = Authority("Between", EC, above=authority())
    keys = between.issue(NAME)
    assert reached(keys, authority().file, NAME) == "TLSv1.3"
    assert "issuer certificate" in reached(without_chain(keys), authority().file, NAME)


def test_certificates_are_bad_as_they_are_meant_to_be() -> None:
    one, other = authority(), authority("Other")
    assert reached(one.issue(NAME, ends_in_days=-1), one.file, NAME) == "certificate has expired"
    assert "self-signed" in reached(self_signed(NAME), one.file, NAME).replace(" signed", "-signed")
    assert "issuer certificate" in reached(other.issue(NAME), one.file, NAME)
    with pytest.raises(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            *encrypted(one.issue(NAME)), password=lambda: "wrong"
        )


def test_certificates_of_rsa_have_one_size() -> None:
    """The simulator counts on it, in all its runs."""
    issued = [Authority("One").issue(NAME, has_own_key=own) for own in (False, True, True)]
    assert len({Path(keys.certificate).stat().st_size for keys in issued}) == 1
    assert len({Path(keys.key).read_text() for keys in issued}) == 3
