// SPDX-License-Identifier: Apache-2.0
//! The directives: one row each, the only place that knows a directive's name, help text, arguments,
//! places and parser. httpd's command table, docs/directives.md and the tests are made from it; its order is
//! that of the documentation. The prose of a directive is `directives/NAME.md`; spellings that are
//! the `same_as` another directive share its prose.

use super::fleet::lines as fleet;
use super::row::row;
use super::value::{
    count, dns01_version, duration, match_names, on_off, partial_window, path, path_or_none, port_map,
    renew_mode, require_https, set, stapling_window, store_locks, text, window, words,
};
use super::{Error, MdSection, Scope, authority, binding, dns_service, dns01, domain, key};
use crate::time::DAY;
use std::time::Duration;

pub use super::row::{Args, Parse, Places, Row, Unset};

use Args::{Many, One, OneOrTwo, Raw, Section, Two};
use Places::{Global, Md, Server, ServerMdIf, ServerOrMd};
use Unset::{As, Described};

const SECOND: Duration = Duration::from_secs(1);

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row(c"MDomain", Many, Server, Some("domains"),
        c"A managed domain: names that share certificates. The first name identifies it.",
        domain::single)
        .takes("NAME… [auto|manual]")
        .prose(include_str!("directives/MDomain.md")),
    row(c"<MDomain", Section, Server, Some("domains"),
        c"Container for directives that apply to one managed domain.",
        domain::open_section)
        .takes("NAME… [auto|manual]")
        .prose(include_str!("directives/MDomain-section.md")),
    row(c"<MDomainSet", Section, Server, Some("domains"),
        c"Container for directives that apply to one managed domain.",
        domain::open_section)
        .same_as("<MDomain"),
    row(c"MDMember", Many, ServerOrMd, Some("transitive"),
        c"More names of a managed domain, or 'auto' or 'manual': whether names of matching hosts are added.",
        domain::members)
        .same_as("MDMembers"),
    row(c"MDMembers", Many, ServerOrMd, Some("transitive"),
        c"More names of a managed domain, or 'auto' or 'manual': whether names of matching hosts are added.",
        domain::members)
        .takes("NAME…|auto|manual").unset(As("auto"))
        .prose(include_str!("directives/MDMembers.md")),
    row(c"MDBaseServer", One, Global, None,
        c"Allow managing of base server outside virtual hosts.",
        |s, a| set(&mut s.server.globals.base_server, on_off(a)))
        .takes("on|off").unset(As("off"))
        .prose(include_str!("directives/MDBaseServer.md")),
    row(c"MDMatchNames", One, Global, None,
        c"Determines how DNS names are matched to vhosts.",
        |s, a| set(&mut s.server.globals.match_names, match_names(a)))
        .takes("all|servernames").unset(As("all"))
        .prose(include_str!("directives/MDMatchNames.md")),
    row(c"MDRequireHttps", One, ServerMdIf, Some("require-https"),
        c"Redirect non-secure requests to the https: equivalent.",
        require_https)
        .takes("off|temporary|permanent").unset(As("off"))
        .prose(include_str!("directives/MDRequireHttps.md")),

    row(c"MDCertificateAuthority", Many, ServerOrMd, Some("ca.urls"),
        c"URLs or known names of the CAs to use, in order of preference.",
        |s, a| set(&mut s.settings().ca_urls, authority::authorities(a)))
        .takes("NAME|URL…").unset(As("LetsEncrypt"))
        .prose(include_str!("directives/MDCertificateAuthority.md")),
    row(c"MDCertificateProtocol", One, ServerOrMd, Some("ca.proto"),
        c"Protocol used to obtain/renew certificates",
        |s, a| set(&mut s.settings().ca_proto, text(a)))
        .takes("ACME").unset(As("ACME"))
        .prose(include_str!("directives/MDCertificateProtocol.md")),
    row(c"MDCertificateAgreement", One, ServerOrMd, Some("ca.agreement"),
        c"either 'accepted' or the URL of CA Terms-of-Service agreement you accept",
        |s, a| set(&mut s.settings().ca_agreement, text(a)))
        .takes("accepted|URL")
        .prose(include_str!("directives/MDCertificateAgreement.md")),
    row(c"MDContactEmail", One, ServerOrMd, Some("contacts"),
        c"Email address used for account registration",
        |s, a| set(&mut s.settings().contact, text(a).map(|t| authority::contact(&t))))
        .takes("ADDRESS").unset(Described("`ServerAdmin`, unless that is `you@example.com` or `[no address given]`"))
        .prose(include_str!("directives/MDContactEmail.md")),
    row(c"MDExternalAccountBinding", OneOrTwo, ServerOrMd, Some("eab"),
        c"Set the external account binding keyid and hmac values to use at CA",
        |s, a| { let value = binding::external_account(s.env, a); set(&mut s.settings().eab, value) })
        .takes("KID HMAC|FILE|none").unset(As("none"))
        .prose(include_str!("directives/MDExternalAccountBinding.md")),
    row(c"MDAccountKey", OneOrTwo, ServerOrMd, Some("ca.account-key"),
        c"Type of the private key of a new ACME account.",
        |s, a| set(&mut s.settings().account_key, key::account_key(a)))
        .takes("RSA [BITS]|P-256|P-384|P-521").unset(Described("`RSA 3072`")).ours()
        .prose(include_str!("directives/MDAccountKey.md")),
    row(c"MDHttpProxy", One, ServerOrMd, Some("proxy-url"),
        c"URL of the HTTP(S) proxy for connections to CAs and OCSP responders.",
        |s, a| set(&mut s.settings().proxy_url, authority::proxy_url(a)))
        .takes("URL")
        .prose(include_str!("directives/MDHttpProxy.md")),
    row(c"MDHttpProxyCACertificateFile", One, ServerOrMd, Some("proxy-ca-certs"),
        c"File with the CA certificates to verify the proxy with, or 'none'.",
        |s, a| { let value = path_or_none(s.env, a); set(&mut s.settings().proxy_ca_certs, value) })
        .takes("FILE|none").unset(As("none"))
        .prose(include_str!("directives/MDHttpProxyCACertificateFile.md")),
    row(c"MDCACertificateFile", One, ServerOrMd, Some("ca-certs"),
        c"File with more CA certificates to verify the CA's server with, or 'none'.",
        |s, a| { let value = path_or_none(s.env, a); set(&mut s.settings().ca_certs, value) })
        .takes("FILE|none").unset(As("none"))
        .prose(include_str!("directives/MDCACertificateFile.md")),

    row(c"MDCAChallenges", Many, ServerOrMd, Some("ca.challenges"),
        c"Types of challenges to use, in order of preference.",
        |s, a| set(&mut s.settings().challenges, words(a)))
        .takes("TYPE…").unset(Described("the first type that works for a name"))
        .prose(include_str!("directives/MDCAChallenges.md")),
    row(c"MDChallengeDns01", Raw, ServerOrMd, Some("cmd-dns-01"),
        c"How TXT records of dns-01 challenges are set up and removed: a way known by its first word, or a command.",
        |s, a| { let value = dns01::way(s.env, a); set(&mut s.settings().dns01, value) })
        .takes("rfc2136 …|acme-dns URL|responder|hook:KIND …|COMMAND…")
        .prose(include_str!("directives/MDChallengeDns01.md")),
    row(c"MDChallengeDns01Version", One, Global, None,
        c"Set the type of arguments to call `MDChallengeDns01` with",
        |s, a| set(&mut s.server.globals.dns01_version, dns01_version(a)))
        .takes("1|2").unset(As("1"))
        .prose(include_str!("directives/MDChallengeDns01Version.md")),
    row(c"MDChallengeDns01Timeout", One, ServerOrMd, None,
        c"Time length that one call of MDChallengeDns01 may take (defaults to seconds).",
        |s, a| {
            let limit = duration(a, SECOND, 1000, "MDChallengeDns01Timeout must be one second or more");
            set(&mut s.settings().dns01_timeout, limit)
        })
        .takes("DURATION").unset(As("600s")).ours()
        .prose(include_str!("directives/MDChallengeDns01Timeout.md")),
    row(c"MDDnsPropagation", Many, ServerOrMd, None,
        c"Time length to wait until all name servers have the record of a dns-01 challenge (defaults to seconds).",
        |s, a| set(&mut s.settings().dns01_propagation, dns01::propagation(a)))
        .takes("off|DURATION [SERVER…]").unset(As("60s")).ours()
        .prose(include_str!("directives/MDDnsPropagation.md")),
    row(c"MDDnsListen", Many, Global, None,
        c"Addresses and ports at which httpd answers DNS questions for MDDnsZone.",
        |s, a| dns_service::listen(s.server, a))
        .takes("ADDRESS:PORT…").ours()
        .prose(include_str!("directives/MDDnsListen.md")),
    row(c"MDDnsZone", Many, Global, None,
        c"Zone that httpd answers DNS questions for, and the names of its name servers.",
        |s, a| dns_service::zone(s.server, a))
        .takes("ZONE [NSHOST…]").ours()
        .prose(include_str!("directives/MDDnsZone.md")),
    row(c"MDPortMap", OneOrTwo, Global, None,
        c"Declare the mapped ports 80 and 443 on the local server. E.g. 80:8000 to indicate that the server port 8000 is reachable as port 80 from the internet. Use 80:- to indicate that port 80 is not reachable from the outside.",
        port_map)
        .takes("PUBLIC:LOCAL [PUBLIC:LOCAL]").unset(As("http:80 https:443"))
        .prose(include_str!("directives/MDPortMap.md")),

    row(c"MDPrivateKeys", Many, ServerOrMd, Some("privkey"),
        c"Types and sizes of the private keys to generate, or 'Default'.",
        |s, a| set(&mut s.settings().key_specs, key::key_specs(a)))
        .takes("Default|KEY…").unset(As("Default"))
        .prose(include_str!("directives/MDPrivateKeys.md")),
    row(c"MDMustStaple", One, ServerOrMd, Some("must-staple"),
        c"On to request certificates with the OCSP must-staple extension.",
        |s, a| set(&mut s.settings().must_staple, on_off(a)))
        .takes("on|off").unset(As("off"))
        .prose(include_str!("directives/MDMustStaple.md")),
    row(c"MDProfile", One, ServerOrMd, Some("profile"),
        c"Name of the CA profile to order certificates with.",
        |s, a| set(&mut s.settings().profile, text(a)))
        .takes("NAME")
        .prose(include_str!("directives/MDProfile.md")),
    row(c"MDProfileMandatory", One, ServerOrMd, Some("profile-mandatory"),
        c"On to order no certificate if the CA does not offer the profile.",
        |s, a| set(&mut s.settings().profile_mandatory, on_off(a)))
        .takes("on|off").unset(As("off"))
        .prose(include_str!("directives/MDProfileMandatory.md")),
    row(c"MDCertificateFile", One, Md, Some("cert-files"),
        c"Certificate file to use for this managed domain instead of a certificate from a CA.",
        |s, a| push_file(s, a, |md| &mut md.cert_files))
        .takes("FILE")
        .prose(include_str!("directives/MDCertificateFile.md")),
    row(c"MDCertificateKeyFile", One, Md, Some("pkey-files"),
        c"Private key file that belongs to an MDCertificateFile.",
        |s, a| push_file(s, a, |md| &mut md.key_files))
        .takes("FILE")
        .prose(include_str!("directives/MDCertificateKeyFile.md")),

    row(c"MDRenewMode", One, ServerOrMd, Some("renew-mode"),
        c"Controls how renewal of Managed Domain certificates shall be handled.",
        |s, a| set(&mut s.settings().renew_mode, renew_mode("MDRenewMode", a)))
        .takes("auto|always|manual").unset(As("auto"))
        .prose(include_str!("directives/MDRenewMode.md")),
    row(c"MDDriveMode", One, ServerOrMd, Some("renew-mode"),
        c"Controls how renewal of Managed Domain certificates shall be handled.",
        |s, a| set(&mut s.settings().renew_mode, renew_mode("MDDriveMode", a)))
        .same_as("MDRenewMode"),
    row(c"MDRenewWindow", One, ServerOrMd, Some("renew-window"),
        c"Time length for renewal before certificate expires (defaults to days).",
        |s, a| { let value = partial_window(s.directive, a); set(&mut s.settings().renew_window, value) })
        .takes("WINDOW").unset(As("33%"))
        .prose(include_str!("directives/MDRenewWindow.md")),
    row(c"MDWarnWindow", One, ServerOrMd, Some("warn-window"),
        c"Time length before expiry in which to warn about a certificate that was not renewed (defaults to days).",
        |s, a| { let value = partial_window(s.directive, a); set(&mut s.settings().warn_window, value) })
        .takes("WINDOW").unset(As("10%"))
        .prose(include_str!("directives/MDWarnWindow.md")),
    row(c"MDRenewViaARI", One, ServerOrMd, Some("ari-renewals"),
        c"On to renew when the CA advises it (ACME Renewal Information, RFC 9773).",
        |s, a| set(&mut s.settings().ari_renewals, on_off(a)))
        .takes("on|off").unset(As("on"))
        .prose(include_str!("directives/MDRenewViaARI.md")),
    row(c"MDRetryDelay", One, Global, None,
        c"Time length to wait after a first error, doubled after each further one (defaults to seconds).",
        |s, a| set(&mut s.server.globals.retry_delay, duration(a, SECOND, 1, "minimum delay must be greater than 0")))
        .takes("DURATION").unset(As("30s"))
        .prose(include_str!("directives/MDRetryDelay.md")),
    row(c"MDRetryFailover", One, Global, None,
        c"Number of consecutive errors after which the next CA is used.",
        |s, a| set(&mut s.server.globals.retry_failover, count(a)))
        .takes("COUNT").unset(As("13"))
        .prose(include_str!("directives/MDRetryFailover.md")),
    row(c"MDRenewParallel", One, Global, None,
        c"Maximum number of renewals in progress at the same time.",
        |s, a| {
            let parallel = count(a).map_err(|_| Error::new("MDRenewParallel must be a number > 0"));
            set(&mut s.server.globals.renew_parallel, parallel)
        })
        .takes("COUNT").unset(As("16")).ours()
        .prose(include_str!("directives/MDRenewParallel.md")),
    row(c"MDInitialDelay", One, Global, None,
        c"Time length between the start and the first check of certificates (defaults to seconds).",
        |s, a| set(&mut s.server.globals.initial_delay, duration(a, SECOND, 0, "initial delay must not be negative")))
        .takes("DURATION").unset(As("0s"))
        .prose(include_str!("directives/MDInitialDelay.md")),
    row(c"MDCheckInterval", One, Global, None,
        c"Time length between checks of certificates (defaults to seconds).",
        |s, a| set(&mut s.server.globals.check_interval, duration(a, SECOND, 1000, "check interval cannot be less than one second")))
        .takes("DURATION").unset(As("12h"))
        .prose(include_str!("directives/MDCheckInterval.md")),

    row(c"MDActivationDelay", One, Global, None,
        c"How old a renewed certificate must be to be activated (defaults to days).",
        |s, a| set(&mut s.server.globals.activation_delay, duration(a, DAY, 0, "activation delay must not be negative")))
        .takes("DURATION").unset(As("0s"))
        .prose(include_str!("directives/MDActivationDelay.md")),
    row(c"MDLiveActivation", One, Global, None,
        c"On to activate renewed certificates without a restart.",
        |s, a| set(&mut s.server.globals.live_activation, on_off(a)))
        .takes("on|off").unset(As("on")).ours()
        .prose(include_str!("directives/MDLiveActivation.md")),
    row(c"MDStoreDir", One, Global, None,
        c"the directory for file system storage of managed domain data.",
        |s, a| set(&mut s.server.globals.store_dir, text(a)))
        .takes("FOLDER").unset(As("md"))
        .prose(include_str!("directives/MDStoreDir.md")),
    row(c"MDStoreLocks", One, Global, None,
        c"Lock the store while it is changed at start: 'on', 'off', or how long to wait for the lock.",
        |s, a| set(&mut s.server.globals.store_locks, store_locks(a)))
        .takes("on|off|DURATION").unset(As("off"))
        .prose(include_str!("directives/MDStoreLocks.md")),

    row(c"MDFleet", Many, Global, None,
        c"URLs of the coordination engine by which several httpds share their certificates.",
        fleet::engine)
        .takes("URL…").ours()
        .prose(include_str!("directives/MDFleet.md")),
    row(c"MDFleetSecretFile", OneOrTwo, Global, None,
        c"File with the secret of the fleet, and one with a second secret while they are exchanged.",
        fleet::secret_files)
        .takes("FILE [FILE]").ours()
        .prose(include_str!("directives/MDFleetSecretFile.md")),
    row(c"MDFleetUser", Two, Global, None,
        c"Name and file with the password to log in to the engine with.",
        fleet::user)
        .takes("USER FILE").ours()
        .prose(include_str!("directives/MDFleetUser.md")),
    row(c"MDFleetCACertificateFile", One, Global, None,
        c"File with the CA certificates to verify the engine with, instead of those of the system.",
        fleet::ca_file)
        .takes("FILE").ours()
        .prose(include_str!("directives/MDFleetCACertificateFile.md")),
    row(c"MDFleetClientCertificateFile", One, Global, None,
        c"File with the certificate that the engine is shown.",
        fleet::client_cert)
        .takes("FILE").ours()
        .prose(include_str!("directives/MDFleetClientCertificateFile.md")),
    row(c"MDFleetClientKeyFile", One, Global, None,
        c"File with the private key of MDFleetClientCertificateFile.",
        fleet::client_key)
        .takes("FILE").ours()
        .prose(include_str!("directives/MDFleetClientKeyFile.md")),
    row(c"MDFleetNode", One, Global, None,
        c"Name of this httpd among those of the fleet.",
        fleet::node)
        .takes("NAME").unset(Described("the name of the host")).ours()
        .prose(include_str!("directives/MDFleetNode.md")),

    row(c"MDStapling", One, ServerOrMd, Some("stapling"),
        c"On to staple OCSP responses for the certificates of managed domains.",
        |s, a| set(&mut s.settings().stapling, on_off(a)))
        .takes("on|off").unset(As("off"))
        .prose(include_str!("directives/MDStapling.md")),
    row(c"MDStapleOthers", One, ServerOrMd, None,
        c"On to staple for certificates outside of managed domains too.",
        |s, a| set(&mut s.server.host.staple_others, on_off(a)))
        .takes("on|off").unset(As("on"))
        .of_host()
        .prose(include_str!("directives/MDStapleOthers.md")),
    row(c"MDStaplingKeepResponse", One, ServerOrMd, None,
        c"How long an OCSP response that is not renewed is kept in the store (defaults to days).",
        |s, a| set(&mut s.server.host.staple_keep, window(s.directive, a)))
        .takes("WINDOW").unset(As("7d"))
        .of_host()
        .prose(include_str!("directives/MDStaplingKeepResponse.md")),
    row(c"MDStaplingRenewWindow", One, ServerOrMd, None,
        c"Time length for renewal before an OCSP response expires (defaults to days).",
        |s, a| set(&mut s.server.host.staple_renew_window, stapling_window(s.directive, a)))
        .takes("WINDOW").unset(As("33%"))
        .of_host()
        .prose(include_str!("directives/MDStaplingRenewWindow.md")),

    row(c"MDMessageCmd", Raw, Global, None,
        c"Command to run on events of a managed domain.",
        |s, a| set(&mut s.server.globals.message_cmd, text(a)))
        .takes("COMMAND…")
        .prose(include_str!("directives/MDMessageCmd.md")),
    row(c"MDNotifyCmd", Raw, Global, None,
        c"Command to run when a certificate has been renewed.",
        |s, a| set(&mut s.server.globals.notify_cmd, text(a)))
        .takes("COMMAND…")
        .prose(include_str!("directives/MDNotifyCmd.md")),
    row(c"MDServerStatus", One, ServerOrMd, None,
        c"On to show managed domains in server-status.",
        |s, a| set(&mut s.server.host.server_status, on_off(a)))
        .takes("on|off").unset(Described("on for requests from this machine, and for users who have logged in"))
        .of_host()
        .prose(include_str!("directives/MDServerStatus.md")),
    row(c"MDCertificateStatus", One, ServerOrMd, None,
        c"On to show a host's certificates at /.httpd/certificate-status.",
        |s, a| set(&mut s.server.host.certificate_status, on_off(a)))
        .takes("on|off").unset(As("on"))
        .of_host()
        .prose(include_str!("directives/MDCertificateStatus.md")),
    row(c"MDCertificateCheck", Two, ServerOrMd, None,
        c"Set name and URL pattern for a certificate monitoring site.",
        |s, a| set(&mut s.server.host.certificate_check, monitor(a)))
        .takes("NAME URL").unset(As("crt.sh https://crt.sh?q="))
        .of_host()
        .prose(include_str!("directives/MDCertificateCheck.md")),
    row(c"MDCertificateMonitor", Two, ServerOrMd, None,
        c"Set name and URL pattern for a certificate monitoring site.",
        |s, a| set(&mut s.server.host.certificate_check, monitor(a)))
        .of_host()
        .same_as("MDCertificateCheck").ours(),
];

