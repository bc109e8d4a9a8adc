//! `confab try`

use crate::program::{Program, confab};

/// The step of a line of the ladder: `# t from to step OCS what`.
fn step_of(line: &str) -> Option<u32> {
    let mut words = line.split_whitespace();
    words.next()?.parse::<u32>().ok()?;
    words.next()?.parse::<f64>().ok()?;
    words.nth(2)?.parse().ok()
}

#[test]
fn it_shows_the_eight_steps_in_order_and_ends() {
    let said = confab(&["try", "--once", "--port", "0"], "").fine();
    let mut steps = said.lines().filter_map(step_of);
    let missing = (1..=8).find(|step| !steps.any(|found| found == *step));
    assert!(missing.is_none(), "step {missing:?} does not follow the one before it in:\n{said}");
    let counted = said.lines().find_map(|line| line.strip_suffix(" lines.")).unwrap();
    let printed =
        said.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|t| t.parse::<f64>().is_ok()));
    assert_eq!(printed.count().to_string(), counted, "every line is printed as it happens:\n{said}");
    for component in ["Client", "FocusFactory", "Focus", "MCUFactory", "IMMCU"] {
        assert!(said.to_lowercase().contains(&component.to_lowercase()), "{component} in:\n{said}");
    }
}

#[test]
fn it_stays_up_and_others_join() {
    let mut program = Program::start(&["try", "--port", "0"], &[]);
    let command =
        program.hears("how to call", |line| line.trim().strip_prefix("confab call ").map(str::to_owned));
    let password =
        program.out.lines().find_map(|line| line.trim().strip_prefix("guest@confab.test")).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), password.trim()).unwrap();
    let mut words: Vec<String> =
        command.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect();
    let name = words.iter().position(|word| word == "password").expect("it names a password file");
    words[name] = file.path().to_str().unwrap().to_owned();
    let words: Vec<&str> = std::iter::once("call").chain(words.iter().map(String::as_str)).collect();
    let mut guest = Program::start(&words, &[]);
    guest.says("* You are in ");
    guest.types("is anybody here?");
    for robot in ["vivian@confab.test", "amy@confab.test"] {
        let answer = format!("{robot}: I read you, guest.");
        assert!(
            guest.out.contains(&answer) || {
                guest.says(&answer);
                true
            }
        );
    }
    program.is_told_to_stop();
    assert!(program.ends().success);
}
