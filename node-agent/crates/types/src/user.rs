//! Who `user[:group]` is, by the bytes of an image's /etc/passwd and /etc/group.
//!
//! Both files are hostile input: lines of any length, NUL bytes, numbers that wrap. A line that is not what its
//! manual page says is skipped, never read as zero.

/// Highest id accepted: beyond it some kernels and programs see a negative number, and one of those is root.
pub const MAX_ID: u32 = i32::MAX.cast_unsigned();

/// Most groups one user may be in.
pub const MAX_GROUPS: usize = 4096;

/// Why a user text names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No line of /etc/passwd has that name.
    #[error("user {name:?} is not in the image's /etc/passwd")]
    UnknownUser {
        /// The name asked for.
        name: String,
    },
    /// No line of /etc/group has that name.
    #[error("group {name:?} is not in the image's /etc/group")]
    UnknownGroup {
        /// The name asked for.
        name: String,
    },
    /// A number below zero or above [`MAX_ID`].
    #[error("id {text:?} is not between 0 and {MAX_ID}")]
    Range {
        /// The number asked for.
        text: String,
    },
    /// More groups than [`MAX_GROUPS`].
    #[error("the user is in {count} groups, more than {MAX_GROUPS}")]
    TooManyGroups {
        /// How many.
        count: usize,
    },
}

impl crate::Classify for UserError {
    fn kind(&self) -> crate::ErrorKind {
        crate::ErrorKind::InvalidArgument
    }
}

/// What to do with the user's memberships in /etc/group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memberships {
    /// They are added.
    Merge,
    /// They are left out.
    Ignore,
}

/// Whom to look for.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// `user[:group]`, names or numbers; empty: the two defaults hold.
    pub text: &'a str,
    /// The user if the text names none.
    pub default_uid: u32,
    /// The group if the text is empty.
    pub default_gid: u32,
    /// Groups to add.
    pub supplemental: &'a [u32],
    /// More groups to add, by name.
    pub group_names: &'a [String],
    /// What to do with memberships.
    pub memberships: Memberships,
}

/// A user as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// The primary group, then every other, each once.
    pub groups: Vec<u32>,
    /// Home directory; `None` where /etc/passwd names none.
    pub home: Option<Vec<u8>>,
}

/// One line of /etc/passwd.
struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// One line of /etc/group.
struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

/// What one half of the text is.
enum Wanted<'a> {
    Nothing,
    Number(u32),
    Name(&'a str),
}

/// Finds the user that `lookup` asks for in the two files.
///
/// # Errors
/// Fails when a name is in neither file, or a number is out of range.
pub fn resolve(lookup: &Lookup<'_>, passwd: &[u8], group: &[u8]) -> Result<User, UserError> {
    let (user_text, group_text) = lookup.text.split_once(':').unwrap_or((lookup.text, ""));
    let wanted_user = wanted(user_text)?;
    let account = accounts(passwd).find(|account| match wanted_user {
        Wanted::Nothing => account.uid == lookup.default_uid,
        Wanted::Number(uid) => account.uid == uid,
        Wanted::Name(name) => account.name == name.as_bytes(),
    });
    let uid = match (&wanted_user, &account) {
        (_, Some(account)) => account.uid,
        (Wanted::Nothing, None) => lookup.default_uid,
        (Wanted::Number(uid), None) => *uid,
        (Wanted::Name(name), None) => {
            return Err(UserError::UnknownUser { name: shown(name) });
        }
    };
    let gid = match wanted(group_text)? {
        Wanted::Number(gid) => gid,
        Wanted::Name(name) => group_named(group, name)?,
        Wanted::Nothing if lookup.text.is_empty() => lookup.default_gid,
        Wanted::Nothing => account.as_ref().map_or(0, |account| account.gid),
    };
    let mut all = vec![gid];
    if lookup.memberships == Memberships::Merge
        && let Some(account) = &account
    {
        let is_member = |line: &Group<'_>| {
            let mut members = line.members.split(|byte| *byte == b',');
            members.any(|member| member == account.name)
        };
        all.extend(groups(group).filter(is_member).map(|line| line.gid));
    }
    all.extend_from_slice(lookup.supplemental);
    for name in lookup.group_names {
        all.push(group_named(group, name)?);
    }
    Ok(User {
        uid,
        gid,
        groups: distinct(all)?,
        home: account
            .map(|account| account.home.to_vec())
            .filter(|home| !home.is_empty()),
    })
}

fn group_named(file: &[u8], name: &str) -> Result<u32, UserError> {
    groups(file)
        .find(|line| line.name == name.as_bytes())
        .map(|line| line.gid)
        .ok_or_else(|| UserError::UnknownGroup { name: shown(name) })
}

/// Keeps the first of equal ids, in order.
fn distinct(all: Vec<u32>) -> Result<Vec<u32>, UserError> {
    let mut seen = std::collections::BTreeSet::new();
    let kept: Vec<u32> = all.into_iter().filter(|gid| seen.insert(*gid)).collect();
    if kept.len() > MAX_GROUPS {
        return Err(UserError::TooManyGroups { count: kept.len() });
    }
    Ok(kept)
}

/// Reads one half of the text; what looks like a number is one.
fn wanted(text: &str) -> Result<Wanted<'_>, UserError> {
    if text.is_empty() {
        return Ok(Wanted::Nothing);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Wanted::Name(text));
    }
    match number(text.as_bytes()) {
        Some(id) => Ok(Wanted::Number(id)),
        None => Err(UserError::Range { text: shown(text) }),
    }
}