fn push_file(
    scope: &mut Scope<'_>,
    args: &[&str],
    files: fn(&mut MdSection) -> &mut Vec<String>,
) -> Result<(), Error> {
    let file = path(scope.env, args)?;
    if let Some(section) = &mut scope.server.open {
        files(section).push(file);
    }
    Ok(())
}

fn monitor(args: &[&str]) -> Result<(String, String), Error> {
    Ok((text(args)?, text(args.get(1..).unwrap_or_default())?))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::apply;
    use super::super::{Env, ServerConfig, close_section};
    use super::*;
    use crate::model::{Eab, KeySpec, RenewMode, RequireHttps};
    use crate::time::TimeSlice;
    use proptest::prelude::*;
    use std::io;
    use std::path::Path;

    fn read_file(path: &Path) -> io::Result<Vec<u8>> {
        match path.to_str().unwrap() {
            "/srv/good.json" => Ok(br#"{"kid": "k", "hmac": "h"}"#.to_vec()),
            "/abs/nokid.json" => Ok(br#"{"hmac": "h"}"#.to_vec()),
            "/abs/nohmac.json" => Ok(br#"{"kid": "k", "hmac": 7}"#.to_vec()),
            "/abs/list.json" => Ok(b"[]".to_vec()),
            "/abs/garbage" => Ok(vec![0xff, 0xfe]),
            "/abs/huge" => Ok([&b"{\"kid\": \"k\", \"hmac\": \"h\"}"[..], &[b' '; 70_000]].concat()),
            "/abs/secret" => Err(io::ErrorKind::PermissionDenied.into()),
            "/abs/folder" => Err(io::ErrorKind::IsADirectory.into()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn env(conditional: bool) -> Env<'static> {
        Env { server_root: Path::new("/srv"), file: "f", line: 7, conditional, read_file: &read_file }
    }

    /// Performs lines in a fresh server; a line may open or close a section.
    fn run(lines: &[&str]) -> Result<ServerConfig, String> {
        let mut server = ServerConfig::default();
        let env = env(false);
        for line in lines {
            if *line == "</MDomain>" {
                close_section(&mut server).map_err(|e| e.0)?;
                continue;
            }
            let (name, raw) = line.split_once(' ').unwrap_or((line, ""));
            apply(&mut Scope::new(&mut server, &env), name, raw).map_err(|e| e.0)?;
        }
        Ok(server)
    }

    fn ok(line: &str) -> ServerConfig {
        run(&[line]).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    const KNOWN: &str =
        "Known CA names are: LetsEncrypt LetsEncrypt-Test Buypass Buypass-Test ZeroSSL Google Google-Test.";

    #[test]
    fn a_bad_value_is_refused_in_the_words_admins_know() {
        let on_off = "unknown 'maybe', supported parameter values are 'on' and 'off'";
        let number = "invalid argument, must be a number > 0";
        let port = "invalid number for port map, must be in ]0,65535]";
        let duration = "unrecognized duration format";
        let json = "MDExternalAccountBinding: error reading JSON file";
        let kid = "MDExternalAccountBinding: JSON does not contain 'kid' element in file";
        for (line, text) in [
            ("MDBaseServer maybe", on_off),
            ("MDRenewViaARI maybe", on_off),
            ("MDProfileMandatory maybe", on_off),
            ("MDMustStaple maybe", on_off),
            ("MDStapling maybe", on_off),
            ("MDStapleOthers maybe", on_off),
            ("MDServerStatus maybe", on_off),
            ("MDCertificateStatus maybe", on_off),
            ("MDLiveActivation maybe", on_off),
            ("MDMatchNames foo", "invalid argument, must be a 'all' or 'servernames'"),
            ("MDStoreLocks foo", "neither 'on', 'off' or a duration specified"),
            ("MDStoreLocks -5s", "neither 'on', 'off' or a duration specified"),
            ("MDExternalAccountBinding nofile", "MDExternalAccountBinding: file not found: /srv/nofile"),
            ("MDExternalAccountBinding /abs/folder", "MDExternalAccountBinding: file not found: /abs/folder"),
            ("MDExternalAccountBinding /abs/nokid.json", &format!("{kid} /abs/nokid.json")),
            ("MDExternalAccountBinding /abs/list.json", &format!("{kid} /abs/list.json")),
            (
                "MDExternalAccountBinding /abs/nohmac.json",
                "MDExternalAccountBinding: JSON does not contain 'hmac' element in file /abs/nohmac.json",
            ),
            ("MDExternalAccountBinding /abs/garbage", &format!("{json} /abs/garbage")),
            ("MDExternalAccountBinding /abs/huge", &format!("{json} /abs/huge")),
            ("MDExternalAccountBinding /abs/secret", &format!("{json} /abs/secret: permission denied")),
            ("MDChallengeDns01Timeout 0", "MDChallengeDns01Timeout must be one second or more"),
            ("MDChallengeDns01Timeout foo", "unrecognized duration format"),
            ("MDChallengeDns01Version 3", "Only versions `1` and `2` are supported"),
            (
                "MDAccountKey RSA 1024",
                "'RSA 1024' is no type of account key. There are RSA 2048 to RSA 8192, P-256, P-384 and P-521.",
            ),
            (
                "MDAccountKey P-256 P-384",
                "'P-256 P-384' is no type of account key. There are RSA 2048 to RSA 8192, P-256, P-384 and P-521.",
            ),
            (
                "MDAccountKey Ed25519",
                "'Ed25519' is no type of account key. There are RSA 2048 to RSA 8192, P-256, P-384 and P-521.",
            ),
            ("MDPrivateKeys", "needs to specify the private key type"),
            ("MDPrivateKeys Default RSA", "'Default' allows no other parameter"),
            ("MDPrivateKeys RSA Default", "'Default' allows no other parameter"),
            ("MDPrivateKeys RSA 1024", "must be 2048 or higher in order to be considered safe."),
            ("MDPrivateKeys rsa0", "must be 2048 or higher in order to be considered safe."),
            (
                "MDPrivateKeys RSA 99999999999",
                "RSA keys of 99999999999 bits are not possible, the maximum is 16384.",
            ),
            ("MDPrivateKeys rsa16385", "RSA keys of 16385 bits are not possible, the maximum is 16384."),
            ("MDPrivateKeys RSA3072 RSA 4096", "two keys of type 'RSA' are not possible."),
            ("MDPrivateKeys RSA P-256 rsa", "two keys of type 'RSA' are not possible."),
            ("MDPrivateKeys P-256 p-256", "two keys of type 'p-256' are not possible."),
            ("MDPrivateKeys prime256v1 RSA secp256r1", "two keys of type 'secp256r1' are not possible."),
            ("MDRenewMode foo", "unknown MDRenewMode foo"),
            ("MDDriveMode foo", "unknown MDDriveMode foo"),
            ("MDRenewWindow foo", "MDRenewWindow has unrecognized format"),
            ("MDRenewWindow 1w", "MDRenewWindow has unrecognized format"),
            ("MDRenewWindow 100%", "MDRenewWindow a length of 100% or more is not allowed."),
            ("MDRenewWindow 999%", "MDRenewWindow a length of 100% or more is not allowed."),
            ("MDWarnWindow foo", "MDWarnWindow has unrecognized format"),
            ("MDWarnWindow 100%", "MDWarnWindow a length of 100% or more is not allowed."),
            ("MDStaplingKeepResponse foo", "MDStaplingKeepResponse has unrecognized format"),
            ("MDStaplingRenewWindow foo", "MDStaplingRenewWindow has unrecognized format"),
            (
                "MDStaplingRenewWindow 100%",
                "MDStaplingRenewWindow with a length of 100% or more is not allowed.",
            ),
            ("MDRequireHttps on", "unknown 'on', supported parameter values are 'temporary' and 'permanent'"),
            ("MDPortMap 80", "no ':' after first port number"),
            ("MDPortMap foo:80", "no ':' after first port number"),
            ("MDPortMap 81:80", "mapped port number must be 80 or 443"),
            ("MDPortMap 80:foo", port),
            ("MDPortMap 80:0", port),
            ("MDPortMap 80:65536", port),
            ("MDPortMap 80:", port),
            ("MDPortMap http:80 https:x", port),
            ("MDHttpProxy foo", "missing uri scheme"),
            ("MDHttpProxy ftp://x", "uri scheme must be http or https"),
            ("MDHttpProxy http://x:foo", "not an uri"),
            ("MDHttpProxy http://x:-1", "invalid port"),
            ("MDHttpProxy http://x:99999", "invalid port"),
            ("MDHttpProxy http://x:0/", "invalid port"),
            ("MDHttpProxy http:foo", "missing hostname"),
            ("MDHttpProxy http://", "missing hostname"),
            ("MDHttpProxy http:", "missing uri identifier"),
            ("MDHttpProxy ://x", "not an uri"),
            ("MDRetryDelay 0", "minimum delay must be greater than 0"),
            ("MDRetryDelay -1", "minimum delay must be greater than 0"),
            ("MDRetryDelay foo", duration),
            ("MDInitialDelay -1", "initial delay must not be negative"),
            ("MDInitialDelay 5x", duration),
            ("MDCheckInterval 999ms", "check interval cannot be less than one second"),
            ("MDCheckInterval foo", duration),
            ("MDActivationDelay 33%", duration),
            ("MDActivationDelay -1", "activation delay must not be negative"),
            ("MDRetryFailover 0", number),
            ("MDRetryFailover foo", number),
            ("MDRetryFailover -3", number),
            ("MDRetryFailover 2147483648", number),
            ("MDRenewParallel 0", "MDRenewParallel must be a number > 0"),
        ] {
            assert_eq!(run(&[line]).map(|_| ()), Err(text.to_string()), "{line}");
        }
        for (arg, reason) in [
            ("https:///", "missing hostname"),
            ("https://u@/x", "missing hostname"),
            ("https://b\u{fc}cher.test:99999/", "invalid port"),
            ("https://[::g]/", "not an uri"),
            ("https://1.2.3.4.5/", "not an uri"),
            ("foo", "missing uri scheme"),
            ("/foo", "missing uri scheme"),
            ("http:foo", "missing hostname"),
            ("http://x:foo/", "not an uri"),
        ] {
            assert_eq!(
                run(&[&format!("MDCertificateAuthority LetsEncrypt {arg}")]).map(|_| ()),
                Err(format!(
                    "The CA name '{arg}' is not known and it is not a URL either ({reason}). {KNOWN}"
                ))
            );
        }
    }

    #[test]
    fn a_directive_out_of_its_place_says_where_it_belongs() {
        for row in ROWS {
            let name = row.name.to_str().unwrap();
            let arg = if row.args == Args::Section { "b.test>" } else { "x" };
            let inside = run(&["<MDomain a.test>", &format!("{name} {arg}")]).map(|_| ());
            let outside = run(&[&format!("{name} {arg}")]).map(|_| ());
            let not_inside = Err(format!("{name} is not allowed inside an '<MDomainSet' context"));
            let only_inside = Err(format!("{name} is only valid inside a '<MDomainSet' context, not here"));
            assert_eq!(inside == not_inside, matches!(row.places, Server | Global), "{name}");
            assert_eq!(outside == only_inside, row.places == Md, "{name}");
        }
        let globals = [
            "MDBaseServer",
            "MDPortMap",
            "MDStoreDir",
            "MDNotifyCmd",
            "MDMessageCmd",
            "MDRetryDelay",
            "MDRetryFailover",
            "MDMatchNames",
            "MDActivationDelay",
            "MDChallengeDns01Version",
            "MDStoreLocks",
            "MDInitialDelay",
            "MDCheckInterval",
            "MDLiveActivation",
            "MDRenewParallel",
            "MDDnsListen",
            "MDDnsZone",
            "MDFleet",
            "MDFleetSecretFile",
            "MDFleetUser",
            "MDFleetCACertificateFile",
            "MDFleetClientCertificateFile",
            "MDFleetClientKeyFile",
            "MDFleetNode",
        ];
        let found: Vec<_> =
            ROWS.iter().filter(|r| r.places == Global).map(|r| r.name.to_str().unwrap()).collect();
        assert!(globals.iter().all(|name| found.contains(name)));
        assert_eq!(found.len(), globals.len());
    }

    #[test]
    fn a_domain_needs_names_and_good_ones() {
        for (lines, text) in [
            (&["MDomain"][..], "needs at least one domain name"),
            (&["MDomain auto"], "needs at least one domain name"),
            (&["<MDomain a.test"], "<MDomain> directive missing closing '>'"),
            (&["<MDomainSet a.test"], "<MDomainSet> directive missing closing '>'"),
            (&["<MDomain >"], "<MDomain> section must specify a unique domain name"),
            (&["<MDomain manual>"], "<MDomain> section must specify a unique domain name"),
            (&["MDMembers a.test"], "unknown value, use \"auto|manual\""),
            (&["MDMembers"], "MDMembers is only valid inside a '<MDomainSet' context, not here"),
            (&["MDMember auto a.test"], "MDMember is only valid inside a '<MDomainSet' context, not here"),
            (
                &["MDomain a/b"],
                "'a/b' is not a valid domain name: it contains a character that is not allowed in a domain \
                 name",
            ),
            (&["MDomain .."], "'..' is not a valid domain name: it is empty"),
            (
                &["MDomain b\u{fc}cher.test"],
                "'b\u{fc}cher.test' is not a valid domain name: it contains a character that is not allowed \
                 in a domain name",
            ),
            (
                &["<MDomain a\0.test>"],
                "'a\0.test' is not a valid domain name: it contains a character that is not allowed in a \
                 domain name",
            ),
            (&["MDomain *"], "'*' is not a valid domain name: a wildcard can only be the whole first label"),
        ] {
            let error = run(lines).map(|_| ()).unwrap_err();
            let remedy = error.strip_prefix(text).unwrap_or_else(|| panic!("{lines:?}: {error}"));
            assert!(
                [
                    "",
                    ". Correct or remove it.",
                    ". Write it in its DNS form (punycode), which begins with xn--."
                ]
                .contains(&remedy)
            );
        }
        let long = format!("MDomain {}", "a.".repeat(200));
        assert!(run(&[&long]).unwrap_err().contains("it is longer than 253 characters"));
    }

    #[test]
    fn domains_collect_names_and_the_words_auto_and_manual_stand_anywhere() {
        let server = run(&[
            "MDomain A.test manual b.test",
            "<MDomain \"c.test\" auto 'd.test'>",
            "MDMembers e.test manual f.test",
            "MDCertificateFile x.pem",
            "MDCertificateKeyFile /abs/y.pem",
            "MDProfile inner",
            "MDServerStatus off",
            "</MDomain>",
            "MDMembers AUTO",
        ])
        .unwrap();
        let [one, two] = &server.mds[..] else { panic!("{:?}", server.mds) };
        assert_eq!(one.names, ["a.test", "b.test"]);
        assert_eq!(one.settings.transitive, Some(false));
        assert_eq!(one.defined_at, ("f".to_string(), 7));
        assert_eq!(two.names, ["c.test", "d.test", "e.test", "f.test"]);
        assert_eq!(two.settings.transitive, Some(false));
        assert_eq!(two.cert_files, ["/srv/x.pem"]);
        assert_eq!(two.key_files, ["/abs/y.pem"]);
        assert_eq!(two.settings.profile.as_deref(), Some("inner"));
        assert_eq!(server.settings.profile, None);
        assert_eq!(server.settings.transitive, Some(true));
        assert_eq!(server.host.server_status, Some(false));
        assert!(server.open.is_none());
    }

    #[test]
    fn settings_take_their_values() {
        let set = |line: &str| ok(line).settings;
        let ec = |curve: &str| KeySpec::Ec(curve.into());
        for (args, keys) in [
            ("Default", vec![]),
            ("default", vec![]),
            ("RSA", vec![KeySpec::Rsa(2048)]),
            ("rsa3072 secp384r1", vec![KeySpec::Rsa(3072), ec("secp384r1")]),
            ("P-256 RSA 4096 P-384", vec![ec("P-256"), KeySpec::Rsa(4096), ec("P-384")]),
            ("RSA 4096 4096", vec![KeySpec::Rsa(4096), ec("4096")]),
            ("foo RSA4096x", vec![ec("foo"), ec("RSA4096x")]),
        ] {
            assert_eq!(set(&format!("MDPrivateKeys {args}")).key_specs, Some(keys), "{args}");
        }
        assert_eq!(
            set("MDCertificateAuthority letsencrypt-TEST https://ca.test/dir ftp://x/dir").ca_urls.unwrap(),
            ["https://acme-staging-v02.api.letsencrypt.org/directory", "https://ca.test/dir", "ftp://x/dir"]
        );
        assert_eq!(set("MDCertificateAuthority").ca_urls, Some(vec![]));
        assert_eq!(set("MDCertificateProtocol foo").ca_proto.as_deref(), Some("foo"));
        assert_eq!(set("MDCertificateAgreement accepted").ca_agreement.as_deref(), Some("accepted"));
        assert_eq!(set("MDContactEmail me@x.test").contact.as_deref(), Some("mailto:me@x.test"));
        assert_eq!(set("MDContactEmail tel:1").contact.as_deref(), Some("tel:1"));
        let eab = Some(Some(Eab { kid: "k".into(), hmac: "h".into() }));
        assert_eq!(set("MDExternalAccountBinding k h").eab, eab);
        assert_eq!(set("MDExternalAccountBinding good.json").eab, eab);
        assert_eq!(set("MDExternalAccountBinding None").eab, Some(None));
        assert_eq!(set("MDAccountKey RSA").account_key, Some(KeySpec::Rsa(3072)));
        assert_eq!(set("MDAccountKey rsa 2048").account_key, Some(KeySpec::Rsa(2048)));
        assert_eq!(set("MDAccountKey secp384r1").account_key, Some(ec("P-384")));
        assert_eq!(set("MDCAChallenges dns-01 foo").challenges.unwrap(), ["dns-01", "foo"]);
        let way = set("MDChallengeDns01 /bin/x \"a b\" c ").dns01.flatten();
        assert_eq!(way.as_ref().and_then(|way| way.command_line()), Some("/bin/x \"a b\" c"));
        for (word, mode) in [
            ("AUTO", RenewMode::Auto),
            ("automatic", RenewMode::Auto),
            ("stick", RenewMode::Always),
            ("Always", RenewMode::Always),
            ("manual", RenewMode::Manual),
        ] {
            assert_eq!(set(&format!("MDDriveMode {word}")).renew_mode, Some(mode));
            assert_eq!(set(&format!("MDRenewMode {word}")).renew_mode, Some(mode));
        }
        assert_eq!(set("MDRenewWindow 14").renew_window, Some(TimeSlice::Length(DAY * 14)));
        assert_eq!(set("MDRenewWindow 99%").renew_window, Some(TimeSlice::Percent(99)));
        assert_eq!(set("MDWarnWindow 2H").warn_window, Some(TimeSlice::Length(SECOND * 7200)));
        assert_eq!(set("MDRenewViaARI OFF").ari_renewals, Some(false));
        assert_eq!(set("MDProfile tlsserver").profile.as_deref(), Some("tlsserver"));
        assert_eq!(set("MDProfileMandatory on").profile_mandatory, Some(true));
        assert_eq!(set("MDMustStaple On").must_staple, Some(true));
        assert_eq!(set("MDStapling on").stapling, Some(true));
        assert_eq!(set("mdREQUIREhttps Permanent").require_https, Some(RequireHttps::Permanent));
        assert_eq!(set("MDHttpProxy http://[::1]:3128/").proxy_url.as_deref(), Some("http://[::1]:3128/"));
        assert_eq!(set("MDHttpProxyCACertificateFile none").proxy_ca_certs, Some(None));
        assert_eq!(set("MDCACertificateFile ca.pem").ca_certs, Some(Some("/srv/ca.pem".into())));
    }

    #[test]
    fn hosts_and_globals_take_their_values() {
        let host = |line: &str| ok(line).host;
        assert_eq!(host("MDStapleOthers off").staple_others, Some(false));
        assert_eq!(host("MDStaplingKeepResponse 100%").staple_keep, Some(TimeSlice::Percent(100)));
        assert_eq!(host("MDStaplingRenewWindow 50%").staple_renew_window, Some(TimeSlice::Percent(50)));
        assert_eq!(host("MDCertificateStatus off").certificate_status, Some(false));
        for name in ["MDCertificateCheck", "MDCertificateMonitor"] {
            let check = host(&format!("{name} a https://b?q=")).certificate_check;
            assert_eq!(check, Some(("a".into(), "https://b?q=".into())));
        }
        let global = |line: &str| ok(line).globals;
        assert_eq!(global("MDStoreDir x/y").store_dir.as_deref(), Some("x/y"));
        assert_eq!(global("MDStoreLocks on").store_locks, Some(Some(SECOND * 5)));
        assert_eq!(global("MDStoreLocks off").store_locks, Some(None));
        assert_eq!(global("MDStoreLocks 10").store_locks, Some(Some(SECOND * 10)));
        let ports = global("MDPortMap 443:- http:8080");
        assert_eq!((ports.port_http, ports.port_https), (Some(Some(8080)), Some(None)));
        assert_eq!(global("MDPortMap https:8443").port_http, None);
        assert_eq!(global("MDBaseServer on").base_server, Some(true));
        assert_eq!(
            global("MDMatchNames ServerNames").match_names,
            Some(super::super::MatchNames::ServerNames)
        );
        assert_eq!(global("MDChallengeDns01Version 2").dns01_version, Some(2));
        assert_eq!(global("MDNotifyCmd /bin/a b").notify_cmd.as_deref(), Some("/bin/a b"));
        assert_eq!(global("MDMessageCmd /bin/a 'b c'").message_cmd.as_deref(), Some("/bin/a 'b c'"));
        assert_eq!(global("MDRetryDelay 5min").retry_delay, Some(SECOND * 300));
        assert_eq!(global("MDRetryFailover 3").retry_failover, Some(3));
        assert_eq!(global("MDInitialDelay 0").initial_delay, Some(Duration::ZERO));
        assert_eq!(global("MDCheckInterval 1").check_interval, Some(SECOND));
        assert_eq!(global("MDActivationDelay 2").activation_delay, Some(DAY * 2));
        assert_eq!(global("MDLiveActivation off").live_activation, Some(false));
        assert_eq!(global("MDRenewParallel 4").renew_parallel, Some(4));
    }

    #[test]
    fn require_https_in_a_conditional_section_does_not_reach_the_server() {
        let mut server = ServerConfig::default();
        let env = env(true);
        let mut scope = Scope::new(&mut server, &env);
        apply(&mut scope, "MDRequireHttps", "temporary").unwrap();
        assert_eq!(scope.conditional_require_https, Some(RequireHttps::Temporary));
        assert_eq!(server.settings.require_https, None);
    }

    #[test]
    fn the_table_can_be_read_in_constants_and_names_no_directive_twice() {
        const FIRST: *const std::ffi::c_char = ROWS[0].name.as_ptr();
        assert_eq!(FIRST, ROWS[0].name.as_ptr());
        let names: std::collections::HashSet<_> =
            ROWS.iter().map(|r| r.name.to_str().unwrap().to_ascii_lowercase()).collect();
        assert_eq!(names.len(), ROWS.len());
        assert!(ROWS.iter().all(|row| !row.help.is_empty()));
    }

    #[test]
    fn no_error_text_and_no_debug_form_reveals_the_hmac() {
        let server = ok("MDExternalAccountBinding kid c2VjcmV0");
        assert!(!format!("{server:?}").contains("c2VjcmV0"));
        let error = run(&["MDExternalAccountBinding a b c2VjcmV0"]).unwrap_err();
        assert!(!error.contains("c2VjcmV0"));
    }

    proptest! {
        #[test]
        fn hostile_arguments_end_in_a_value_or_an_error(args in prop::collection::vec(any::<String>(), 0..4)) {
            for row in ROWS {
                let mut server = ServerConfig::default();
                let env = env(false);
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                let _ = row.apply(&mut Scope::new(&mut server, &env), &args);
            }
        }
    }
}
