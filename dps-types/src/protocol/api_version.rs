//! The api-version of a request.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// An api-version: a date, and whether it is a preview. Ordered by date, a preview before its release.
///
/// ```
/// use dps_types::protocol::ApiVersion;
///
/// let version = ApiVersion::V2021_06_01;
/// assert!(version.is_known() && version < ApiVersion::V2026_11_01);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiVersion {
    year: u16,
    month: u8,
    day: u8,
    released: bool,
}

impl ApiVersion {
    /// The name of the query parameter that carries it.
    pub const PARAMETER: &'static str = "api-version";

    /// Device API: the newest one in which a device has no separate reprovision policy.
    pub const V2018_04_01: Self = Self::released(2018, 4, 1);
    /// Service API: the first one with symmetric keys, allocation and reprovision policies.
    pub const V2018_09_01_PREVIEW: Self = Self {
        released: false,
        ..Self::released(2018, 9, 1)
    };
    /// Device API: the api-version that the C#, Node, Java and Python SDKs send.
    pub const V2019_03_31: Self = Self::released(2019, 3, 31);
    /// Device API: the first one with the substatus `reprovisionedToInitialAssignment`.
    pub const V2019_04_15: Self = Self::released(2019, 4, 15);
    /// Device API: the api-version that the C SDK and IoT Edge send, and the default of `dps-device`.
    pub const V2021_06_01: Self = Self::released(2021, 6, 1);
    /// Service API: the default of `dps-service`, except for reads of enrollments.
    pub const V2021_10_01: Self = Self::released(2021, 10, 1);
    /// Both APIs: the first preview of certificate issuance.
    pub const V2025_07_01_PREVIEW: Self = Self {
        released: false,
        ..Self::released(2025, 7, 1)
    };
    /// Both APIs: certificate issuance.
    pub const V2026_11_01: Self = Self::released(2026, 11, 1);
    /// Both APIs: the preview with the connection profile of a hub, which the unified device SDK sends.
    pub const V2026_11_02_PREVIEW: Self = Self {
        released: false,
        ..Self::released(2026, 11, 2)
    };

    /// Every api-version seen in Microsoft's SDKs and documents, oldest first.
    pub const KNOWN: &'static [Self] = &[
        Self {
            released: false,
            ..Self::released(2017, 8, 21)
        },
        Self {
            released: false,
            ..Self::released(2017, 8, 31)
        },
        Self::released(2017, 11, 15),
        Self::V2018_04_01,
        Self::V2018_09_01_PREVIEW,
        Self::released(2018, 11, 1),
        Self::V2019_03_31,
        Self::V2019_04_15,
        Self::V2021_06_01,
        Self::V2021_10_01,
        Self::V2025_07_01_PREVIEW,
        Self::V2026_11_01,
        Self::V2026_11_02_PREVIEW,
    ];

    pub(super) const fn released(year: u16, month: u8, day: u8) -> Self {
        Self {
            year,
            month,
            day,
            released: true,
        }
    }

    /// Returns true if it is one of the published api-versions that this crate lists.
    pub fn is_known(&self) -> bool {
        Self::KNOWN.contains(self)
    }
}

impl FromStr for ApiVersion {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError::new("api-version", "it is not YYYY-MM-DD or YYYY-MM-DD-preview");
        let (date, released) = match text.strip_suffix("-preview") {
            Some(date) => (date, false),
            None => (text, true),
        };
        let shape = date.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
        if date.len() != 10 || !shape {
            return Err(wrong());
        }
        let [year, month, day] =
            [0..4, 5..7, 8..10].map(|digits| date.get(digits).unwrap_or_default());
        let version = Self {
            year: year.parse().map_err(|_| wrong())?,
            month: month.parse().map_err(|_| wrong())?,
            day: day.parse().map_err(|_| wrong())?,
            released,
        };
        let plausible = (1..=12).contains(&version.month) && (1..=31).contains(&version.day);
        plausible.then_some(version).ok_or_else(wrong)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.released { "" } else { "-preview" };
        write!(
            f,
            "{:04}-{:02}-{:02}{suffix}",
            self.year, self.month, self.day
        )
    }
}

impl fmt::Debug for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for ApiVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ApiVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
