//! HTML in which every value is escaped.

use std::fmt::{self, Display, Write};

/// A part of a page.
pub(super) struct Html(String);

impl Html {
    pub(super) fn new() -> Self {
        Self(String::new())
    }

    /// Adds markup as it is. Never for a value.
    pub(super) fn raw(&mut self, markup: &'static str) {
        self.0 += markup;
    }

    /// Adds a value, escaped for text and for attributes in double quotes.
    pub(super) fn value(&mut self, value: impl Display) {
        let _ = write!(Escape(&mut self.0), "{value}");
    }

    pub(super) fn append(&mut self, other: Self) {
        self.0 += &other.0;
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Adds markup and values in turn: a literal is markup, everything else is a value.
macro_rules! html {
    ($page:expr, $($rest:tt)*) => { $crate::control::page::html::parts!($page; $($rest)*) };
}

macro_rules! parts {
    ($page:expr;) => {};
    ($page:expr; $markup:literal $(, $($rest:tt)*)?) => {
        $page.raw($markup);
        $( $crate::control::page::html::parts!($page; $($rest)*); )?
    };
    ($page:expr; $value:expr $(, $($rest:tt)*)?) => {
        $page.value(&$value);
        $( $crate::control::page::html::parts!($page; $($rest)*); )?
    };
}

pub(super) use {html, parts};

struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // HTML has no such characters, and a parser may treat them in its own way.
                '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\x7f' => {
                    self.0.push('\u{fffd}');
                }
                letter => self.0.push(letter),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_literal_is_markup_and_a_value_is_escaped() {
        let mut page = Html::new();
        let value = "<script>'\"&\0</script>";
        let number = 7;
        html!(page, "<p title=\"", value, "\">", number, "</p>");
        assert_eq!(
            page.into_string(),
            "<p title=\"&lt;script&gt;&#39;&quot;&amp;\u{fffd}&lt;/script&gt;\">7</p>"
        );
    }

    proptest! {
        #[test]
        fn no_value_contains_markup(value in any::<String>()) {
            let mut page = Html::new();
            page.value(&value);
            let text = page.into_string();
            prop_assert!(!text.contains(['<', '>', '"', '\'']));
        }
    }
}
