//! The http-01 challenge (RFC 8555 §8.3): what is served below `/.well-known/acme-challenge/`, from the
//! file of a name that holds its key authorization.

/// Its type in ACME and in `MDCAChallenges`.
pub const TYPE: &str = "http-01";

/// The file in `challenges/NAME/`.
pub const FILE_NAME: &str = "acme-http-01.txt";

/// What to answer to a request for `token`, given the content of the file: the content if its token part
/// is the one asked for. A text without a dot is no key authorization; it was put there by hand and is
/// served to any token.
pub fn answer<'a>(content: &'a str, token: &str) -> Option<&'a str> {
    match content.split_once('.') {
        Some((own, _)) => (own == token).then_some(content),
        None => Some(content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::key_authorization;

    #[test]
    fn a_key_authorization_is_served_to_its_own_token_alone() {
        let content = key_authorization("tok-1", "thumb");
        assert_eq!(content, "tok-1.thumb");
        assert_eq!(answer(&content, "tok-1"), Some("tok-1.thumb"));
        for other in ["tok-2", "tok-1.thumb", "", "tok", "TOK-1"] {
            assert_eq!(answer(&content, other), None, "{other}");
        }
    }

    #[test]
    fn a_plain_text_without_a_dot_is_served_as_it_is() {
        assert_eq!(answer("hello there\n", "any"), Some("hello there\n"));
        assert_eq!(answer("", "any"), Some(""));
    }
}
