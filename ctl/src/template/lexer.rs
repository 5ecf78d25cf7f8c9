//! Cuts a template into text and actions, and actions into tokens.

use super::TemplateError;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// Text that is copied.
    Text(String),
    /// What stands between `{{` and `}}`.
    Action(Vec<Token>),
}

/// A word of an action, and the column at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) column: usize,
    /// White space stands before it, so that it begins an operand.
    pub(super) spaced: bool,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// `.` alone.
    Dot,
    /// `.Name`.
    Field(String),
    /// `$` or `$name`.
    Variable(String),
    /// A keyword or a function.
    Word(String),
    String(String),
    Integer(i64),
    Float(f64),
    Open,
    Close,
    Pipe,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// Cuts `template` into pieces.
pub(super) fn lex(template: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trim_next = false;
    while let Some(open) = rest.find("{{") {
        let mut text = &rest[..open];
        let column = template.len() - rest.len() + open + 1;
        let mut action = &rest[open + 2..];
        if let Some(trimmed) = action.strip_prefix("- ") {
            text = text.trim_end();
            action = trimmed;
        }
        push_text(&mut pieces, text, trim_next);
        let (tokens, after) = lex_action(action, template.len() - action.len(), column)?;
        trim_next = after.trim;
        rest = after.rest;
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action(tokens));
        }
    }
    push_text(&mut pieces, rest, trim_next);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trim_start: bool) {
    let text = if trim_start { text.trim_start() } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

struct After<'a> {
    rest: &'a str,
    trim: bool,
}

/// Reads the tokens of one action up to its `}}`; a comment has none.
fn lex_action(
    action: &str,
    offset: usize,
    column: usize,
) -> Result<(Option<Vec<Token>>, After<'_>), TemplateError> {
    let unclosed = TemplateError::Unclosed { column };
    if let Some(comment) = action.strip_prefix("/*") {
        let Some((_, rest)) = comment.split_once("*/") else {
            return Err(unclosed);
        };
        return Ok((None, close(rest).ok_or(unclosed)?));
    }
    let mut tokens = Vec::new();
    let mut rest = action;
    loop {
        if let Some(after) = close(rest) {
            return Ok((Some(tokens), after));
        }
        let trimmed = rest.trim_start();
        if trimmed.is_empty() {
            return Err(unclosed);
        }
        let column = offset + (action.len() - trimmed.len()) + 1;
        let spaced = trimmed.len() < rest.len() || tokens.is_empty();
        if let Some(after) = close(trimmed) {
            return Ok((Some(tokens), after));
        }
        let (kind, length) = token(trimmed, column)?;
        tokens.push(Token {
            kind,
            column,
            spaced,
        });
        rest = &trimmed[length..];
    }
}

/// Returns what follows if `rest` is at the end of an action.
fn close(rest: &str) -> Option<After<'_>> {
    if let Some(rest) = rest.strip_prefix("}}") {
        return Some(After { rest, trim: false });
    }
    let rest = rest
        .strip_prefix(char::is_whitespace)?
        .trim_start()
        .strip_prefix("-}}")?;
    Some(After { rest, trim: true })
}

/// Reads one token and returns it with its length in bytes.
fn token(text: &str, column: usize) -> Result<(Kind, usize), TemplateError> {
    let unfinished = || TemplateError::Syntax {
        found: "a string without end".into(),
        column,
    };
    let first = text.chars().next().unwrap_or_default();
    let kind = match first {
        '(' => (Kind::Open, 1),
        ')' => (Kind::Close, 1),
        '|' => (Kind::Pipe, 1),
        ',' => (Kind::Comma, 1),
        ':' if text.starts_with(":=") => (Kind::Declare, 2),
        '=' => (Kind::Assign, 1),
        '"' => quoted(text).ok_or_else(unfinished)?,
        '`' => {
            let end = text[1..].find('`').ok_or_else(unfinished)?;
            (Kind::String(text[1..=end].to_owned()), end + 2)
        }
        '.' => {
            let name = name(&text[1..]);
            let kind = if name.is_empty() {
                Kind::Dot
            } else {
                Kind::Field(name.to_owned())
            };
            (kind, 1 + name.len())
        }
        '$' => {
            let name = name(&text[1..]);
            (Kind::Variable(name.to_owned()), 1 + name.len())
        }
        '-' | '+' | '0'..='9' => number(text, column)?,
        _ if first == '_' || first.is_alphabetic() => {
            let name = name(text);
            (Kind::Word(name.to_owned()), name.len())
        }
        other => {
            return Err(TemplateError::Syntax {
                found: format!("`{other}`"),
                column,
            });
        }
    };
    Ok(kind)
}

/// Returns the name at the start of `text`.
fn name(text: &str) -> &str {
    let end = text
        .find(|c: char| c != '_' && !c.is_alphanumeric())
        .unwrap_or(text.len());
    &text[..end]
}

fn number(text: &str, column: usize) -> Result<(Kind, usize), TemplateError> {
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
    let end = text.find(|c| !digits(c)).unwrap_or(text.len());
    let word = &text[..end];
    let kind = match (word.parse(), word.parse()) {
        (Ok(integer), _) => Kind::Integer(integer),
        (_, Ok(float)) => Kind::Float(float),
        _ => {
            return Err(TemplateError::Syntax {
                found: format!("`{word}`"),
                column,
            });
        }
    };
    Ok((kind, end))
}

/// Reads a string in double quotes, with Go's escapes.
fn quoted(text: &str) -> Option<(Kind, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Kind::String(value), at + 1)),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}
