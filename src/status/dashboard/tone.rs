// SPDX-License-Identifier: Apache-2.0
//! The few colours of the page by what they say, each with its class in page.css. A sign and the word beside
//! it say the same: nothing is said by colour alone.

/// How serious something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing to do.
    Good,
    /// At work, and nothing to do.
    Busy,
    /// Someone should look.
    Warn,
    /// Clients are refused, or soon will be.
    Bad,
    /// Left alone: by the configuration, or as nothing uses it.
    Idle,
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Busy => "busy",
            Tone::Warn => "warn",
            Tone::Bad => "bad",
            Tone::Idle => "idle",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tone_has_a_colour_and_a_sign_in_the_style() {
        let style = include_str!("page.css");
        for tone in [Tone::Good, Tone::Busy, Tone::Warn, Tone::Bad, Tone::Idle] {
            let class = tone.class();
            assert!(style.contains(&format!("\n.{class} {{ --tone: ")), "{class}");
            assert!(style.contains(&format!("\n.word.{class}::before {{ content: ")), "{class}");
        }
    }
}
