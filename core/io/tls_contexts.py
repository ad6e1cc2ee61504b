"""TLS contexts: the authorities, certificates and keys of this process, read from files.

A context is made once and serves every stream; made anew, it serves those that come then. All is
read before a server serves, since that blocks and may fail. Without TLS `ssl` is never loaded: that
takes longer than all else at the start of a program.

Not here: what is in a context, and a stream's TLS (`core/io/tls_layer.py`).
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from core.io.secure_layer import SecureLayer
from core.tls import CertificateFacts, ServerIdentity, TlsKeys

if TYPE_CHECKING:
    from ssl import SSLContext


class TlsContexts:
    """The contexts of one process."""

    def __init__(self) -> None:
        self._dialled: dict[str, SSLContext] = {}  # by the file of authorities
        self._accepted: dict[TlsKeys, SSLContext] = {}
        self._certificates: dict[TlsKeys, CertificateFacts] = {}

    def load_authorities(self, path: str) -> None:
        """Read the authorities in a file, or the system's if that is empty, for dials from now on.
        Blocks. Raises OSError, and ValueError: there are none in it; those before are kept then."""
        from core.io.tls_layer import dialled_context

        self._dialled[path] = dialled_context(path)

    @property
    def authorities(self) -> list[str]:
        """The files of authorities that have been read; an empty one stands for the system's."""
        return list(self._dialled)

    def keep_authorities(self, paths: Collection[str]) -> None:
        """Forget all authorities but those in these files."""
        for path in set(self._dialled).difference(paths):
            del self._dialled[path]

    def load_keys(self, keys: TlsKeys) -> CertificateFacts:
        """Read a certificate and its key, which are shown from now on; return what it says. Blocks.
        Raises OSError, and ValueError: they are of no use; those before are kept then."""
        from core.io.tls_layer import accepted_context, read_certificate

        context = accepted_context(keys)
        facts = read_certificate(context, keys)
        self._accepted[keys], self._certificates[keys] = context, facts
        return facts

    def certificate(self, keys: TlsKeys) -> CertificateFacts:
        """Return what the certificate says that was read last."""
        return self._certificates[keys]

    def secure_dialled(self, identity: ServerIdentity) -> SecureLayer:
        """Return the layer of a stream to this server, whose authorities have been read."""
        from core.io.tls_layer import TlsLayer

        return TlsLayer(self._dialled[identity.authorities], identity.name)

    def secure_accepted(self, keys: TlsKeys) -> SecureLayer:
        """Return the layer of a stream that was accepted; the keys have been read."""
        from core.io.tls_layer import TlsLayer

        return TlsLayer(self._accepted[keys])
