"""The files of TLS, as they are read before LS serves, and anew at a reload: authorities, and the
certificate and key that DNS is served with.

Rules. A file that cannot be used is an error at once, and refuses a reload. A certificate that has
ended can be used, though clients refuse it; only `--check` refuses it, too.

Not here: which files (`tls_arguments.py`), reading one (`core/io/tls_contexts.py`), and the warning
before a certificate ends (`core/io/certificates.py`).
"""

from collections.abc import Sequence
from dataclasses import replace

from core.io.system import reason
from core.io.tls_contexts import TlsContexts
from core.time_of_day import utc_text
from core.tls import CertificateFacts, TlsKeys
from nodes.cli.arguments import USAGE, Failure
from nodes.cli.server_words import ResolverOption
from nodes.cli.tls_arguments import CERTIFICATE, KEY, TlsOptions
from nodes.ls.setup import ServerSetup


def check_use(options: TlsOptions, *, is_served: bool) -> None:
    """Check that DNS by TLS is served where there is a certificate for it, and nowhere else. Raises
    Failure."""
    if is_served and options.keys is None:
        raise Failure(
            f"the socket 'dns-tls' that was handed over needs {CERTIFICATE} FILE and {KEY} FILE",
            USAGE,
        )
    if options.keys is not None and not is_served:
        raise Failure(f"{CERTIFICATE} is for DNS over TLS; there is no --dns-tls PORT", USAGE)


def identified(
    servers: Sequence[ServerSetup], chosen: Sequence[ResolverOption], authorities: str
) -> list[ServerSetup]:
    """Return these resolvers with whom they have to be, as they were chosen, by the word of these
    authorities (see `ServerIdentity`)."""
    return [
        server
        if one.identity is None
        else replace(server, identity=replace(one.identity, authorities=authorities))
        for server, one in zip(servers, chosen, strict=True)
    ]


def read_tls_files(
    tls: TlsContexts, options: TlsOptions, resolvers: Sequence[ResolverOption | ServerSetup]
) -> None:
    """Read all files of TLS that these options and resolvers need. Raises Failure."""
    needed = [options.authorities] if any(one.identity for one in resolvers) else []
    for path in needed:
        _read_authorities(tls, path)
    if options.keys is not None:
        _read_keys(tls, options.keys)
    tls.keep_authorities(needed)


def _read_authorities(tls: TlsContexts, path: str) -> None:
    whose = f"--tls-ca {path}" if path else "the authorities of this machine"
    instead = "" if path else "; name a file of authorities with --tls-ca"
    try:
        tls.load_authorities(path)
    except OSError as error:
        raise Failure(f"cannot read {whose}: {reason(error)}{instead}") from None
    except ValueError as error:
        raise Failure(f"cannot use {whose}: {error}{instead}") from None


def _read_keys(tls: TlsContexts, keys: TlsKeys) -> None:
    try:
        tls.load_keys(keys)
    except OSError as error:
        is_key = error.filename == keys.key
        at = f"{KEY} {keys.key}" if is_key else f"{CERTIFICATE} {keys.certificate}"
        raise Failure(f"cannot read {at}: {reason(error)}") from None
    except ValueError as error:
        both = f"{CERTIFICATE} {keys.certificate} with {KEY} {keys.key}"
        raise Failure(f"cannot use {both}: {error}") from None


def checked_certificate(keys: TlsKeys, facts: CertificateFacts, now: float) -> str:
    """Return what DNS is served with, for people. `now`: the time of day. Raises Failure: the
    certificate has ended."""
    date = utc_text(facts.ends_at, 0)[:10]
    if facts.ends_at <= now:
        raise Failure(f"the certificate {keys.certificate} ended on {date}: renew it")
    return f"dns-tls with a certificate for {', '.join(facts.names) or 'no name'} until {date}"
