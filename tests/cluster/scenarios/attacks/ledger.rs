//! What was found, by kind and attack, and when: a table, and the reasons behind it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};
use ecr_forecast::text::{self, Unit};

use super::objects::{Attack, Kind};

/// When it is looked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Moment {
    /// The object came in the middle of hundreds of events of every watch.
    Burst,
    /// A list is read that has the object on a later page.
    Pages,
    /// It was there before every replica that runs.
    Restart,
    /// That, under `failurePolicy: Fail`.
    Fail,
}

impl Moment {
    const ALL: [Moment; 4] = [Moment::Burst, Moment::Pages, Moment::Restart, Moment::Fail];

    fn as_str(self) -> &'static str {
        match self {
            Moment::Burst => "in a burst",
            Moment::Pages => "on a later page",
            Moment::Restart => "before the start",
            Moment::Fail => "under Fail",
        }
    }
}

/// A row of the table.
type Row = (Kind, Attack);

/// What holds for each row at each moment, and what does not.
pub struct Ledger {
    rows: Vec<Row>,
    cells: BTreeMap<(Row, Moment), Vec<String>>,
    /// What concerns every row.
    general: BTreeMap<Moment, Vec<String>>,
}

impl Ledger {
    /// `ATTACKS` in the environment, such as `Pod/deep,ConfigMap`, leaves out rows that none of its words is a part of.
    pub fn new() -> Ledger {
        let wanted = std::env::var("ATTACKS").unwrap_or_default();
        let words: Vec<&str> = wanted.split(',').filter(|word| !word.is_empty()).collect();
        let all = Kind::all().into_iter().flat_map(|kind| kind.attacks().iter().map(move |attack| (kind, *attack)));
        let chosen = |(kind, attack): &Row| {
            let name = format!("{}/{}", kind.as_str(), attack.as_str());
            words.is_empty() || words.iter().any(|word| name.starts_with(word))
        };
        Ledger { rows: all.filter(chosen).collect(), cells: BTreeMap::new(), general: BTreeMap::new() }
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What was found about one row.
    pub fn note(&mut self, row: Row, moment: Moment, found: Result<()>) {
        let cell = self.cells.entry((row, moment)).or_default();
        cell.extend(found.err().map(|error| format!("{error:#}")));
    }

    /// What was found about the other objects of a kind: it counts for all rows of the kind.
    pub fn note_kind(&mut self, kind: Kind, moment: Moment, found: Result<()>) {
        let found = found.map_err(|error| format!("{error:#}"));
        for row in self.rows.clone() {
            if row.0 == kind {
                self.note(row, moment, found.clone().map_err(anyhow::Error::msg));
            }
        }
    }

    /// What was found about everything.
    pub fn note_all(&mut self, moment: Moment, found: Result<()>) {
        let general = self.general.entry(moment).or_default();
        general.extend(found.err().map(|error| format!("{error:#}")));
    }

    /// Prints the table; an error where anything did not hold.
    pub fn close(&self) -> Result<()> {
        print!("{self}");
        let wrong: Vec<String> = self
            .cells
            .iter()
            .map(|(((kind, attack), moment), cell)| (format!("{}/{}", kind.as_str(), attack.as_str()), moment, cell))
            .chain(self.general.iter().map(|(moment, cell)| ("all".to_owned(), moment, cell)))
            .flat_map(|(row, moment, cell)| {
                cell.iter().map(move |text| format!("{row} {}: {}", moment.as_str(), cut(text)))
            })
            .collect();
        if !wrong.is_empty() {
            bail!("{} things do not hold:\n    {}", wrong.len(), wrong.join("\n    "));
        }
        Ok(())
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles: Vec<&str> = Moment::ALL.iter().map(|moment| moment.as_str()).collect();
        writeln!(f, "    | kind | attack | {} |", titles.join(" | "))?;
        writeln!(f, "    |---|---|{}", "---|".repeat(titles.len()))?;
        for row in &self.rows {
            let cells = Moment::ALL.map(|moment| match self.cells.get(&(*row, moment)).map(Vec::len) {
                None => "-",
                Some(0) => "holds",
                Some(_) => "FAILS",
            });
            writeln!(f, "    | {} | {} | {} |", row.0.as_str(), row.1.as_str(), cells.join(" | "))?;
        }
        let general = Moment::ALL.map(|moment| match self.general.get(&moment).map(Vec::len) {
            None => "-",
            Some(0) => "holds",
            Some(_) => "FAILS",
        });
        writeln!(f, "    | everything else | | {} |", general.join(" | "))
    }
}

fn cut(text: &str) -> String {
    text::cut(text, 400, Unit::Characters).into_owned()
}
