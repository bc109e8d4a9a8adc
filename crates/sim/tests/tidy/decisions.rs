//! Invariant 6: "may X do Y?" is answered in `crates/conference/src/policy.rs` alone.

use crate::{none, tree::TREE};

/// Who may look at a role besides the policy, and why that decides nothing.
const READERS: [(&str, &str); 4] = [
    ("crates/conference/src/policy.rs", "this is the policy"),
    ("crates/schema/", "reads and writes the words"),
    ("crates/client/src/roster.rs", "shows what the server decided"),
    ("crates/client/src/focus.rs", "tells the person what the server decided"),
];

#[test]
fn only_the_policy_looks_at_roles() {
    let mut findings = Vec::new();
    for source in TREE.sources_in(&["crates/"]) {
        if READERS.iter().any(|(path, _)| source.path.starts_with(path)) {
            continue;
        }
        let code = source.production_code();
        let lines = code.lines().enumerate().filter(|(_, line)| is_decision(line));
        findings
            .extend(lines.map(|(number, line)| format!("{}:{}: {}", source.path, number + 1, line.trim())));
    }
    none("Who may do what is decided in crates/conference/src/policy.rs; ask it:", &findings);
}

/// Whether a line compares a role with one it names, matches on it, or looks for it.
fn is_decision(line: &str) -> bool {
    let squeezed: String = line.split_whitespace().collect();
    ["Role::Presenter", "Role::Attendee"].iter().any(|role| {
        let before = ["==", "!=", "==&", "!=&", "contains(&", "is_some_and(|role|role==", "==Some("];
        let after = ["=>", "==", "!=", "|Role", ")=>", "if"];
        before.iter().any(|before| squeezed.contains(&format!("{before}{role}")))
            || after.iter().any(|after| squeezed.contains(&format!("{role}{after}")))
            || (squeezed.contains(role) && (squeezed.contains("matches!(") || squeezed.contains("iflet")))
    })
}

#[test]
fn decisions_are_recognised() {
    let check = |line: &str, decision: bool| assert_eq!(is_decision(line), decision, "{line}");
    check("if role == Role::Presenter {", true);
    check("if Role::Presenter == role {", true);
    check("Role::Attendee => false,", true);
    check("Some(Role::Presenter) => true,", true);
    check("matches!(person.role, Role::Presenter)", true);
    check("user.roles.contains(&Role::Presenter)", true);
    check("person.role == Some(Role::Presenter)", true);
    check("Command::Promote { user } => roles(user, Role::Presenter),", false);
    check("role: Role::Attendee,", false);
    check("return Some(Role::Presenter);", false);
}
