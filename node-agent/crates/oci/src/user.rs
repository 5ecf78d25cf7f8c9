//! Who a process runs as. Names are looked up by the shim, inside the container's root.

use crate::error::{PlanError, shown};

/// The largest id a container may use: above it, signed readers wrap around to root or below.
const LARGEST_ID: u64 = i32::MAX as u64;
const LONGEST_NAME: usize = 256;

/// A checked `user[:group]`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UserText {
    /// As it goes to the shim.
    pub(crate) text: String,
    /// The user, where it is a number; root until the shim has looked the name up.
    pub(crate) uid: u32,
    /// The group, where it is a number.
    pub(crate) gid: u32,
}

/// Checks the text; an empty user is root.
pub(crate) fn parse(text: &str) -> Result<UserText, PlanError> {
    let refused = |problem| PlanError::User {
        user: shown(text),
        problem,
    };
    let (user, group) = match text.split_once(':') {
        Some((_, group)) if group.contains(':') => return Err(refused("has more than one ':'")),
        Some((_, "")) => return Err(refused("has an empty group")),
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let uid = part(user).map_err(refused)?;
    let gid = group.map_or(Ok(None), part).map_err(refused)?;
    Ok(UserText {
        text: group.map_or_else(|| user.to_owned(), |group| format!("{user}:{group}")),
        uid: uid.unwrap_or(0),
        gid: gid.unwrap_or(0),
    })
}

/// Returns the number a part is, or `None` for a name.
fn part(part: &str) -> Result<Option<u32>, &'static str> {
    if part.len() > LONGEST_NAME {
        return Err("is too long");
    }
    if part.bytes().all(|b| b.is_ascii_digit()) {
        let id = part.parse::<u64>().ok().filter(|id| *id <= LARGEST_ID);
        let id = id.and_then(|id| u32::try_from(id).ok());
        return id.map(Some).ok_or("has an id above 2147483647");
    }
    if part.starts_with(['-', '+']) {
        return Err("begins with a sign");
    }
    if part
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || matches!(c, '/' | ','))
    {
        return Err("has a character that names cannot have");
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_18_ids_that_wrap_are_refused() {
        for bad in [
            "4294967296:0",
            "-1",
            "2147483648",
            "0:2147483648",
            "0:-1",
            "99999999999999999999",
            "+0",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("2147483647").unwrap().uid, 2_147_483_647);
    }

    #[test]
    fn names_and_numbers_are_told_apart() {
        assert_eq!(
            parse("").unwrap(),
            UserText {
                text: "0".into(),
                uid: 0,
                gid: 0
            }
        );
        assert_eq!(
            parse("1000").unwrap(),
            UserText {
                text: "1000".into(),
                uid: 1000,
                gid: 0
            }
        );
        assert_eq!(
            parse("app:50").unwrap(),
            UserText {
                text: "app:50".into(),
                uid: 0,
                gid: 50
            }
        );
        assert_eq!(
            parse(":50").unwrap(),
            UserText {
                text: "0:50".into(),
                uid: 0,
                gid: 50
            }
        );
        for bad in ["a:b:c", "a:", "a\nroot", "a b", "a\0", "../etc", "x,y"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_text_is_accepted_again(text in ".{0,20}") {
            if let Ok(user) = parse(&text) {
                prop_assert_eq!(parse(&user.text).unwrap(), user);
            }
        }
    }
}
