//! Which crate uses which: the arrows of ARCHITECTURE.md, and what may come from outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::LazyLock,
};

use serde_json::Value;

use crate::{none, tree::TREE};

/// The arrows between our crates, all of them. `sim`, `interop` and `load` are tests.
const ARROWS: [(&str, &[&str]); 10] = [
    ("client", &["machine", "schema", "sip"]),
    ("conference", &["machine", "schema"]),
    ("machine", &[]),
    ("mcu", &["machine", "media", "schema", "sip"]),
    ("media", &["machine"]),
    ("schema", &["machine"]),
    ("server", &["client", "conference", "machine", "mcu", "media", "schema", "sip", "store", "users"]),
    ("sip", &["machine"]),
    ("store", &["conference", "machine", "schema", "users"]),
    ("users", &["machine", "schema", "sip"]),
];

/// The crates that do input and output.
const SHELLS: [&str; 2] = ["server", "store"];

/// Crates that only those may reach which are named with it, over whatever way.
const HEAVY: [(&str, &[&str]); 9] = [
    ("aws-lc-rs", &["mcu", "media", "server", "store"]),
    ("hickory-resolver", &["server"]),
    ("hyper", &["server"]),
    ("libsqlite3-sys", &["server", "store"]),
    ("mio", &["server", "store"]),
    ("opusic-sys", &["mcu", "media", "server"]),
    ("rustls", &["server", "store"]),
    ("sqlx-core", &["server", "store"]),
    ("tokio", &["server", "store"]),
];

/// Crates that development alone needs.
const DEVELOPMENT: [&str; 3] = ["interop", "load", "sim"];

/// Our prefix of package names.
const PREFIX: &str = "confab-";

static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let run = |arguments: &[&str]| {
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--filter-platform", host()])
            .args(arguments)
            .current_dir(TREE.root())
            .output()
            .expect("cargo runs");
        output.status.success().then_some(output.stdout).ok_or(output.stderr)
    };
    // What is built has been fetched already, so the network is not needed.
    let metadata = run(&["--offline"]).unwrap_or_else(|error| {
        panic!("cargo metadata fails: {}", String::from_utf8_lossy(&error));
    });
    serde_json::from_slice(&metadata).unwrap()
});

/// The platform of this test: what others need has not been fetched.
fn host() -> &'static str {
    static HOST: LazyLock<String> = LazyLock::new(|| {
        let rustc = Command::new("rustc").arg("-vV").output().expect("rustc runs");
        let about = String::from_utf8(rustc.stdout).unwrap();
        about.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned()
    });
    &HOST
}

fn packages() -> impl Iterator<Item = &'static Value> {
    METADATA["packages"].as_array().unwrap().iter()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap()
}

/// Our packages, by folder.
fn ours() -> BTreeMap<&'static str, &'static Value> {
    let ours = packages().filter(|package| package["source"].is_null());
    ours.filter_map(|package| Some((name(package).strip_prefix(PREFIX)?, package))).collect()
}

