#!/bin/sh
# Deploy hook of certbot: put a certificate that was renewed where photofinish may read it, and have
# it read. A file that is of no use changes nothing, and is a line in the log. operations.md, "A
# certificate", installs it.
#
# certbot's own files are root's alone; members of the group may read these.
set -eu
umask 077
to=/etc/photofinish/tls
install -d -m 750 -g photofinish-tls "$to"
for part in fullchain privkey; do
    install -m 640 -g photofinish-tls "$RENEWED_LINEAGE/$part.pem" "$to/$part.pem"
done
systemctl try-reload-or-restart photofinish-dns.service
