// SPDX-License-Identifier: Apache-2.0
//! Choices of a managed domain: when it is renewed, why it is not, and whether its hosts require https.
//! Values only; imports nothing.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RenewMode {
    Manual = 0,
    #[default]
    Auto = 1,
    Always = 2,
}

impl RenewMode {
    /// The mode of a number in md.json; an unknown one is the default.
    pub fn from_number(number: Option<i64>) -> Self {
        match number {
            Some(0) => RenewMode::Manual,
            Some(2) => RenewMode::Always,
            _ => RenewMode::Auto,
        }
    }
}

/// Why this module does not renew an MD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRenewed {
    #[error("renewal is manual (MDRenewMode)")]
    Manual,
    #[error("its certificate files are configured (MDCertificateFile)")]
    StaticFiles,
    #[error("no host uses it")]
    Unused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RequireHttps {
    #[default]
    Off,
    Temporary,
    Permanent,
}

impl RequireHttps {
    /// As the directive has it.
    pub fn word(self) -> &'static str {
        match self {
            RequireHttps::Off => "off",
            RequireHttps::Temporary => "temporary",
            RequireHttps::Permanent => "permanent",
        }
    }

    /// The value of a word in md.json; an unknown one is the default.
    pub(super) fn from_word(word: Option<&str>) -> Self {
        match word {
            Some("temporary") => RequireHttps::Temporary,
            Some("permanent") => RequireHttps::Permanent,
            _ => RequireHttps::Off,
        }
    }
}
