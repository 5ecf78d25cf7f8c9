//! The compiled CRI contract against the table of what every kubelet speaks.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet,
};

const TABLE: &str = include_str!("../fixtures/cri/cri-v1.tsv");
const PACKAGE: &str = ".runtime.v1.";

#[test]
fn the_contract_is_the_tables_no_more_and_no_less() -> Result<()> {
    let set = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET)?;
    let file = set
        .file
        .iter()
        .find(|file| file.package() == "runtime.v1")
        .context("runtime.v1 is compiled in")?;
    let ours = rows_of(file);
    let wanted: BTreeSet<String> = TABLE.lines().skip(1).map(str::to_owned).collect();
    let missing: Vec<_> = wanted.difference(&ours).collect();
    let added: Vec<_> = ours.difference(&wanted).collect();
    assert_eq!((missing, added), (vec![], vec![]));
    assert_eq!(
        wanted.len(),
        TABLE.lines().count() - 1,
        "the table has no row twice"
    );
    Ok(())
}

fn rows_of(file: &FileDescriptorProto) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for service in &file.service {
        for rpc in &service.method {
            let stream = if rpc.server_streaming() {
                "stream "
            } else {
                ""
            };
            let (request, response) = (short(rpc.input_type()), short(rpc.output_type()));
            rows.insert(format!(
                "rpc\t{}\t{}\t{request}\t{stream}{response}",
                service.name(),
                rpc.name()
            ));
        }
    }
    for kind in &file.enum_type {
        enum_rows("", kind, &mut rows);
    }
    for message in &file.message_type {
        message_rows(message, &mut rows);
    }
    rows
}

fn enum_rows(prefix: &str, kind: &EnumDescriptorProto, rows: &mut BTreeSet<String>) {
    for value in &kind.value {
        rows.insert(format!(
            "enum\t{prefix}{}\t{}\t{}\t-",
            kind.name(),
            value.name(),
            value.number()
        ));
    }
}

fn message_rows(message: &DescriptorProto, rows: &mut BTreeSet<String>) {
    for kind in &message.enum_type {
        enum_rows(&format!("{}.", message.name()), kind, rows);
    }
    if message.field.is_empty() {
        rows.insert(format!("message\t{}\t-\t-\t-", message.name()));
    }
    for field in &message.field {
        let (name, number, kind) = (field.name(), field.number(), type_of(message, field));
        rows.insert(format!(
            "message\t{}\t{name}\t{number}\t{kind}",
            message.name()
        ));
    }
}

fn type_of(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let entry = message.nested_type.iter().find(|nested| {
        field
            .type_name()
            .ends_with(&format!(".{}.{}", message.name(), nested.name()))
            && nested
                .options
                .as_ref()
                .is_some_and(|options| options.map_entry())
    });
    if let Some([key, value]) = entry.map(|entry| entry.field.as_slice()) {
        return format!("map<{},{}>", scalar(key), scalar(value));
    }
    let repeated = if field.label() == Label::Repeated {
        "repeated "
    } else {
        ""
    };
    format!("{repeated}{}", scalar(field))
}

fn scalar(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => short(field.type_name()),
        Type::String => "string".to_owned(),
        Type::Bytes => "bytes".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Int32 => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        Type::Uint32 => "uint32".to_owned(),
        Type::Uint64 => "uint64".to_owned(),
        Type::Double => "double".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Returns the last word of a full name.
fn short(name: &str) -> String {
    let name = name.strip_prefix(PACKAGE).unwrap_or(name);
    name.rsplit('.').next().unwrap_or(name).to_owned()
}