/// Reads decimal digits, no sign, at most [`MAX_ID`].
fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let id: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (id <= MAX_ID).then_some(id)
}

fn accounts(file: &[u8]) -> impl Iterator<Item = Account<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let (uid, gid) = (fields.nth(1)?, fields.next()?);
        let home = fields.nth(1).unwrap_or_default();
        Some(Account {
            name,
            uid: number(uid)?,
            gid: number(gid)?,
            home,
        })
    })
}

fn groups(file: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let gid = number(fields.nth(1)?)?;
        Some(Group {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    })
}

/// The lines that are neither empty nor comments, nor hold a NUL byte.
fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#") && !line.contains(&0))
}

/// The first 200 characters, for messages.
fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &[u8] = b"# comment\nroot:x:0:0:root:/root:/bin/sh\nbad\n:x:0:0::/:\n\
        web:x:33:34:Web:/var/www:/bin/false\nnohome:x:40:40\nwrap:x:4294967296:0::/:\nminus:x:-1:0::/:\n";
    const GROUP: &[u8] =
        b"root:x:0:\nweb:x:34:\nlogs:x:50:root,web\nadm:x:51:web\nhuge:x:99999999999:web\n";

    fn lookup(text: &str) -> Lookup<'_> {
        Lookup {
            text,
            default_uid: 0,
            default_gid: 0,
            supplemental: &[],
            group_names: &[],
            memberships: Memberships::Merge,
        }
    }

    fn found(text: &str) -> (u32, u32, Vec<u32>) {
        let user = resolve(&lookup(text), PASSWD, GROUP).unwrap();
        (user.uid, user.gid, user.groups)
    }

    #[test]
    fn names_and_numbers_are_found() {
        assert_eq!(found("web"), (33, 34, vec![34, 50, 51]));
        assert_eq!(found("33"), (33, 34, vec![34, 50, 51]));
        assert_eq!(found("web:logs"), (33, 50, vec![50, 51]));
        assert_eq!(found("web:7"), (33, 7, vec![7, 50, 51]));
        assert_eq!(found("1234"), (1234, 0, vec![0]));
        assert_eq!(found("1234:5"), (1234, 5, vec![5]));
        assert_eq!(found(":logs"), (0, 50, vec![50]));
        assert_eq!(found(""), (0, 0, vec![0, 50]));
    }

    #[test]
    fn an_empty_text_keeps_the_numbers_given() {
        let lookup = Lookup {
            default_uid: 33,
            default_gid: 9,
            supplemental: &[60, 9],
            ..lookup("")
        };
        let user = resolve(&lookup, PASSWD, GROUP).unwrap();
        assert_eq!(
            (user.uid, user.gid, user.groups),
            (33, 9, vec![9, 50, 51, 60])
        );
        assert_eq!(user.home.as_deref(), Some(&b"/var/www"[..]));
    }

    #[test]
    fn memberships_can_be_left_out() {
        let lookup = Lookup {
            memberships: Memberships::Ignore,
            supplemental: &[60],
            ..lookup("web")
        };
        assert_eq!(resolve(&lookup, PASSWD, GROUP).unwrap().groups, [34, 60]);
    }

    #[test]
    fn groups_are_added_by_name_too() {
        let names = ["logs".to_owned()];
        let known = Lookup {
            supplemental: &[60],
            group_names: &names,
            ..lookup("1234:5")
        };
        assert_eq!(resolve(&known, PASSWD, GROUP).unwrap().groups, [5, 60, 50]);
        let names = ["nobodys".to_owned()];
        let unknown = Lookup {
            group_names: &names,
            ..lookup("web")
        };
        assert!(matches!(
            resolve(&unknown, PASSWD, GROUP),
            Err(UserError::UnknownGroup { .. })
        ));
    }

    #[test]
    fn hostile_18_numbers_that_wrap_are_refused() {
        for bad in [
            "4294967296",
            "4294967296:0",
            "2147483648",
            "-1",
            "0:-1",
            "+0",
            "0:4294967295",
        ] {
            let error = resolve(&lookup(bad), PASSWD, GROUP).unwrap_err();
            assert!(matches!(error, UserError::Range { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn a_line_with_a_bad_number_is_not_root() {
        for name in ["wrap", "minus", "bad"] {
            assert_eq!(
                resolve(&lookup(name), PASSWD, GROUP),
                Err(UserError::UnknownUser {
                    name: name.to_owned()
                })
            );
        }
        let error = resolve(&lookup("web:huge"), PASSWD, GROUP).unwrap_err();
        assert_eq!(
            error,
            UserError::UnknownGroup {
                name: "huge".to_owned()
            }
        );
    }

    #[test]
    fn a_user_in_too_many_groups_is_refused() {
        use std::fmt::Write as _;
        let mut file = String::new();
        for gid in 0..5000 {
            writeln!(file, "g{gid}:x:{gid}:web").unwrap();
        }
        let error = resolve(&lookup("web"), PASSWD, file.as_bytes()).unwrap_err();
        assert!(matches!(error, UserError::TooManyGroups { .. }));
    }

    #[test]
    fn a_nul_byte_hides_its_line() {
        assert!(resolve(&lookup("web"), b"web:x:1:1:\0:/:\n", b"").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_exceed_the_range(
            text in ".{0,24}",
            passwd in proptest::collection::vec(any::<u8>(), 0..200),
            group in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(user) = resolve(&lookup(&text), &passwd, &group) {
                prop_assert!(user.uid <= MAX_ID && user.gid <= MAX_ID);
                prop_assert!(user.groups.iter().all(|gid| *gid <= MAX_ID));
            }
        }
    }
}
