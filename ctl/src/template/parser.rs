//! Makes a tree of the pieces of a template.

use serde_json::Value;

use super::TemplateError;
use super::lexer::{Kind, Piece, Token};

/// A part of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    /// `{{pipeline}}`; shown unless it declares or assigns.
    Show(Pipeline),
    If {
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// Commands, each one's result the last argument of the next.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    /// Variables that take the result; two only for `range`.
    pub(super) variables: Vec<String>,
    /// The variables are new ones.
    pub(super) declares: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// A value, and the fields taken of it.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
}

/// Where an operand's value comes from.
#[derive(Debug, Clone)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(String),
    Pipeline(Box<Pipeline>),
}

/// Makes a tree of `pieces`.
pub(super) fn parse(pieces: Vec<Piece>) -> Result<Vec<Node>, TemplateError> {
    let mut pieces = pieces.into_iter();
    let (nodes, end) = block(&mut pieces)?;
    match end {
        End::OfTemplate => Ok(nodes),
        End::Here(column) => Err(misplaced("end", column)),
        End::Else(mut tokens) => Err(misplaced("else", tokens.column())),
    }
}

fn misplaced(word: &str, column: usize) -> TemplateError {
    TemplateError::Syntax {
        found: format!("`{word}`"),
        column,
    }
}

/// What ended a block.
enum End {
    OfTemplate,
    Here(usize),
    Else(Tokens),
}

fn block(pieces: &mut std::vec::IntoIter<Piece>) -> Result<(Vec<Node>, End), TemplateError> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let mut tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => Tokens::new(tokens),
        };
        let column = tokens.column();
        match tokens.keyword() {
            Some("end") => {
                tokens.finish()?;
                return Ok((nodes, End::Here(column)));
            }
            Some("else") => return Ok((nodes, End::Else(tokens))),
            Some(word) => nodes.push(branch(word, tokens, pieces)?),
            None => {
                let pipeline = tokens.pipeline()?;
                tokens.finish()?;
                nodes.push(Node::Show(pipeline));
            }
        }
    }
    Ok((nodes, End::OfTemplate))
}

/// Reads the rest of an `if`, `with` or `range`.
fn branch(
    word: &'static str,
    mut tokens: Tokens,
    pieces: &mut std::vec::IntoIter<Piece>,
) -> Result<Node, TemplateError> {
    let pipeline = tokens.pipeline()?;
    tokens.finish()?;
    let (then, end) = block(pieces)?;
    let otherwise = match end {
        End::OfTemplate => return Err(TemplateError::MissingEnd { word }),
        End::Here(_) => Vec::new(),
        End::Else(tokens) => otherwise(word, tokens, pieces)?,
    };
    Ok(match word {
        "if" => Node::If {
            condition: pipeline,
            then,
            otherwise,
        },
        "with" => Node::With {
            value: pipeline,
            then,
            otherwise,
        },
        _ => Node::Range {
            over: pipeline,
            body: then,
            otherwise,
        },
    })
}

/// Reads what follows an `else`, which may be a further `if` or `with`.
fn otherwise(
    word: &'static str,
    mut tokens: Tokens,
    pieces: &mut std::vec::IntoIter<Piece>,
) -> Result<Vec<Node>, TemplateError> {
    if let Some(next @ ("if" | "with")) = tokens.keyword() {
        return Ok(vec![branch(next, tokens, pieces)?]);
    }
    tokens.finish()?;
    match block(pieces)? {
        (nodes, End::Here(_)) => Ok(nodes),
        (_, End::OfTemplate) => Err(TemplateError::MissingEnd { word }),
        (_, End::Else(mut tokens)) => Err(misplaced("else", tokens.column())),
    }
}

/// The tokens of one action, read from the front.
struct Tokens {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    last_column: usize,
}

impl Tokens {
    fn new(tokens: Vec<Token>) -> Self {
        let last_column = tokens.last().map_or(1, |token| token.column);
        Self {
            tokens: tokens.into_iter().peekable(),
            last_column,
        }
    }

    fn peek(&mut self) -> Option<&Kind> {
        self.tokens.peek().map(|token| &token.kind)
    }

