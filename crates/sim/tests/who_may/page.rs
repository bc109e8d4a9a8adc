//! The page: tables, and what they mean.

use super::stage::Asks;

/// One table.
pub struct Section {
    pub title: &'static str,
    /// What stands above the table.
    pub says: &'static str,
    /// What the first column is.
    pub first: &'static str,
    /// Whether all of it is for those who are in the conference.
    pub needs_membership: bool,
    /// Whether all of it is for the organizer alone.
    pub is_the_organizers: bool,
    /// Whether what one asker may do spoils the conference for the next.
    pub changes: bool,
    pub rows: Vec<Row>,
}

/// One row.
pub struct Row {
    pub name: String,
    pub asks: Asks,
    /// What each asker is told.
    pub cells: Vec<String>,
}

const INTRODUCTION: &str = "# Who may send what

What a running Confab answers to every SIP method and every C3P command, from everybody there can be. The page is written by the test
`every_method_and_command_from_everybody`, which fails when the server answers anything else; `CONFAB_UPDATE=1` writes it anew.

| column | who that is |
|---|---|
| unauthenticated | says he is the attendee, and proves nothing |
| another's name | is signed in as somebody, says she is the attendee, and answers the challenge with her own password |
| stranger | is signed in, and not in the conference |
| anonymous | has not signed in, knows the conference's key, and is in it by that |
| attendee, presenter | is in the conference with this role |
| organizer | scheduled the conference and is in it |

| cell | what it says |
|---|---|
| `403 3014` | the SIP status, and the number in `ms-diagnostics` or `ms-diagnostics-public` (`docs/protocol/c3p.md` §13) |
| `200 success`, `200 failure: …` | the SIP status and the C3P answer in its body |
| `202, …` | accepted, and the final C3P answer that came by INFO |
| passed on | the server is no party to it: it went to whom it was for, who answered |
| – | no answer, because the method has none |
";

/// The whole page.
pub fn print(sections: &[Section]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in sections {
        page.push_str(&format!("\n## {}\n", section.title));
        if !section.says.is_empty() {
            page.push_str(&format!("{}\n\n", section.says));
        }
        page.push_str(&format!(
            "| {} | unauthenticated | another's name | stranger | anonymous | attendee | presenter | organizer |\n|---|---|---|---|---|---|---|---|\n",
            section.first
        ));
        for row in &section.rows {
            page.push_str(&format!("| {} | {} |\n", row.name, row.cells.join(" | ")));
        }
    }
    page
}
