//! Formats a table for people. The first row is its header.

/// The lines of a table. A column is as wide as its widest cell, in characters. The last column is not padded, so it
/// may hold characters of any display width.
pub fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let header = header.map(str::to_owned);
    let rows: Vec<_> = std::iter::once(&header).chain(rows).collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..N.saturating_sub(1)).map(width).collect();
    let line = |row: &&[String; N]| {
        let last = row.len().saturating_sub(1);
        let cells = widths.iter().zip(row.iter());
        let mut line: String = cells
            .map(|(width, cell)| format!("{cell:width$} | "))
            .collect();
        line.extend(row.get(last).map(String::as_str));
        line
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_character_count() {
        let rows = [
            ["é".to_owned(), "b".to_owned()],
            ["abc".to_owned(), "".to_owned()],
        ];
        assert_eq!(
            table(["x", "last"], &rows),
            ["x   | last", "é   | b", "abc | "]
        );
    }
}
