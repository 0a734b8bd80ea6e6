//! Tables in Markdown.

use std::fmt;

/// A heading row and others; the first column names the row, the others are figures.
pub(crate) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(first: &str, others: impl IntoIterator<Item = impl ToString>) -> Self {
        let mut heading = vec![first.to_owned()];
        heading.extend(others.into_iter().map(|it| it.to_string()));
        Self { heading, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, name: impl ToString, cells: impl IntoIterator<Item = impl ToString>) {
        let mut row = vec![name.to_string()];
        row.extend(cells.into_iter().map(|it| it.to_string()));
        row.resize(self.heading.len(), String::new());
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.heading.join(" | "))?;
        writeln!(f, "| ---{} |", " | ---:".repeat(self.heading.len() - 1))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        writeln!(f)
    }
}

/// With commas between thousands, and no more digits than are of use.
pub(crate) fn figure(value: f64) -> String {
    if value < 0.0 {
        return format!("-{}", figure(-value));
    }
    let digits = match value {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.char_indices() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// What could not be measured is a dash.
pub(crate) fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), figure)
}

/// A figure and, for all but the first server, how many times the first one's it is.
pub(crate) fn ratio_cell(value: Option<f64>, ratio: Option<f64>) -> String {
    match ratio {
        Some(ratio) => format!("{} ({ratio:.2})", cell(value)),
        None => cell(value),
    }
}

/// The middle one, or the mean of the middle two.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { (values[values.len() / 2 - 1] + upper) / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_are_of_use() {
        let shown = [0.0625, 1.5, 12.34, 339.2, 1064.0, 386_000.4, 1_060_000.0, -2.0].map(figure);
        assert_eq!(shown, ["0.062", "1.50", "12.3", "339", "1,064", "386,000", "1,060,000", "-2.00"]);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn rows_are_as_long_as_the_heading() {
        let mut table = Table::new("server", ["1x20", "16x20"]);
        table.row("bare mio", ["88"]);
        assert_eq!(table.to_string(), "| server | 1x20 | 16x20 |\n| --- | ---: | ---: |\n| bare mio | 88 |  |\n\n");
    }
}
