// SPDX-License-Identifier: Apache-2.0
//! The configuration an admin writes: the directives that pass, and the errors for all others.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use openssl::pkey::Id;

use support::fleet::secret;
use support::tls::{Files, self_signed};
use support::{Config, Lab, apache, open_lab};

const BOOLEAN: &str = "unknown 'maybe', supported parameter values are 'on' and 'off'";
const IN_SECTION: &str = "is not allowed inside an '<MDomainSet' context";

/// Wrong directives, and a part of what httpd says about them. `JSON/x` is a file of [`JSON_FILES`].
const REFUSED: &[(&str, &str)] = &[
    ("MDomain", "needs at least one domain name"),
    ("MDomain manual", "needs at least one domain name"),
    ("<MDomain>\n</MDomain>", "section must specify a unique domain name"),
    ("<MDomainSet>\n</MDomainSet>", "section must specify a unique domain name"),
    ("<MDomain one.test\n</MDomain>", "directive missing closing '>'"),
    ("<MDomain one.test>", "<MDomain> was not closed"),
    ("<MDomain one.test>\n<MDomain two.test>\n</MDomain>\n</MDomain>", IN_SECTION),
    (
        "<MDomain one.test>\nMDomain two.test\n</MDomain>",
        "MDomain is not allowed inside an '<MDomainSet' context",
    ),
    ("<Directory />\nMDomain one.test\n</Directory>", "not allowed in <Directory> context"),
    ("MDMember one.test", "unknown value, use \"auto|manual\""),
    ("MDMembers one.test", "unknown value, use \"auto|manual\""),
    ("MDMembers", "MDMembers is only valid inside a '<MDomainSet' context, not here"),
    ("MDMember", "MDMember is only valid inside a '<MDomainSet' context, not here"),
    ("MDBaseServer", "MDBaseServer takes one argument"),
    ("MDBaseServer on off", "MDBaseServer takes one argument"),
    ("MDBaseServer maybe", BOOLEAN),
    ("<MDomain one.test>\nMDBaseServer on\n</MDomain>", IN_SECTION),
    ("MDMatchNames", "MDMatchNames takes one argument"),
    ("MDMatchNames some", "invalid argument, must be a 'all' or 'servernames'"),
    ("<MDomain one.test>\nMDMatchNames all\n</MDomain>", IN_SECTION),
    ("MDStoreDir", "MDStoreDir takes one argument"),
    ("MDStoreDir a b", "MDStoreDir takes one argument"),
    ("<MDomain one.test>\nMDStoreDir x\n</MDomain>", IN_SECTION),
    ("MDStoreLocks", "MDStoreLocks takes one argument"),
    ("MDStoreLocks maybe", "neither 'on', 'off' or a duration specified"),
    ("<MDomain one.test>\nMDStoreLocks on\n</MDomain>", IN_SECTION),
    (
        "MDCertificateAuthority nonsense",
        "The CA name 'nonsense' is not known and it is not a URL either (missing uri scheme). Known CA names are: LetsEncrypt",
    ),
    (
        "MDCertificateAuthority LetsEncrypt nonsense",
        "The CA name 'nonsense' is not known and it is not a URL either (missing uri scheme). Known CA names are: LetsEncrypt",
    ),
    ("MDCertificateProtocol", "MDCertificateProtocol takes one argument"),
    ("MDCertificateAgreement", "MDCertificateAgreement takes one argument"),
    ("MDContactEmail", "MDContactEmail takes one argument"),
    ("MDContactEmail a@x.test b@x.test", "MDContactEmail takes one argument"),
    ("MDExternalAccountBinding", "MDExternalAccountBinding takes 1-2 arguments"),
    ("MDExternalAccountBinding a b c", "MDExternalAccountBinding takes 1-2 arguments"),
    ("MDExternalAccountBinding JSON/absent", "file not found: "),
    ("MDExternalAccountBinding JSON/garbage", "error reading JSON file "),
    ("MDExternalAccountBinding JSON/no-kid", "JSON does not contain 'kid' element in file "),
    ("MDExternalAccountBinding JSON/no-hmac", "JSON does not contain 'hmac' element in file "),
    ("MDChallengeDns01Version", "MDChallengeDns01Version takes one argument"),
    ("MDChallengeDns01Version 3", "Only versions `1` and `2` are supported"),
    ("<MDomain one.test>\nMDChallengeDns01Version 1\n</MDomain>", IN_SECTION),
    ("MDPrivateKeys", "needs to specify the private key type"),
    ("MDPrivateKeys Default RSA", "'Default' allows no other parameter"),
    ("MDPrivateKeys RSA 1024", "must be 2048 or higher in order to be considered safe."),
    ("MDPrivateKeys RSA 2047", "must be 2048 or higher in order to be considered safe."),
    ("MDPrivateKeys rsa1024", "must be 2048 or higher in order to be considered safe."),
    ("MDPrivateKeys RSA2048 rsa3072", "two keys of type 'RSA' are not possible."),
    ("MDPrivateKeys P-256 P-256", "two keys of type 'P-256' are not possible."),
    ("MDPrivateKeys P-256 p-256", "two keys of type 'p-256' are not possible."),
    ("MDPrivateKeys secp384r1 secp384r1", "two keys of type 'secp384r1' are not possible."),
    ("MDCertificateFile x", "MDCertificateFile is only valid inside a '<MDomainSet' context, not here"),
    ("MDCertificateKeyFile x", "MDCertificateKeyFile is only valid inside a '<MDomainSet' context, not here"),
    ("<MDomain one.test>\nMDCertificateFile\n</MDomain>", "MDCertificateFile takes one argument"),
    ("<MDomain one.test>\nMDCertificateFile a b\n</MDomain>", "MDCertificateFile takes one argument"),
    ("MDRenewMode", "MDRenewMode takes one argument"),
    ("MDRenewMode sometimes", "Mode sometimes"),
    ("MDDriveMode sometimes", "unknown MDDriveMode sometimes"),
    ("MDRenewWindow", "MDRenewWindow takes one argument"),
    ("MDRenewWindow 33 %", "MDRenewWindow takes one argument"),
    ("MDRenewWindow long", "MDRenewWindow has unrecognized format"),
    ("MDRenewWindow 10x", "MDRenewWindow has unrecognized format"),
    ("MDRenewWindow 100%", "MDRenewWindow a length of 100% or more is not allowed."),
    ("MDRenewWindow 250%", "MDRenewWindow a length of 100% or more is not allowed."),
    ("MDWarnWindow long", "MDWarnWindow has unrecognized format"),
    ("MDWarnWindow 100%", "MDWarnWindow a length of 100% or more is not allowed."),
    ("MDRenewViaARI", "MDRenewViaARI takes one argument"),
    ("MDRenewViaARI maybe", BOOLEAN),
    ("MDProfile", "MDProfile takes one argument"),
    ("MDProfile a b", "MDProfile takes one argument"),
    ("MDProfileMandatory maybe", BOOLEAN),
    ("MDMustStaple", "MDMustStaple takes one argument"),
    ("MDMustStaple maybe", BOOLEAN),
    ("MDStapling maybe", BOOLEAN),
    ("MDStapleOthers", "MDStapleOthers takes one argument"),
    ("MDStapleOthers maybe", BOOLEAN),
    ("MDStaplingKeepResponse long", "MDStaplingKeepResponse has unrecognized format"),
    ("MDStaplingRenewWindow long", "MDStaplingRenewWindow has unrecognized format"),
    ("MDStaplingRenewWindow 100%", "MDStaplingRenewWindow with a length of 100% or more is not allowed."),
    ("MDRequireHttps", "MDRequireHttps takes one argument"),
    ("MDRequireHttps on", "unknown 'on', supported parameter values are 'temporary' and 'permanent'"),
    (
        "<Directory />\nMDRequireHttps temporary\n</Directory>",
        "MDRequireHttps cannot occur within <Directory> section",
    ),
    (
        "<Location />\nMDRequireHttps temporary\n</Location>",
        "MDRequireHttps cannot occur within <Location> section",
    ),
    ("MDPortMap", "MDPortMap takes 1-2 arguments"),
    ("MDPortMap http:1 https:2 80:3", "MDPortMap takes 1-2 arguments"),
    ("MDPortMap 80", "no ':' after first port number"),
    ("MDPortMap ftp:80", "no ':' after first port number"),
    ("MDPortMap http:x", "invalid number for port map, must be in ]0,65535]"),
    ("MDPortMap http:0", "invalid number for port map, must be in ]0,65535]"),
    ("MDPortMap http:70000", "invalid number for port map, must be in ]0,65535]"),
    ("MDPortMap 81:80", "mapped port number must be 80 or 443"),
    ("<MDomain one.test>\nMDPortMap http:81\n</MDomain>", IN_SECTION),
    ("MDHttpProxy", "MDHttpProxy takes one argument"),
    ("MDHttpProxy proxy.test", "missing uri scheme"),
    ("MDHttpProxy ftp://proxy.test/", "uri scheme must be http or https"),
    ("MDHttpProxy http://proxy.test:0", "invalid port"),
    ("MDHttpProxyCACertificateFile", "MDHttpProxyCACertificateFile takes one argument"),
    ("MDCACertificateFile", "MDCACertificateFile takes one argument"),
    ("<MDomain one.test>\nMDNotifyCmd x\n</MDomain>", IN_SECTION),
    ("<MDomain one.test>\nMDMessageCmd x\n</MDomain>", IN_SECTION),
    ("MDRetryDelay", "MDRetryDelay takes one argument"),
    ("MDRetryDelay long", "unrecognized duration format"),
    ("MDRetryDelay 0", "minimum delay must be greater than 0"),
    ("MDRetryDelay -1s", "minimum delay must be greater than 0"),
    ("<MDomain one.test>\nMDRetryDelay 5s\n</MDomain>", IN_SECTION),
    ("MDRetryFailover", "MDRetryFailover takes one argument"),
    ("MDRetryFailover 0", "invalid argument, must be a number > 0"),
    ("MDRetryFailover many", "invalid argument, must be a number > 0"),
    ("<MDomain one.test>\nMDRetryFailover 5\n</MDomain>", IN_SECTION),
    ("MDInitialDelay long", "unrecognized duration format"),
    ("MDInitialDelay -1", "initial delay must not be negative"),
    ("<MDomain one.test>\nMDInitialDelay 5\n</MDomain>", IN_SECTION),
    ("MDCheckInterval long", "unrecognized duration format"),
    ("MDCheckInterval 0", "check interval cannot be less than one second"),
    ("MDCheckInterval 500ms", "check interval cannot be less than one second"),
    ("<MDomain one.test>\nMDCheckInterval 5s\n</MDomain>", IN_SECTION),
    ("MDActivationDelay long", "unrecognized duration format"),
    ("<MDomain one.test>\nMDActivationDelay 5s\n</MDomain>", IN_SECTION),
    ("MDServerStatus", "MDServerStatus takes one argument"),
    ("MDServerStatus maybe", BOOLEAN),
    ("MDCertificateStatus maybe", BOOLEAN),
    ("MDCertificateCheck", "MDCertificateCheck takes two arguments"),
    ("MDCertificateCheck name", "MDCertificateCheck takes two arguments"),
    ("MDCertificateCheck name https://x.test/ more", "MDCertificateCheck takes two arguments"),
];

