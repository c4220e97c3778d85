// SPDX-License-Identifier: Apache-2.0
//! The DNS names of a certificate that the nodes of a fleet share. Pure.

/// CAs take no more in one order.
const MAX: usize = 100;

/// The names of this node, and those of others as far as there is room.
pub fn names(own: &[String], others: &[String]) -> Vec<String> {
    let mut all = own.to_vec();
    for name in others {
        if all.len() >= MAX {
            break;
        }
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_come_first_and_others_fill_up() {
        let of = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&of(&["a", "b"]), &of(&["b", "c", "c"])), of(&["a", "b", "c"]));
        let many: Vec<String> = (0..150).map(|n| n.to_string()).collect();
        assert_eq!(names(&many, &of(&["c"])), many, "what is configured here is never cut");
        let filled = names(&of(&["a"]), &many);
        assert_eq!((filled.len(), filled[0].as_str(), filled[99].as_str()), (100, "a", "98"));
    }
}