/// The names of the packages that `package` depends on, other than for its own tests.
fn uses(package: &'static Value) -> BTreeSet<&'static str> {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    dependencies.filter(|used| used["kind"].as_str() != Some("dev")).map(name).collect()
}

/// Every package that the one with this ID is built from.
fn closure(id: &'static str) -> BTreeSet<&'static str> {
    let nodes: BTreeMap<&str, &Value> = METADATA["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    let mut found = BTreeSet::new();
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        for used in nodes[id]["deps"].as_array().unwrap() {
            let kinds = used["dep_kinds"].as_array().unwrap();
            if kinds.iter().any(|kind| kind["kind"].as_str() != Some("dev")) {
                open.push(used["pkg"].as_str().unwrap());
            }
        }
    }
    found
}

#[test]
fn crates_use_each_other_as_the_picture_says() {
    let mut findings = Vec::new();
    let drawn: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    for (folder, package) in ours() {
        if DEVELOPMENT.contains(&folder) {
            continue;
        }
        let Some(drawn) = drawn.get(folder) else {
            findings
                .push(format!("{folder} is not in the picture of ARCHITECTURE.md nor in this test's table"));
            continue;
        };
        let used: BTreeSet<&str> =
            uses(package).into_iter().filter_map(|name| name.strip_prefix(PREFIX)).collect();
        let drawn: BTreeSet<&str> = drawn.iter().copied().collect();
        findings.extend(used.difference(&drawn).map(|used| format!("{folder} must not use {used}")));
        findings.extend(drawn.difference(&used).map(|drawn| {
            format!("{folder} no longer uses {drawn}: take the arrow out of ARCHITECTURE.md and this test")
        }));
    }
    none("The arrows between the crates are those of ARCHITECTURE.md:", &findings);
}

#[test]
fn only_shells_reach_sockets_and_databases() {
    let mut findings = Vec::new();
    for (folder, package) in ours() {
        if DEVELOPMENT.contains(&folder) {
            continue;
        }
        let closure = closure(package["id"].as_str().unwrap());
        let built_from =
            packages().filter(|package| closure.contains(package["id"].as_str().unwrap())).map(name);
        let built_from: BTreeSet<&str> = built_from.collect();
        for (heavy, allowed) in HEAVY {
            if built_from.contains(heavy) && !allowed.contains(&folder) {
                findings.push(format!(
                    "{folder} is built from {heavy}, which only {} may reach",
                    allowed.join(" and ")
                ));
            }
        }
    }
    // What no longer exists under its name is guarded no longer.
    let known: BTreeSet<&str> = packages().map(name).collect();
    let gone = HEAVY.iter().filter(|(heavy, _)| !known.contains(heavy));
    findings.extend(gone.map(|(heavy, _)| format!("nothing is built from {heavy}: guard what replaced it")));
    none("Only the shells touch sockets, files and databases (invariant 1):", &findings);
}

#[test]
fn cores_touch_neither_files_nor_sockets() {
    let words = [
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::process",
        "std::env",
        "std::thread",
        "std::io::std",
    ];
    let mut findings = Vec::new();
    for source in &TREE.sources {
        let Some((folder, _)) = source.path.strip_prefix("crates/").and_then(|path| path.split_once('/'))
        else {
            continue;
        };
        if !SHELLS.contains(&folder) && !DEVELOPMENT.contains(&folder) {
            findings.extend(source.lines_with(&source.production_code(), &words));
        }
    }
    none("A core has no files, sockets, processes, threads or environment (invariant 1):", &findings);
}

#[test]
fn everything_from_outside_is_free_and_from_the_registry() {
    let deny: toml::Table = TREE.text("deny.toml").expect("deny.toml lists the licences").parse().unwrap();
    let words = |value: &toml::Value| -> BTreeSet<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let allowed = words(&deny["licenses"]["allow"]);
    let exceptions = deny["licenses"].get("exceptions").and_then(toml::Value::as_array);
    let mut findings = Vec::new();
    for package in packages() {
        let (name, version) = (name(package), package["version"].as_str().unwrap());
        let mut allowed = allowed.clone();
        let exceptions = exceptions.into_iter().flatten();
        let exceptions = exceptions.filter(|exception| exception["crate"].as_str() == Some(name));
        allowed.extend(exceptions.flat_map(|exception| words(&exception["allow"])));
        match package["license"].as_str() {
            Some(licence) if is_met(licence, &allowed) => {}
            licence => findings
                .push(format!("{name} {version} is under {licence:?}, which deny.toml does not allow")),
        }
        match package["source"].as_str() {
            Some(source) if source.starts_with("registry+") => {}
            None if name.starts_with(PREFIX) => {}
            source => {
                findings.push(format!("{name} {version} comes from {source:?} and not from the registry"))
            }
        }
    }
    none("What we build from is free, and comes from the registry:", &findings);
}

/// Whether a licence expression can be met with these licences: `OR` needs one side, `AND` both.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let met = either(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, allowed);
    }
    met
}

fn both(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = single(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= single(words, allowed);
    }
    met
}

fn single(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = either(words, allowed);
        return words.next_if_eq(&")").is_some() && met;
    }
    let Some(mut licence) = words.next().map(str::to_owned) else { return false };
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&licence)
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    let check = |expression: &str, met: bool| assert_eq!(is_met(expression, &allowed), met, "{expression}");
    check("MIT", true);
    check("MIT/Apache-2.0", true);
    check("GPL-3.0 OR MIT", true);
    check("GPL-3.0 AND MIT", false);
    check("ISC AND (Apache-2.0 OR ISC)", true);
    check("ISC AND (Apache-2.0 OR GPL-3.0)", false);
    check("Apache-2.0 WITH LLVM-exception", true);
    check("Apache-2.0", false);
    check("", false);
}

#[test]
fn every_crate_takes_the_common_lints() {
    let table = |path: &str| -> toml::Table {
        TREE.text(path).unwrap_or_else(|| panic!("{path} is missing")).parse().unwrap()
    };
    let mut findings = Vec::new();
    let lints = &table("Cargo.toml")["workspace"]["lints"];
    let common = [("rust", "missing_docs"), ("rust", "unsafe_code"), ("clippy", "unwrap_used")];
    let missing =
        common.iter().filter(|(tool, lint)| lints.get(tool).and_then(|lints| lints.get(lint)).is_none());
    findings.extend(missing.map(|(tool, lint)| format!("Cargo.toml: the lint {tool}.{lint} is not on")));
    let manifests = TREE.crates().into_iter().map(|folder| format!("crates/{folder}/Cargo.toml"));
    for manifest in manifests.chain(["interop/Cargo.toml".to_owned()]) {
        let table = table(&manifest);
        let taken =
            table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        if taken != Some(true) {
            findings.push(format!("{manifest} lacks `[lints] workspace = true`"));
        }
    }
    for source in TREE.sources_in(&["crates/", "interop/"]) {
        let words = ["allow(missing_docs", "allow(dead_code", "allow(unsafe_code"];
        findings.extend(source.lines_with(&source.code, &words));
    }
    none("Every crate is under the common lints, so that every public item is documented:", &findings);
}
