"""The arguments about TLS: whose word counts for resolvers, and where DNS is served by TLS.

Not here: which resolvers are asked by TLS (`server_words.py`), and reading the files that are named
(`tls_files.py`).
"""

import argparse
from dataclasses import dataclass

from core.tls import TlsKeys
from nodes.cli.arguments import Parser
from nodes.cli.listen_arguments import own_host_and_port

CERTIFICATE, KEY = "--tls-cert", "--tls-key"


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """The options about TLS. `authorities`: a file of those that count for resolvers; empty: the
    system's. `keys`: what DNS is served with; None: it is not served by TLS."""

    authorities: str = ""
    keys: TlsKeys | None = None


def add_authorities_argument(parser: Parser) -> None:
    """Add the argument about the certificates of resolvers."""
    parser.add_argument(
        "--tls-ca",
        type=_path,
        metavar="FILE",
        help="believe the certificates of tls:// resolvers by the authorities in this file, in PEM "
        "form, in place of the system's",
    )


def add_dns_tls_arguments(parser: Parser) -> None:
    """Add the arguments about DNS that is served by TLS."""
    parser.add_argument(
        "--dns-tls",
        action="append",
        default=[],
        type=own_host_and_port,
        metavar="[ADDR:]PORT",
        help="serve DNS over TLS on this port (853 is the usual one), at ADDR or at each --host "
        f"(may be repeated); needs {CERTIFICATE} and {KEY}",
    )
    parser.add_argument(
        CERTIFICATE,
        type=_path,
        metavar="FILE",
        help="certificate for --dns-tls, in PEM form, with those that lead to its authority behind "
        "it; read anew at SIGHUP",
    )
    parser.add_argument(
        KEY, type=_path, metavar="FILE", help="private key of that certificate, without a password"
    )


def read_tls_options(
    arguments: argparse.Namespace, parser: Parser, *, asks_by_tls: bool
) -> TlsOptions:
    """Return what the arguments ask for. `asks_by_tls`: a resolver is asked by TLS. Raises
    Failure."""
    if arguments.tls_ca and not asks_by_tls:
        parser.error("--tls-ca is for resolvers by TLS; no --dns-upstream begins with tls://")
    certificate, key = arguments.tls_cert, arguments.tls_key
    if arguments.dns_tls or certificate or key:
        for flag, value in (CERTIFICATE, certificate), (KEY, key):
            if not value:
                given = "--dns-tls" if arguments.dns_tls else CERTIFICATE if certificate else KEY
                parser.error(f"{given} needs {flag} FILE, too")
    return TlsOptions(arguments.tls_ca or "", TlsKeys(certificate, key) if certificate else None)


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("'' is no file")
    return text