/// The same for what the C module accepts or does not know.
const REFUSED_BY_OURS: &[(&str, &str)] = &[
    (
        "MDChallengeDns01 rfc2136 ns.test",
        "an argument is missing. Write: MDChallengeDns01 rfc2136 SERVER[:PORT]",
    ),
    ("MDChallengeDns01 rfc2136 ::1 key", "'::1' is not a server: it has the form HOST, HOST:PORT or"),
    ("MDChallengeDns01 rfc2136 ns.test key zone=a..b", "zone=: 'a..b' is not a domain name"),
    ("MDChallengeDns01 rfc2136 ns.test key ttl=86401", "ttl=86401 is not a number from 0 to 86400"),
    ("MDChallengeDns01 rfc2136 ns.test key size=1", "'size=' is not known. Write: MDChallengeDns01 rfc2136"),
    ("MDChallengeDns01 acme-dns auth.test", "auth.test cannot be used: the scheme is not http or https"),
    ("MDChallengeDns01 responder now", "'now' is one argument too many"),
    (
        "MDChallengeDns01 hook:lgeo /x",
        "'hook:lgeo' is not known: MDChallengeDns01 has hook:lego, hook:dehydrated",
    ),
    ("MDChallengeDns01 hook:certbot /x", "Write: MDChallengeDns01 hook:certbot AUTH_PROGRAM CLEANUP_PROGRAM"),
    ("MDChallengeDns01 hook:httpreq https://u:pw@x.test", "the URL cannot be used: it must not have a user"),
    ("MDDnsPropagation", "a duration is missing. Write: MDDnsPropagation off|DURATION"),
    ("MDDnsPropagation 0", "MDDnsPropagation must be 'off', or one second or more"),
    ("MDDnsListen 127.0.0.1", "'127.0.0.1' is no address with a port. Write: MDDnsListen ADDRESS:PORT"),
    ("MDDnsListen [::1]:53 [::1]:53", "MDDnsListen has the address [::1]:53 twice"),
    ("MDDnsZone a.test ns.a.test", "the name server ns.a.test is inside the zone a.test"),
    ("MDDnsZone a/b", "'a/b' is not a domain name: it contains a character"),
    (
        "<MDomain a.test>\nMDDnsZone b.test\n</MDomain>",
        "MDDnsZone is not allowed inside an '<MDomainSet' context",
    ),
    ("MDPrivateKeys P-256 secp256r1", "two keys of type 'secp256r1' are not possible."),
    ("MDPrivateKeys P-256 prime256v1", "two keys of type 'prime256v1' are not possible."),
    ("MDRenewWindow -5d", "MDRenewWindow has unrecognized format"),
    ("MDRenewWindow 33%%", "MDRenewWindow has unrecognized format"),
    ("MDWarnWindow -1", "MDWarnWindow has unrecognized format"),
    ("MDStaplingKeepResponse -7d", "MDStaplingKeepResponse has unrecognized format"),
    ("MDActivationDelay -1", "activation delay must not be negative"),
    ("MDStoreLocks -5s", "neither 'on', 'off' or a duration specified"),
    ("MDRetryFailover 3x", "invalid argument, must be a number > 0"),
    ("MDPortMap 80:80x", "invalid number for port map, must be in ]0,65535]"),
    ("MDHttpProxy http://", "missing hostname"),
    ("MDHttpProxy http://proxy.test:70000", "invalid port"),
    ("MDCertificateAuthority http://", "is not a URL either (missing hostname)"),
    ("MDCertificateAuthority https://ca.test:70000/dir", "is not a URL either (invalid port)"),
    ("MDPrivateKeys RSA 20000", "RSA keys of 20000 bits are not possible, the maximum is 16384."),
    ("<MDomain auto>\n</MDomain>", "<MDomain> section must specify a unique domain name"),
    ("MDomain ../one.test", "../one.test"),
    ("MDomain a/b.test", "a/b.test"),
    ("MDomain one..test", "one..test"),
    ("MDLiveActivation", "MDLiveActivation takes one argument"),
    ("MDLiveActivation maybe", BOOLEAN),
    ("<MDomain one.test>\nMDLiveActivation on\n</MDomain>", IN_SECTION),
    ("MDRenewParallel", "MDRenewParallel takes one argument"),
    ("MDChallengeDns01Timeout", "MDChallengeDns01Timeout takes one argument"),
    ("MDChallengeDns01Timeout 0", "MDChallengeDns01Timeout must be one second or more"),
    ("MDRenewParallel 0", "MDRenewParallel must be a number > 0"),
    ("<MDomain one.test>\nMDRenewParallel 2\n</MDomain>", IN_SECTION),
    ("MDAccountKey", "MDAccountKey takes 1-2 arguments"),
    ("MDAccountKey RSA 1024", "'RSA 1024' is no type of account key. There are RSA 2048 to RSA 8192, P-256"),
    ("MDAccountKey P-192", "'P-192' is no type of account key"),
    ("MDFleet", "a URL is missing. Write: MDFleet SCHEME://HOST"),
    ("MDFleet http://a.test", "the scheme of a URL is not known. Write: MDFleet SCHEME://HOST"),
    ("MDFleet redis://user:pw@a.test", "write 'MDFleetUser USER FILE' instead"),
    ("MDFleet redis://a.test/0", "the prefix '0' of MDFleet is the number of a database"),
    ("MDFleet etcd://a etcds://b", "URLs with etcd:// and with etcds://: all are of one engine"),
    ("MDFleet etcd://a/x etcd://b/y", "the prefix 'x' and with 'y': write the same one at all"),
    ("MDFleet etcd://a", "MDFleet needs the secret that all nodes share"),
    ("MDFleetNode a\nMDFleetNode b", "MDFleetNode stands at "),
    ("MDFleetUser a", "MDFleetUser takes two arguments"),
    (
        "<MDomain a.test>\nMDFleet etcd://a\n</MDomain>",
        "MDFleet is not allowed inside an '<MDomainSet' context",
    ),
];

