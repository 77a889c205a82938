//! The report of a simulation: text, JSON, and one HTML file with plots that needs nothing else.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::document::add;

/// A line of a plot: seconds and a value.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// A report.
#[derive(Debug, Clone)]
pub(super) struct Report {
    title: &'static str,
    fields: Value,
    series: Vec<Series>,
}

/// The size of the plot, and its margin.
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 60.0;
const COLOURS: [&str; 4] = ["#0b6bcb", "#1f7a1f", "#c41c1c", "#9a5b13"];

impl Report {
    pub(super) fn new(title: &'static str, fields: Value, series: Vec<Series>) -> Self {
        Self {
            title,
            fields,
            series,
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut document = self.fields.clone();
        let series: Vec<Value> = self
            .series
            .iter()
            .map(|series| json!({"name": series.name, "points": series.points}))
            .collect();
        add(&mut document, "series", series);
        document
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.title);
        for (name, value) in self.rows() {
            let _ = writeln!(text, "{name:<34} {value}");
        }
        text
    }

    pub(super) fn html(&self) -> String {
        let rows: String = self
            .rows()
            .into_iter()
            .map(|(name, value)| {
                format!(
                    "<tr><th>{}</th><td>{}</td></tr>\n",
                    escape(&name),
                    escape(&value)
                )
            })
            .collect();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<style>\n\
             body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 860px; color: #1a1a1a; }}\n\
             table {{ border-collapse: collapse; }} th, td {{ text-align: left; padding: 2px 16px 2px 0; font-weight: normal; }}\n\
             td {{ font-variant-numeric: tabular-nums; }} svg text {{ font-size: 12px; }}\n</style>\n</head>\n<body>\n\
             <h1>{title}</h1>\n{plot}\n<table>\n{rows}</table>\n</body>\n</html>\n",
            title = escape(self.title),
            plot = self.plot(),
        )
    }

    /// The fields by their paths, in one list.
    fn rows(&self) -> Vec<(String, String)> {
        fn walk(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
            let named = |child: &str| {
                if name.is_empty() {
                    child.to_owned()
                } else {
                    format!("{name}: {child}")
                }
            };
            match value {
                Value::Object(fields) => fields
                    .iter()
                    .for_each(|(child, value)| walk(&named(child), value, rows)),
                Value::Array(items) => {
                    for item in items {
                        let fields = item.as_object().into_iter().flatten();
                        let parts: Vec<_> = fields
                            .map(|(name, value)| format!("{name} {}", plain(value)))
                            .collect();
                        rows.push((name.to_owned(), parts.join(", ")));
                    }
                }
                leaf => rows.push((name.to_owned(), plain(leaf))),
            }
        }
        let mut rows = Vec::new();
        walk("", &self.fields, &mut rows);
        rows
    }

    fn plot(&self) -> String {
        let every = || self.series.iter().flat_map(|series| &series.points);
        let longest = every().map(|(x, _)| *x).fold(1.0, f64::max);
        let highest = every().map(|(_, y)| *y).fold(1.0, f64::max);
        let x = |seconds: f64| MARGIN + seconds / longest * (WIDTH - 2.0 * MARGIN);
        let y = |value: f64| HEIGHT - MARGIN / 2.0 - value / highest * (HEIGHT - MARGIN);
        let mut plot = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"devices over time\">\n"
        );
        for part in 0..=4 {
            let (seconds, value) = (
                longest * f64::from(part) / 4.0,
                highest * f64::from(part) / 4.0,
            );
            let _ = writeln!(
                plot,
                "<line x1=\"{MARGIN}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                WIDTH - MARGIN,
                y(value),
                y(value),
                MARGIN - 6.0,
                y(value) + 4.0,
                x(seconds),
                HEIGHT - 8.0,
                super::words(std::time::Duration::from_secs_f64(seconds)),
            );
        }
        let coloured = self.series.iter().zip(COLOURS.iter().cycle());
        for (index, (series, colour)) in coloured.enumerate() {
            let points: Vec<_> = series
                .points
                .iter()
                .map(|(seconds, value)| format!("{:.1},{:.1}", x(*seconds), y(*value)))
                .collect();
            let _ = writeln!(
                plot,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
                points.join(" "),
                MARGIN + 12.0,
                20.0 + 16.0 * index as f64,
                escape(series.name),
            );
        }
        plot + "</svg>"
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            format!("{:.1}", number.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_html_is_complete_and_loads_nothing() {
        let series = vec![Series {
            name: "connected",
            points: vec![(0.0, 0.0), (60.0, 1000.0)],
        }];
        let report = Report::new(
            "Plan of a fleet",
            json!({"devices": 1000, "error": "<script>"}),
            series,
        );
        let html = report.html();
        assert!(html.contains("<polyline") && html.contains("&lt;script&gt;"));
        for external in ["http://", "https://", "<script", "src=", "@import"] {
            assert!(!html.contains(external), "{external}");
        }
        assert!(
            report
                .text()
                .contains("devices                            1000")
        );
        assert_eq!(report.json()["series"][0]["points"][1][1], 1000.0);
    }
}