    fn column(&mut self) -> usize {
        self.tokens
            .peek()
            .map_or(self.last_column, |token| token.column)
    }

    fn next_if(&mut self, kind: &Kind) -> bool {
        self.tokens.next_if(|token| token.kind == *kind).is_some()
    }

    /// Takes the keyword at the front, if there is one.
    fn keyword(&mut self) -> Option<&'static str> {
        let Some(Kind::Word(word)) = self.peek() else {
            return None;
        };
        let known = ["if", "else", "end", "range", "with"]
            .into_iter()
            .find(|known| known == word)?;
        self.tokens.next();
        Some(known)
    }

    fn unexpected(&mut self) -> TemplateError {
        let column = self.column();
        let found = match self.peek() {
            None => "an empty action".to_owned(),
            Some(Kind::Word(word)) => format!("`{word}`"),
            Some(Kind::Field(name)) => format!("`.{name}`"),
            Some(Kind::Variable(name)) => format!("`${name}`"),
            Some(Kind::Dot) => "`.`".into(),
            Some(Kind::Open) => "`(`".into(),
            Some(Kind::Close) => "`)`".into(),
            Some(Kind::Pipe) => "`|`".into(),
            Some(Kind::Comma) => "`,`".into(),
            Some(Kind::Declare) => "`:=`".into(),
            Some(Kind::Assign) => "`=`".into(),
            Some(Kind::String(_)) => "a string".into(),
            Some(Kind::Integer(_) | Kind::Float(_)) => "a number".into(),
        };
        TemplateError::Syntax { found, column }
    }

    fn finish(&mut self) -> Result<(), TemplateError> {
        if self.peek().is_none() {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        let (variables, declares) = self.variables();
        let mut commands = vec![self.command()?];
        while self.next_if(&Kind::Pipe) {
            commands.push(self.command()?);
        }
        Ok(Pipeline {
            variables,
            declares,
            commands,
        })
    }

    /// Reads `$a :=`, `$a, $b :=` or `$a =`, if that is what comes.
    fn variables(&mut self) -> (Vec<String>, bool) {
        let mut ahead = self.tokens.clone();
        let mut names = Vec::new();
        while let Some(Token {
            kind: Kind::Variable(name),
            ..
        }) = ahead.next()
        {
            names.push(name);
            match ahead.next().map(|token| token.kind) {
                Some(Kind::Comma) => {}
                Some(end @ (Kind::Declare | Kind::Assign)) => {
                    self.tokens = ahead;
                    return (names, end == Kind::Declare);
                }
                _ => break,
            }
        }
        (Vec::new(), false)
    }

    fn command(&mut self) -> Result<Vec<Operand>, TemplateError> {
        let mut operands = vec![self.operand()?];
        while !matches!(self.peek(), None | Some(Kind::Pipe | Kind::Close)) {
            operands.push(self.operand()?);
        }
        Ok(operands)
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        let unexpected = self.unexpected();
        let mut fields = Vec::new();
        let base = match self.tokens.next().map(|token| token.kind) {
            Some(Kind::Dot) => Base::Dot,
            Some(Kind::Field(name)) => {
                fields.push(name);
                Base::Dot
            }
            Some(Kind::Variable(name)) => Base::Variable(name),
            Some(Kind::String(text)) => Base::Literal(text.into()),
            Some(Kind::Integer(number)) => Base::Literal(number.into()),
            Some(Kind::Float(number)) => Base::Literal(number.into()),
            Some(Kind::Word(word)) => match word.as_str() {
                "true" => Base::Literal(true.into()),
                "false" => Base::Literal(false.into()),
                "nil" => Base::Literal(Value::Null),
                _ => Base::Function(word),
            },
            Some(Kind::Open) => {
                let pipeline = self.pipeline()?;
                if !self.next_if(&Kind::Close) {
                    return Err(self.unexpected());
                }
                Base::Pipeline(Box::new(pipeline))
            }
            _ => return Err(unexpected),
        };
        while let Some(Token {
            kind: Kind::Field(name),
            ..
        }) = self
            .tokens
            .next_if(|token| !token.spaced && matches!(token.kind, Kind::Field(_)))
        {
            fields.push(name);
        }
        Ok(Operand { base, fields })
    }
}
