//! A pull as it goes: a bar for each layer on a terminal, else a line for each step.

use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::agent::{LayerPhase, LayerProgress};

use super::{Output, decimal_size};

/// How a pull is shown.
#[derive(Debug)]
pub(crate) enum PullDisplay {
    /// Not at all.
    Quiet,
    Lines {
        phases: HashMap<String, LayerPhase>,
    },
    Bars {
        bars: MultiProgress,
        layers: HashMap<String, ProgressBar>,
    },
}

impl PullDisplay {
    /// Returns the display that fits where stderr goes.
    pub(crate) fn new(out: &Output, quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        // Not every terminal can move its cursor.
        if out.draws_progress() && !bars.is_hidden() {
            Self::Bars {
                bars,
                layers: HashMap::new(),
            }
        } else {
            Self::Lines {
                phases: HashMap::new(),
            }
        }
    }

    /// Shows a line.
    pub(crate) fn status(&self, out: &mut Output, line: &str) {
        match self {
            Self::Quiet => {}
            Self::Lines { .. } => out.message(line),
            // A terminal that cannot be drawn on shows nothing, which harms no pull.
            Self::Bars { bars, .. } => drop(bars.println(line)),
        }
    }

    /// Shows how far a layer is.
    pub(crate) fn layer(&mut self, out: &mut Output, layer: &LayerProgress) {
        let phase = layer.phase();
        match self {
            Self::Quiet => {}
            Self::Lines { phases } => {
                if phases.insert(layer.digest.clone(), phase) != Some(phase) {
                    out.message(format!("{}: {}", short(&layer.digest), word(phase)));
                }
            }
            Self::Bars { bars, layers } => {
                let bar = layers.entry(layer.digest.clone()).or_insert_with(|| {
                    let bar = bars.add(ProgressBar::new(0));
                    bar.set_prefix(short(&layer.digest).to_owned());
                    bar
                });
                draw(bar, layer, phase);
            }
        }
    }
}

fn draw(bar: &ProgressBar, layer: &LayerProgress, phase: LayerPhase) {
    match phase {
        LayerPhase::Fetching if layer.total > 0 => {
            bar.set_style(style("{prefix}: {msg:12} [{bar:40.=>-}] {counts}", layer));
            bar.set_length(layer.total);
            bar.set_position(layer.current);
        }
        _ => bar.set_style(style("{prefix}: {msg}", layer)),
    }
    bar.set_message(word(phase));
    if matches!(phase, LayerPhase::Done | LayerPhase::Exists) {
        bar.abandon();
    }
}

fn style(template: &str, layer: &LayerProgress) -> ProgressStyle {
    let counts = format!(
        "{}/{}",
        decimal_size(layer.current),
        decimal_size(layer.total)
    );
    let template = template.replace("{counts}", &counts);
    let style = ProgressStyle::with_template(&template);
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=>-")
}

fn word(phase: LayerPhase) -> &'static str {
    match phase {
        LayerPhase::Unspecified | LayerPhase::Waiting => "Waiting",
        LayerPhase::Fetching => "Downloading",
        LayerPhase::Unpacking => "Extracting",
        LayerPhase::Done => "Pull complete",
        LayerPhase::Exists => "Already exists",
    }
}

/// Returns the first twelve digits of a digest, by which people know a layer.
fn short(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}
