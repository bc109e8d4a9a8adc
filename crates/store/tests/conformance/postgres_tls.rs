//! A PostgreSQL server across the network is spoken to over TLS, once it has proved who it is, and
//! opens to the right password. No sentence has the password in it.

use std::{fs, process};

use confab_store::{OpenError, PostgresStore};

use super::cluster::{Cluster, OWNER};

#[tokio::test]
async fn only_the_right_server_is_told_the_password() {
    let Some(mut cluster) = Cluster::of("only_the_right_server_is_told_the_password") else { return };
    // An address of our own on the loopback interface, so that the usual port is free.
    let address = format!("127.83.{}.{}", process::id() / 256 % 256, process::id() % 254 + 1);
    let [ours, others] = [(); 2].map(|()| rcgen::generate_simple_self_signed([address.clone()]).unwrap());
    cluster.append("server.crt", &ours.cert.pem());
    cluster.append("server.key", &ours.signing_key.serialize_pem());
    cluster.append("postgresql.conf", &format!("listen_addresses = '{address}'\nssl = on\n"));
    cluster.create("safe");
    cluster.sql("postgres", &format!("ALTER ROLE {OWNER} PASSWORD 'horse/?#@'"));
    cluster.stop();
    cluster.start();

    let authority = |name: &str, pem: String| {
        let path = cluster.directory().join(name);
        fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let right = authority("right.pem", ours.cert.pem());
    let wrong = authority("wrong.pem", others.cert.pem());
    let open = async |password: &str, parameters: &str| {
        let url = format!("postgres://{OWNER}:{password}@{address}/safe?{parameters}");
        PostgresStore::open(&url.parse().unwrap()).await
    };
    let refused = async |password: &str, parameters: &str, reason: &str| {
        let error = open(password, parameters).await.unwrap_err();
        assert!(matches!(error, OpenError::Unavailable { .. }), "{error}");
        let sentence = error.to_string();
        assert!(sentence.contains(reason) && !sentence.contains("horse"), "{parameters}: {sentence}");
    };
    let password = "horse%2F%3F%23%40";
    let verified = format!("sslmode=verify-full&sslrootcert={right}");
    open(password, &verified).await.unwrap();
    refused("horses", &verified, "password authentication failed").await;
    refused(password, "sslmode=verify-full", "invalid peer certificate").await;
    refused(password, &format!("sslmode=verify-ca&sslrootcert={wrong}"), "invalid peer certificate").await;
    for parameter in ["sslrootcert", "sslcert", "sslkey"] {
        let parameters = format!("sslmode=verify-full&{parameter}={right}.missing");
        let reason =
            format!("{parameter} names the file {right}.missing, which cannot be read (No such file");
        refused(password, &parameters, &reason).await;
    }
}
