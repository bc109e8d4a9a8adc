//! `confab check`

use crate::program::{Place, confab, text};

#[test]
fn a_right_one_is_printed_with_comments_and_reads_back() {
    let place = Place::with("domain = \"office.test\"\n[conferences]\nmax_participants = 17\n");
    assert!(place.confab(&["check"], "").fine().contains("right"));
    let printed = place.confab(&["check", "--print"], "").fine();
    assert!(
        printed.contains("domain = \"office.test\"") && printed.contains("max_participants = 17"),
        "{printed}"
    );
    assert!(printed.contains("# How many people may be in one conference."), "{printed}");
    let again = Place::with(&printed).confab(&["check", "--print"], "").fine();
    let but_data = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with("data = ")).map(str::to_owned).collect()
    };
    assert_eq!(but_data(&again), but_data(&printed), "printed twice it is the same");
}

#[test]
fn unsafe_and_impossible_ones_are_refused_with_the_setting() {
    for (configuration, word) in [
        ("auth = []", "loopback"),
        ("auth = []\n[front_end]\nlisten = [\"tcp:127.0.0.1:0\", \"udp:[::]:5060\"]", "udp:[::]:5060"),
        ("auth = [\"ntlmv9\"]", "ntlmv9"),
        ("domian = \"example.test\"", "domian"),
        ("domain = \"\"", "domain"),
        ("digest_algorithms = []", "digest_algorithms"),
        ("[front_end]\nlisten = [\"tcp:nowhere\"]", "nowhere"),
        ("[front_end]\nprivate_key = \"key.pem\"", "certificate"),
        ("[front_end]\nmax_message = 10", "max_message"),
        ("database_url_file = \"/nowhere/url\"", "database_url_file: /nowhere/url cannot be read"),
        ("database_url_file = \"/proc/version\"", "postgres://"),
    ] {
        let place = Place::with(configuration);
        let refused = place.confab(&["check"], "").refused();
        assert!(refused.contains(word), "{configuration}: {refused}");
        let serving = place.confab(&["serve"], "").refused();
        assert!(serving.contains(word), "{configuration}: {serving}");
        assert!(!place.data().exists(), "nothing was made for a configuration that is refused");
    }
}

#[test]
fn a_missing_one_is_named() {
    let place = Place::with("");
    let missing = text(&place.file("none.toml"));
    let refused = confab(&["check", "--config", &missing], "").refused();
    assert!(refused.contains(&missing), "{refused}");
}
