#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Gives the Debian in $1, which has apache2-bin and apache2-dev, the places of the official image: httpd, apxs and
# apachectl in /usr/local/apache2/bin, modules and conf beside it.
set -eu
root=$1
home=$root/usr/local/apache2
mkdir -p "$home/bin" "$home/conf" "$home/htdocs" "$home/logs"
mv "$root/usr/lib/apache2/modules" "$home/modules"
ln -s /usr/local/apache2/modules "$root/usr/lib/apache2/modules"
ln -s /usr/bin/apxs "$home/bin/apxs"
ln -s /etc/mime.types "$home/conf/mime.types"
[ -e "$root/etc/mime.types" ] || : > "$root/etc/mime.types"
# Debian's program has other places compiled in.
cat > "$home/bin/httpd" <<'RUN'
#!/bin/sh
exec /usr/sbin/apache2 -d /usr/local/apache2 -f conf/httpd.conf "$@"
RUN
printf '#!/bin/sh\nexec httpd "$@"\n' > "$home/bin/apachectl"
printf '#!/bin/sh\nexec httpd -DFOREGROUND "$@"\n' > "$home/bin/httpd-foreground"
chmod 755 "$home"/bin/*
