# SPDX-License-Identifier: Apache-2.0
# What the reader of a page with the state `site` has: our package, and a site that it keeps a certificate for.
apt-get install -y -qq curl openssl ./libapache2-mod-md3_*.deb
a2enmod -q ssl md3
mkdir -p /var/www/example.org
echo 'This is example.org' > /var/www/example.org/index.html
cat > /etc/apache2/sites-available/example.org.conf <<'CONF'
MDCertificateAuthority https://production.ca.test:14100/dir
MDCertificateAgreement accepted
MDContactEmail admin@example.org
MDomain example.org www.example.org

<VirtualHost *:443>
    ServerName example.org
    ServerAlias www.example.org
    DocumentRoot /var/www/example.org
    SSLEngine on
</VirtualHost>
CONF
a2ensite -q example.org
service apache2 restart
for try in $(seq 200); do
    ! curl -sf https://www.example.org/ || break
    sleep 0.3
done
curl -sf https://www.example.org/
