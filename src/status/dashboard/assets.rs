// SPDX-License-Identifier: Apache-2.0
//! Style and script of the page, for one `<style>` and one `<script>` in it: no file beside the page is
//! requested, and the hashes of these two are all that its policy allows.

/// For `<style>`.
pub(super) const STYLE: &str = include_str!("page.css");

/// For `<script>` at the end of the body. The page says all it has to say without it.
pub(super) const SCRIPT: &str = include_str!("page.js");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_ends_its_element_nor_loads_anything() {
        for text in [STYLE, SCRIPT] {
            assert!(text.is_ascii());
            for harm in
                ["</", "<!--", "@import", "url(", "http:", "https:", "eval(", "Function(", "innerHTML"]
            {
                assert!(!text.contains(harm), "{harm}");
            }
        }
        assert!(!STYLE.contains('<') && !SCRIPT.contains("outerHTML") && !SCRIPT.contains("document.write"));
    }
}
