//! `confab conference …` and `confab flow` beside a running server with a meeting in it.

use crate::{calling::Caller, program::Place};

#[test]
fn they_are_listed_shown_and_ended() {
    let place = Place::new("[]");
    let server = place.serve();
    assert!(place.confab(&["conference", "list"], "").fine().contains("No conference is scheduled."));

    let mut ann = Caller::creates(&server.at("tcp"), "ann", &["--subject", "The harbour"]);
    let mut bob = Caller::joins(&server.at("udp"), "bob", &ann.conference);
    let id = ann.id();
    let listed = place.confab(&["conference", "list"], "").fine();
    let row: Vec<&str> =
        listed.lines().find(|line| line.contains(&id)).expect("it is listed").split_whitespace().collect();
    assert_eq!([row[1], row[2]], ["ann@example.test", "2"], "{listed}");
    assert!(row[7..].join(" ") == "The harbour", "{listed}");
    // Expires in 14 days, is deleted 14 days after, began just now and ends in a day.
    let dates: Vec<&str> = row[3..7].iter().map(|date| &date[..10]).collect();
    assert!(dates[2] <= dates[3] && dates[3] < dates[0] && dates[0] < dates[1], "{listed}");

    let shown = place.confab(&["conference", "show", &id[..6].to_ascii_lowercase()], "").fine();
    for part in [
        ann.conference.as_str(),
        "The harbour",
        "chat",
        "active, 2 in it",
        "locked     no",
        "lobby      no",
        "if nobody joins",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    for refused in [
        place.confab(&["conference", "show", "ZZZZZZZZ"], "").refused(),
        place.confab(&["conference", "end", "ZZZZZZZZ"], "").refused(),
    ] {
        assert!(refused.contains("ZZZZZZZZ"), "{refused}");
    }

    let ended = place.confab(&["conference", "end", &id], "").fine();
    assert!(ended.contains("was ended"), "{ended}");
    ann.program.says("The conference was ended.");
    bob.program.says("The conference was ended.");
    assert!(ann.program.ends().success && bob.program.ends().success);
    let shown = place.confab(&["conference", "show", &id], "").fine();
    assert!(shown.contains("not active") && !shown.contains("nobody joins"), "{shown}");
    assert!(shown.contains("unless it is prolonged") && !shown.contains("never"), "{shown}");
    let refused = place.confab(&["conference", "end", &id], "").refused();
    assert!(refused.contains("nothing to end"), "{refused}");
}

#[test]
fn the_flow_is_found_by_a_shortened_id() {
    let place = Place::new("[]");
    let server = place.serve();
    let ann = Caller::creates(&server.at("tcp"), "ann", &[]);
    let id = ann.id();
    let whole = place.confab(&["flow", &id], "").fine();
    let steps: Vec<&str> = whole.lines().filter_map(|line| line.split_whitespace().nth(4)).collect();
    assert!(steps.contains(&"1") && steps.contains(&"3"), "{whole}");
    let short = place.confab(&["flow", &id[..5].to_ascii_lowercase()], "").fine();
    assert!(
        short.starts_with(whole.lines().next().unwrap()) && short.lines().count() >= whole.lines().count()
    );

    let other = Caller::creates(&server.at("tcp"), "bob", &[]);
    assert_ne!(other.id(), id);
    let common: String =
        id.chars().zip(other.id().chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
    if !common.is_empty() {
        let refused = place.confab(&["flow", &common], "").refused();
        assert!(refused.contains("No single conference"), "{refused}");
    }
}