const JSON_FILES: &[(&str, &str)] = &[
    ("garbage", "{"),
    ("no-kid", r#"{"hmac":"aG1hYw"}"#),
    ("no-hmac", r#"{"kid":"k"}"#),
    ("good", r#"{"kid":"k","hmac":"aG1hYw"}"#),
];

/// Everything at once, each directive in each of its forms and places.
const ACCEPTED: &str = r#"
MDomain one.test
MDomain two.test www.two.test manual
MDomain THREE.test *.three.test three.test auto
<MDomain four.test>
</MDomain>
<MDomainSet "five.test" www.five.test manual>
MDMember mail.five.test
MDMembers a.five.test b.five.test
MDMembers auto
</MDomainSet>
MDMembers manual
MDMember auto
MDBaseServer on
MDBaseServer off
MDMatchNames all
MDMatchNames servernames
MDStoreDir md
MDStoreLocks on
MDStoreLocks off
MDStoreLocks 10s
MDCertificateAuthority LetsEncrypt
MDCertificateAuthority letsencrypt-test
MDCertificateAuthority Buypass BUYPASS-TEST
MDCertificateAuthority https://ca.test/dir LetsEncrypt
MDCertificateProtocol ACME
MDCertificateAgreement accepted
MDCertificateAgreement https://ca.test/terms
MDContactEmail admin@example.test
MDContactEmail mailto:admin@example.test
MDExternalAccountBinding kid aG1hYw
MDExternalAccountBinding JSON/good
MDExternalAccountBinding none
MDCAChallenges http-01
MDCAChallenges tls-alpn-01 http-01 dns-01
MDChallengeDns01 /usr/bin/dns "with spaces" more
MDChallengeDns01Version 1
MDChallengeDns01Version 2
MDPrivateKeys Default
MDPrivateKeys RSA
MDPrivateKeys RSA 3072
MDPrivateKeys rsa4096
MDPrivateKeys secp384r1 rsa3072
MDPrivateKeys P-256 RSA
MDPrivateKeys P-384 P-256
MDRenewMode auto
MDRenewMode always
MDRenewMode manual
MDDriveMode automatic
MDDriveMode stick
MDRenewWindow 33%
MDRenewWindow 30d
MDRenewWindow 720h
MDRenewWindow 21
MDRenewWindow +30d
MDRenewWindow %
MDRenewWindow " +33%"
MDWarnWindow +10d
MDStaplingRenewWindow %
MDStaplingKeepResponse +7d
MDRetryDelay +5s
MDCheckInterval " 12h"
MDInitialDelay +0
MDActivationDelay +5d
MDStoreLocks +5s
MDRetryFailover " +13"
MDWarnWindow 10%
MDWarnWindow 3D
MDRenewViaARI on
MDRenewViaARI OFF
MDProfile shortlived
MDProfileMandatory on
MDMustStaple off
MDStapling on
MDStapleOthers off
MDStaplingKeepResponse 7d
MDStaplingRenewWindow 33%
MDRequireHttps off
MDRequireHttps permanent
MDRequireHTTPS temporary
mdrequirehttps off
MDPortMap http:8080
MDPortMap 80:- 443:8443
MDPortMap http:- https:-
MDHttpProxy http://proxy.test:3128
MDHttpProxy https://proxy.test
MDHttpProxyCACertificateFile none
MDCACertificateFile none
MDNotifyCmd /usr/bin/notify a b
MDMessageCmd /usr/bin/message "a b"
MDRetryDelay 5
MDRetryDelay 90mi
MDRetryFailover 3
MDInitialDelay 0
MDInitialDelay 10s
MDCheckInterval 1s
MDCheckInterval 12h
MDActivationDelay 2
MDActivationDelay 36h
MDServerStatus off
MDServerStatus on
MDCertificateStatus off
MDCertificateStatus on
MDCertificateCheck crt.sh https://crt.test/?q=
<MDomain six.test>
MDCertificateAuthority https://ca.test/dir
MDCertificateProtocol ACME
MDCertificateAgreement accepted
MDContactEmail admin@example.test
MDExternalAccountBinding kid aG1hYw
MDCAChallenges dns-01
MDChallengeDns01 /usr/bin/dns
MDPrivateKeys P-256 RSA
MDRenewMode always
MDRenewWindow 14d
MDWarnWindow 3d
MDRenewViaARI off
MDProfile shortlived
MDProfileMandatory on
MDMustStaple on
MDStapling on
MDRequireHttps permanent
MDHttpProxy http://proxy.test:1
MDHttpProxyCACertificateFile none
MDCACertificateFile none
</MDomain>
<MDomain seven.test>
MDCertificateFile one.pem
MDCertificateKeyFile one.key
MDCertificateFile two.pem
MDCertificateKeyFile two.key
</MDomain>
<VirtualHost *:80>
ServerName one.test
MDRequireHttps temporary
MDStapleOthers on
MDRenewWindow 10%
MDContactEmail other@example.test
MDPrivateKeys P-256
<If "true">
MDRequireHttps off
</If>
</VirtualHost>
<IfModule !md_module>
NotADirective md_module
</IfModule>
<IfModule !mod_md.c>
NotADirective mod_md.c
</IfModule>
"#;

const ACCEPTED_BY_OURS: &str = "
MDLiveActivation on
MDLiveActivation off
MDRenewParallel 1
MDChallengeDns01Timeout 300
<MDomain timeout.test>
MDChallengeDns01Timeout 20mi
</MDomain>
MDChallengeDns01 rfc2136 ns.example.test JSON/absent.key
MDChallengeDns01 rfc2136 [2001:db8::1]:5353 absent.key ttl=0 zone=example.test
MDChallengeDns01 acme-dns https://auth.example.test/
MDChallengeDns01 hook:dehydrated /usr/bin/hook
MDChallengeDns01 hook:certbot /usr/bin/auth '/usr/bin/clean up' env=absent
MDChallengeDns01 hook:acme.sh /opt/acme.sh/acme.sh dns_cf
MDChallengeDns01 hook:httpreq http://localhost:8080/ absent
MDChallengeDns01 responder
<MDomain hook.test>
MDChallengeDns01 hook:lego /usr/bin/hook env=absent
MDDnsPropagation 2mi 192.0.2.1 [2001:db8::1]:53 ns.example.test:5353
</MDomain>
MDDnsPropagation off
MDDnsPropagation 30
MDDnsListen 127.0.0.1:5353 [::1]:5353
MDDnsListen 127.0.0.1:5354
MDDnsZone acme.example.test ns.example.test ns2.example.test
MDDnsZone acme.example.org
MDFleetSecretFile absent other
MDFleetUser mod_md absent
MDFleetCACertificateFile absent.pem
MDFleetClientKeyFile absent.key
MDFleetClientCertificateFile absent.pem
MDFleetNode web1
MDAccountKey RSA
MDAccountKey RSA 2048
MDAccountKey P-384
<MDomain account.test>
MDAccountKey P-256
</MDomain>
MDRenewParallel 64
MDCertificateMonitor crt.sh https://crt.test/?q=
MDCertificateProtocol acme
MDHttpProxy http://[::1]:3128
MDCertificateAuthority ZeroSSL Google google-test
";

fn write_json_files(lab: &Lab) {
    fs::create_dir_all(lab.path("json")).unwrap();
    JSON_FILES.iter().for_each(|(name, content)| fs::write(lab.path("json").join(name), content).unwrap());
}

fn with_files(lab: &Lab, lines: &str) -> String {
    lines.replace("JSON", lab.path("json").to_str().unwrap())
}

#[track_caller]
fn assert_accepted(lab: &Lab, lines: &str) {
    write_json_files(lab);
    let (passed, said) = Config::new(lab).line(&with_files(lab, lines)).configtest();
    assert!(passed, "{said}");
}

/// What stands in README.md and docs/ between "```apache" and "```".
fn documented() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages =
        docs.chain([root.join("README.md")]).filter(|path| path.extension().is_some_and(|e| e == "md"));
    let blocks = |page: PathBuf| {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("```apache\n").skip(1).filter_map(|rest| rest.split_once("```"));
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        blocks.map(|(block, _)| (name.clone(), block.to_string())).collect::<Vec<_>>()
    };
    pages.flat_map(blocks).collect()
}

/// The folder with what `MDFleet` and the directives beside it name in the documentation.
fn files_of_a_fleet(lab: &Lab) -> PathBuf {
    let folder = lab.path("fleet-files");
    fs::create_dir_all(&folder).unwrap();
    self_signed("DNS:client", Id::EC, &folder.join("client.pem"), &folder.join("client.key"));
    fs::copy(folder.join("client.pem"), folder.join("engine-ca.pem")).unwrap();
    fs::write(folder.join("fleet.password"), "password").unwrap();
    for name in ["fleet.secret", "new.secret"] {
        fs::copy(secret(lab, name), folder.join(name)).unwrap();
    }
    for name in ["client.key", "fleet.password"] {
        fs::set_permissions(folder.join(name), Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

#[test]
fn every_configuration_in_the_documentation_passes() {
    let Some(lab) = open_lab!() else { return };
    let own = lab.path("letsencrypt/live/example.org");
    fs::create_dir_all(&own).unwrap();
    self_signed("DNS:example.org", Id::EC, &own.join("fullchain.pem"), &own.join("privkey.pem"));
    let fleet = files_of_a_fleet(&lab);
    let documented = documented();
    assert!(documented.iter().any(|(page, _)| page == "directives.md"));
    for (page, lines) in documented {
        let lines = lines.replace("/etc/letsencrypt", lab.path("letsencrypt").to_str().unwrap());
        let lines = lines.replace("/etc/mod_md", fleet.to_str().unwrap());
        let authz_host = apache::find().unwrap().load("authz_host");
        let (passed, said) = Config::new(&lab).line(&authz_host).line(&lines).configtest();
        assert!(passed, "{page}:\n{lines}\n{said}");
    }
}

/// Tries the rows on both processors and reports all that came out otherwise.
#[track_caller]
fn assert_refused(lab: &Lab, rows: &[(&str, &str)]) {
    write_json_files(lab);
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (part, rows) in rows.chunks(rows.len().div_ceil(2)).enumerate() {
            let (wrong, config) = (&wrong, Config::new(lab).root(&lab.path(format!("httpd-{part}"))));
            scope.spawn(move || {
                for (lines, expected) in rows {
                    let (passed, said) = config.clone().line(&with_files(lab, lines)).configtest();
                    if passed || !said.contains(expected) {
                        wrong
                            .lock()
                            .unwrap()
                            .push(format!("{lines:?}\n  expected: {expected}\n  said: {said}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn every_form_of_every_directive_passes() {
    let Some(lab) = open_lab!() else { return };
    assert_accepted(&lab, ACCEPTED);
}

#[test]
fn directives_of_ours_pass() {
    let Some(lab) = open_lab!() else { return };
    assert_accepted(&lab, ACCEPTED_BY_OURS);
}

#[test]
fn wrong_directives_are_refused_in_the_documented_words() {
    let Some(lab) = open_lab!() else { return };
    assert_refused(&lab, REFUSED);
}

#[test]
fn what_the_c_module_lets_pass_is_refused_by_ours() {
    let Some(lab) = open_lab!() else { return };
    assert_refused(&lab, REFUSED_BY_OURS);
}

/// What only shows when the configuration is complete: the start fails, and the log says why.
#[track_caller]
fn assert_start_fails(config: Config, expected: &[&str]) {
    let said = config.try_start().err().unwrap_or_else(|| panic!("httpd started"));
    expected.iter().for_each(|text| assert!(said.contains(text), "`{text}` in {said}"));
}

#[test]
fn domains_that_share_a_name_stop_the_start() {
    let Some(lab) = open_lab!() else { return };
    for (mds, shared) in [
        ("MDomain one.test b.test\nMDomain two.test B.test", "'b.test'"),
        ("MDomain *.one.test\nMDomain x.one.test", "'x.one.test'"),
    ] {
        let config = Config::new(&lab).line(mds).site("one.test", &[]);
        assert_start_fails(
            config.clone(),
            &["AH10038", "two Managed Domains have an overlap in domain", shared],
        );
        config.forget();
    }
}

#[test]
fn the_overlap_of_two_domains_is_told_with_the_file_and_line_of_both() {
    let Some(lab) = open_lab!() else { return };
    let config =
        Config::new(&lab).line("MDomain one.test b.test\nMDomain two.test b.test").site("one.test", &[]);
    let said = config.try_start().err().unwrap_or_default();
    let line =
        said.lines().find(|line| line.contains("AH10038")).unwrap_or_else(|| panic!("no AH10038 in {said}"));
    assert_eq!(line.matches("httpd.conf").count(), 2, "{line}");
}

#[test]
fn two_domains_for_one_tls_host_stop_the_start() {
    let Some(lab) = open_lab!() else { return };
    let told = "2 MDs match";
    let mds = "MDomain one.test\nMDomain two.test";
    let config = Config::new(&lab).line(mds).site("one.test", &["two.test"]);
    assert_start_fails(
        config,
        &["AH10238", told, "one.test which uses SSL, however there can be at most 1."],
    );
    let said = Config::new(&lab).line(mds).site("one.test", &["two.test"]).try_start().err().unwrap();
    // The log is that of both starts.
    assert_eq!(said.lines().filter(|line| line.contains("AH10238")).count(), 2, "{said}");
    // mod_ssl is content with a host that has a certificate, we are not.
    let own = Files::new(&lab, "one.test", Id::EC).directives();
    let host = format!(
        "<VirtualHost *:{}>\nServerName one.test\nServerAlias two.test\nSSLEngine on\n{own}\n</VirtualHost>",
        lab.https
    );
    assert_start_fails(Config::new(&lab).line(mds).line(&host), &["AH10042", told, "one.test"]);
}

#[test]
fn unpaired_static_files_stop_the_start() {
    let Some(lab) = open_lab!() else { return };
    let section = |lines: &str| {
        let lines = format!("<MDomain one.test>\n{lines}\n</MDomain>");
        Config::new(&lab).line(&lines).site("one.test", &[])
    };
    assert_start_fails(section("MDCertificateFile x"), &["AH10170", "one.test"]);
    assert_start_fails(section("MDCertificateKeyFile x"), &["AH10171", "one.test"]);
}

#[test]
fn an_unknown_protocol_stops_the_start() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab).line("MDomain one.test\nMDCertificateProtocol FOO").site("one.test", &[]);
    assert_start_fails(config, &["AH10172", "[one.test] uses unknown CA protocol 'FOO'"]);
}

#[test]
fn an_unknown_curve_stops_the_start() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab).line("MDomain one.test\nMDPrivateKeys RSA P-999").site("one.test", &[]);
    assert_start_fails(config, &["AH10174", "one.test", "P-999"]);
}

#[test]
fn a_ca_file_that_is_not_there_stops_the_start() {
    let Some(lab) = open_lab!() else { return };
    for directive in ["MDCACertificateFile", "MDHttpProxyCACertificateFile"] {
        let config = Config::new(&lab).line(&format!("MDomain one.test\n{directive} absent.pem"));
        let told = format!("{directive}: file not found: {}", lab.path("httpd/absent.pem").display());
        assert_start_fails(config.site("one.test", &[]), &[&told]);
    }
}

#[test]
fn configtest_tells_what_would_end_the_start_and_writes_nothing() {
    let Some(lab) = open_lab!() else { return };
    for (lines, told) in [
        ("MDomain one.test b.test\nMDomain two.test b.test", "AH10038"),
        ("<MDomain one.test>\nMDCertificateFile x\n</MDomain>", "AH10170"),
        ("<MDomain one.test>\nMDCertificateKeyFile x\n</MDomain>", "AH10171"),
        ("MDomain one.test\nMDCertificateProtocol FOO", "AH10172"),
        ("MDomain one.test\nMDPrivateKeys P-999", "AH10174"),
        ("MDomain one.test\nMDCACertificateFile absent.pem", "MDCACertificateFile: file not found"),
    ] {
        let config = Config::new(&lab).line(lines).site("one.test", &[]);
        let (passed, said) = config.configtest();
        assert!(!passed && said.contains(told), "{lines}: {said}");
        assert!(!config.store().exists(), "{lines}");
    }
}

#[test]
fn what_is_only_odd_does_not_stop_the_start() {
    let Some(lab) = open_lab!() else { return };
    let httpd = Config::new(&lab)
        .line("MDRenewMode manual\nMDCertificateAuthority https://127.0.0.1:1/dir")
        .line("MDomain one.test\nMDomain two.test\nMDomain unused.test\nMDomain one.one.test")
        .line("<MDomain always.test>\nMDRenewMode always\n</MDomain>")
        .line("<MDomain plain.test>\nMDRequireHttps temporary\n</MDomain>")
        .line(&format!("<VirtualHost *:{}>\nServerName main.test\n</VirtualHost>", lab.http))
        // Without TLS nobody asks which certificate is meant.
        .line(&format!(
            "<VirtualHost *:{}>\nServerName plain.test\nServerAlias two.test\n</VirtualHost>",
            lab.http
        ))
        .site("one.test", &["one.one.example"])
        .site("one.one.test", &[])
        .start();
    for (number, told) in [
        ("AH10045", "AH10045: No VirtualHost matches Managed Domain unused.test"),
        (
            "AH10105",
            "AH10105: MD plain.test does not match any VirtualHost with 'SSLEngine on', but is configured to require https. \
             This cannot work.",
        ),
    ] {
        let lines = httpd.logged(number);
        assert!(!lines.is_empty() && lines.iter().all(|line| line.contains(told)), "{number}: {lines:?}");
    }
    assert!(httpd.logged(":error]").is_empty(), "{:?}", httpd.logged(":error]"));
}

#[track_caller]
fn assert_told_at_start(config: Config, number: &str, of: &str) {
    let httpd = config.start();
    let lines = httpd.logged(number);
    assert!(lines.iter().any(|line| line.contains(of)), "{number} of {of} in {}", httpd.log());
}

#[test]
fn a_domain_without_a_host_is_told_at_the_start() {
    let Some(lab) = open_lab!() else { return };
    assert_told_at_start(Config::new(&lab).line("MDomain one.test"), "AH10045", "one.test");
}

#[test]
fn required_https_without_a_tls_host_is_told_at_the_start() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab).line("MDomain one.test\nMDRequireHttps temporary");
    assert_told_at_start(config, "AH10105", "one.test");
}

#[test]
fn a_name_of_the_host_that_a_manual_domain_lacks_is_told_at_the_start() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab)
        .line("MDomain one.test manual\nMDRenewMode manual")
        .site("one.test", &["www.one.test"]);
    assert_told_at_start(config, "AH10040", "www.one.test");
}

#[test]
fn a_domain_that_no_challenge_can_reach_is_told_at_the_start() {
    let Some(lab) = open_lab!() else { return };
    let ca = "MDCertificateAuthority https://127.0.0.1:1/dir\nMDCertificateAgreement accepted";
    let config =
        Config::new(&lab).line(ca).line("MDomain one.test\nMDPortMap http:- https:-").site("one.test", &[]);
    assert_told_at_start(
        config,
        "AH10173",
        "None of the ACME challenge methods configured for this domain are suitable.",
    );
}
