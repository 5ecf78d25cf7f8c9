//! Fills a template.

use std::collections::BTreeMap;

use serde_json::Value;

use super::functions;
use super::parser::{Base, Node, Operand, Pipeline};
use super::{Methods, TemplateError};

type Result<T> = std::result::Result<T, TemplateError>;

/// Returns the text of `nodes` filled with `root`.
pub(super) fn render(nodes: &[Node], root: &Value, methods: &dyn Methods) -> Result<String> {
    let variables = vec![(String::new(), root.clone())];
    let mut filling = Filling {
        methods,
        variables,
        text: String::new(),
    };
    filling.nodes(nodes, root)?;
    Ok(filling.text)
}

struct Filling<'a> {
    methods: &'a dyn Methods,
    /// The innermost last; the first is `$`, the value the template was given.
    variables: Vec<(String, Value)>,
    text: String,
}

impl Filling<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<()> {
        let outer = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<()> {
        match node {
            Node::Text(text) => self.text.push_str(text),
            Node::Show(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.text.push_str(&functions::show(&value));
                }
            }
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let outer = self.variables.len();
                let branch = if functions::truth(&self.pipeline(condition, dot)?) {
                    then
                } else {
                    otherwise
                };
                self.nodes(branch, dot)?;
                self.variables.truncate(outer);
            }
            Node::With {
                value,
                then,
                otherwise,
            } => {
                let outer = self.variables.len();
                let value = self.pipeline(value, dot)?;
                if functions::truth(&value) {
                    self.nodes(then, &value)?;
                } else {
                    self.nodes(otherwise, dot)?;
                }
                self.variables.truncate(outer);
            }
            Node::Range {
                over,
                body,
                otherwise,
            } => self.range(over, body, otherwise, dot)?,
        }
        Ok(())
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<()> {
        let items = items(self.commands(over, dot)?)?;
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let outer = self.variables.len();
        for (key, item) in items {
            match over.variables.as_slice() {
                [] => {}
                [value] => self.variables.push((value.clone(), item.clone())),
                [index, value, ..] => {
                    self.variables.push((index.clone(), key));
                    self.variables.push((value.clone(), item.clone()));
                }
            }
            self.nodes(body, &item)?;
            self.variables.truncate(outer);
        }
        Ok(())
    }

    /// Evaluates a pipeline and gives its result to its variable, if it has one.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let value = self.commands(pipeline, dot)?;
        if let [name] = pipeline.variables.as_slice() {
            if pipeline.declares {
                self.variables.push((name.clone(), value.clone()));
            } else {
                let known = self
                    .variables
                    .iter_mut()
                    .rev()
                    .find(|(known, _)| known == name);
                let Some((_, slot)) = known else {
                    return Err(TemplateError::UnknownVariable { name: name.clone() });
                };
                slot.clone_from(&value);
            }
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, dot, piped)?);
        }
        Ok(piped.unwrap_or_default())
    }

    fn command(&mut self, command: &[Operand], dot: &Value, piped: Option<Value>) -> Result<Value> {
        let Some((first, operands)) = command.split_first() else {
            return Ok(Value::Null);
        };
        match &first.base {
            Base::Function(name) => {
                let value = match name.as_str() {
                    "and" | "or" => self.logic(name == "or", operands, dot, piped)?,
                    _ => functions::call(name, &self.arguments(operands, dot, piped)?)?,
                };
                fields(value, &first.fields)
            }
            _ if operands.is_empty() && piped.is_none() => self.operand(first, dot),
            Base::Dot if first.fields.len() == 1 => {
                let arguments = self.arguments(operands, dot, piped)?;
                self.method(&first.fields[0], &arguments)
            }
            _ => Err(argument("a value", "arguments")),
        }
    }

    fn arguments(
        &mut self,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Vec<Value>> {
        let values = operands.iter().map(|operand| self.operand(operand, dot));
        let mut values: Vec<Value> = values.collect::<Result<_>>()?;
        values.extend(piped);
        Ok(values)
    }

    /// Evaluates `and` and `or`, which stop at the first operand that decides.
    fn logic(
        &mut self,
        stop: bool,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value> {
        let mut last = None;
        for operand in operands {
            let value = self.operand(operand, dot)?;
            if functions::truth(&value) == stop {
                return Ok(value);
            }
            last = Some(value);
        }
        piped
            .or(last)
            .ok_or_else(|| argument(if stop { "or" } else { "and" }, "nothing"))
    }

    fn method(&self, name: &str, arguments: &[Value]) -> Result<Value> {
        let called = match arguments {
            [Value::String(argument)] => self.methods.call(name, argument),
            _ => None,
        };
        called.ok_or_else(|| argument(&format!("field {name}"), "arguments"))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value> {
        let base = match &operand.base {
            Base::Dot => return path(dot, &operand.fields),
            Base::Literal(value) => value.clone(),
            Base::Pipeline(pipeline) => self.commands(pipeline, dot)?,
            Base::Function(name) => functions::call(name, &[])?,
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let Some((_, value)) = known else {
                    return Err(TemplateError::UnknownVariable { name: name.clone() });
                };
                value.clone()
            }
        };
        fields(base, &operand.fields)
    }
}

fn argument(name: &str, found: &str) -> TemplateError {
    TemplateError::Argument {
        name: name.into(),
        found: found.into(),
    }
}

fn fields(value: Value, names: &[String]) -> Result<Value> {
    if names.is_empty() {
        Ok(value)
    } else {
        path(&value, names)
    }
}

/// Returns the value that `names` lead to.
fn path(value: &Value, names: &[String]) -> Result<Value> {
    let mut value = value;
    for (depth, name) in names.iter().enumerate() {
        value = value.get(name).ok_or_else(|| {
            let place = match depth {
                0 => "this value".to_owned(),
                _ => format!(".{}", names[..depth].join(".")),
            };
            let known = value.as_object().map(|map| map.keys().cloned().collect());
            TemplateError::UnknownField {
                name: name.clone(),
                place,
                known: known.unwrap_or_default(),
            }
        })?;
    }
    Ok(value.clone())
}

/// Returns what `range` goes over, with index or key; maps in the order of their keys.
fn items(value: Value) -> Result<Vec<(Value, Value)>> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => Ok(items
            .into_iter()
            .enumerate()
            .map(|(index, item)| (index.into(), item))
            .collect()),
        Value::Object(map) => {
            let map: BTreeMap<_, _> = map.into_iter().collect();
            Ok(map
                .into_iter()
                .map(|(key, item)| (key.into(), item))
                .collect())
        }
        Value::Number(number) => {
            let count = number.as_u64().unwrap_or(0);
            Ok((0..count)
                .map(|index| (index.into(), index.into()))
                .collect())
        }
        other => Err(argument("range", &functions::kind(&other))),
    }
}
