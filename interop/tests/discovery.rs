//! SIPE finds the server by itself, through DNS SRV.

use confab_interop::dns::Dns;
use confab_interop::server::Authentication;
use confab_interop::sipe::{SignOn, Sipe};
use confab_interop::{Server, Tool, namespace};

#[test]
fn a_sipe_finds_the_server_over_tcp() {
    let needs = [Tool::Sipe, Tool::Dnsmasq, Tool::Namespace];
    namespace::run("a_sipe_finds_the_server_over_tcp", &needs, |scratch| {
        let server = Server::start(scratch, Authentication::Nobody);
        let _dns =
            Dns::start(scratch, "_sipinternal._tcp.example.test", "sip.example.test", server.address());
        Sipe::signed_on(scratch, "alice", SignOn::Discover).quit();
    });
}

#[test]
fn a_sipe_finds_the_server_over_tls() {
    let needs = [Tool::Sipe, Tool::Dnsmasq, Tool::Namespace];
    namespace::run("a_sipe_finds_the_server_over_tls", &needs, |scratch| {
        let server = Server::start(scratch, Authentication::Nobody);
        let _dns = Dns::start(
            scratch,
            "_sipinternaltls._tcp.example.test",
            "sip.example.test",
            server.tls_address(),
        );
        Sipe::signed_on(scratch, "alice", SignOn::Discover).quit();
    });
}
