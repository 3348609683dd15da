//! Line plots as SVG, with a logarithmic axis to the right.

use std::fmt::Write as _;

use super::support::figures::{Figure, number};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 60.0;
const COLORS: [&str; 3] = ["#777777", "#0b62a4", "#c2571a"];

pub(crate) struct Plot {
    title: &'static str,
    x_label: &'static str,
    y_label: &'static str,
    series: Vec<Series>,
}

struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Plot {
    pub(crate) fn new(title: &'static str, x_label: &'static str, y_label: &'static str) -> Self {
        let floor = Series { name: "floor".to_owned(), points: Vec::new() };
        Self { title, x_label, y_label, series: vec![floor] }
    }

    /// Adds the point of a figure, and that of the floor beside it. `name` is the number of jobs, `separator`, and the series.
    pub(crate) fn add(&mut self, name: &str, separator: &str, figure: &Figure) {
        let Some((x, series)) = name.split_once(separator) else { return };
        let Ok(x) = x.parse::<f64>() else { return };
        if let Some(beside) = figure.beside
            && self.series[0].points.iter().all(|point| point.0 < x)
        {
            self.series[0].points.push((x, beside));
        }
        let at = self.series.iter().position(|other| other.name == series).unwrap_or_else(|| {
            self.series.push(Series { name: series.to_owned(), points: Vec::new() });
            self.series.len() - 1
        });
        self.series[at].points.push((x, figure.value));
    }

    pub(crate) fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x_min = points().map(|point| point.0).fold(f64::INFINITY, f64::min).max(1.0);
        let x_max = points().map(|point| point.0).fold(x_min * 10.0, f64::max);
        let y_max = nice(points().map(|point| point.1).fold(1.0, f64::max));
        let x_of = |x: f64| LEFT + (x / x_min).ln() / (x_max / x_min).ln() * (WIDTH - LEFT - RIGHT);
        let y_of = |y: f64| HEIGHT - BOTTOM - y / y_max * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<text x="{LEFT}" y="22" font-size="15">{}</text>
<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>
<text transform="translate(18 {:.1}) rotate(-90)" text-anchor="middle">{}</text>
"#,
            self.title,
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 14.0,
            self.x_label,
            (TOP + HEIGHT - BOTTOM) / 2.0,
            self.y_label
        );
        let mut line = |text: String| svg.push_str(&(text + "\n"));
        for step in 0..=4 {
            let value = y_max * f64::from(step) / 4.0;
            let y = y_of(value);
            line(format!(r##"<path d="M{LEFT} {y:.1}H{:.1}" stroke="#dddddd"/>"##, WIDTH - RIGHT));
            line(format!(
                r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 8.0,
                y + 4.0,
                number(value)
            ));
        }
        for (x, _) in &self.series[0].points {
            let (at, label) = (x_of(*x), thousands(*x));
            line(format!(r#"<text x="{at:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#, HEIGHT - BOTTOM + 18.0));
        }
        for (at, series) in self.series.iter().enumerate() {
            let color = COLORS[at % COLORS.len()];
            let mut path = String::new();
            for (at, (x, y)) in series.points.iter().enumerate() {
                let _ = write!(path, "{}{:.1} {:.1}", if at == 0 { 'M' } else { 'L' }, x_of(*x), y_of(*y));
                line(format!(r#"<circle cx="{:.1}" cy="{:.1}" r="3" fill="{color}"/>"#, x_of(*x), y_of(*y)));
            }
            line(format!(r#"<path d="{path}" fill="none" stroke="{color}" stroke-width="2"/>"#));
            let y = TOP + 12.0 + 20.0 * [0.0, 1.0, 2.0][at % 3];
            let x = WIDTH - RIGHT + 16.0;
            line(format!(r#"<path d="M{x:.1} {:.1}h18" stroke="{color}" stroke-width="2"/>"#, y - 4.0));
            line(format!(r#"<text x="{:.1}" y="{y:.1}">{}</text>"#, x + 24.0, series.name));
        }
        svg + "</svg>\n"
    }
}

/// The next number at the end of an axis: 1, 2, 4 or 8 and zeros.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0].into_iter().map(|factor| factor * power).find(|end| *end >= value).unwrap_or(value)
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
