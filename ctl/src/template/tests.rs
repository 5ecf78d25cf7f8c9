use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Methods, Template, TemplateError};

fn sample() -> Value {
    json!({
        "ID": "abc", "Names": "web", "Count": 3, "Size": 1.5, "On": true, "Off": false, "Nothing": null,
        "State": {"Status": "running", "Pid": 7},
        "Env": ["A=1", "B=2"],
        "Labels": {"role": "front", "app": "shop"},
        "Ports": {"80/tcp": [{"HostPort": "8080"}]},
        "Empty": [],
    })
}

fn render(template: &str) -> Result<String, TemplateError> {
    Template::parse(template)?.render(&sample(), &())
}

const FILLED: &[(&str, &str)] = &[
    ("plain", "plain"),
    ("{{.ID}}: {{.Names}}", "abc: web"),
    ("{{ .State.Status }}", "running"),
    (
        "{{.Count}} {{.Size}} {{.On}} {{.Nothing}}",
        "3 1.5 true <nil>",
    ),
    ("{{.Env}} {{.Labels}}", "[A=1 B=2] map[app:shop role:front]"),
    ("{{json .State}}", r#"{"Status":"running","Pid":7}"#),
    ("{{.Env | json}}", r#"["A=1","B=2"]"#),
    ("{{join .Env \",\"}}", "A=1,B=2"),
    ("{{len .Env}}{{len .Names}}{{len .Labels}}", "232"),
    ("{{index .Env 1}}", "B=2"),
    (
        "{{index .Labels \"role\"}}|{{index .Labels \"none\"}}|",
        "front||",
    ),
    ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
    (
        "{{index .Ports \"80/tcp\" 0 | json}}",
        r#"{"HostPort":"8080"}"#,
    ),
    (
        "{{upper .ID}} {{\"ABC\" | lower}} {{title \"one two\"}}",
        "ABC abc One Two",
    ),
    ("{{range split \"a:b\" \":\"}}<{{.}}>{{end}}", "<a><b>"),
    ("{{println .ID .Count}}", "abc 3\n"),
    ("{{print .ID .Names}}", "abcweb"),
    (
        r#"{{printf "%s=%d %q %v" .ID .Count .Names .Env}}"#,
        r#"abc=3 "web" [A=1 B=2]"#,
    ),
    (
        r#"{{printf "%-5s|%5s|%05d|%.2f|%x|%%" .ID .ID .Count .Size 255}}"#,
        "abc  |  abc|00003|1.50|ff|%",
    ),
    ("{{if .On}}yes{{else}}no{{end}}", "yes"),
    ("{{if .Off}}a{{else if .Nothing}}b{{else}}c{{end}}", "c"),
    (
        "{{if and .On (eq .State.Status \"running\")}}up{{end}}",
        "up",
    ),
    ("{{if or .Off .Names}}{{or .Off .Names}}{{end}}", "web"),
    ("{{if not .Empty}}none{{end}}", "none"),
    (
        "{{eq .Count 3}} {{eq .ID \"x\" \"abc\"}} {{ne .ID \"abc\"}}",
        "true true false",
    ),
    (
        "{{lt .Count 4}} {{ge .Count 4}} {{gt \"b\" \"a\"}} {{le 1 1.0}}",
        "true false true true",
    ),
    ("{{range .Env}}[{{.}}]{{end}}", "[A=1][B=2]"),
    (
        "{{range $i, $e := .Env}}{{$i}}={{$e}};{{end}}",
        "0=A=1;1=B=2;",
    ),
    (
        "{{range $k, $v := .Labels}}{{$k}}:{{$v}} {{end}}",
        "app:shop role:front ",
    ),
    ("{{range .Empty}}x{{else}}empty{{end}}", "empty"),
    ("{{range .Env}}{{$.ID}}{{end}}", "abcabc"),
    (
        "{{with .State}}{{.Pid}}{{end}}{{with .Nothing}}x{{else}}-{{end}}",
        "7-",
    ),
    ("{{with $s := .State}}{{$s.Status}}{{end}}", "running"),
    ("{{$x := .ID}}{{if .On}}{{$x = .Names}}{{end}}{{$x}}", "web"),
    ("a {{- .ID -}} b", "aabcb"),
    ("a {{/* nothing */}} b{{- /* trimmed */ -}}  c", "a  bc"),
    ("{{\"a\\tb\"}}{{`c\\d`}}", "a\tbc\\d"),
    ("{{slice .ID 1}}{{slice .ID 0 1}}", "bca"),
    ("{{truncate .ID 2}}{{pad .ID 1 1}}", "ab abc "),
    ("{{.ID | printf \"%s-%s\" \"x\"}}", "x-abc"),
    ("{{true}} {{-1}} {{1.5}}", "true -1 1.5"),
];

#[test]
fn templates_are_filled_as_go_fills_them() {
    for (template, expected) in FILLED {
        assert_eq!(render(template).as_deref(), Ok(*expected), "{template}");
    }
}

#[test]
fn mistakes_are_named() {
    let table = [
        ("{{.ID", "`{{` at column 1 has no `}}`"),
        (
            "a{{\"x}}",
            "a string without end at column 4 is not understood here",
        ),
        ("{{if .ID}}x", "if is not closed by `{{end}}`"),
        ("{{range .Env}}{{else}}", "range is not closed by `{{end}}`"),
        ("x{{end}}", "`end` at column 4 is not understood here"),
        ("{{}}", "an empty action at column 1 is not understood here"),
        (
            "{{.ID}}{{(.ID}}",
            "an empty action at column 11 is not understood here",
        ),
        (
            "{{.ID | }}",
            "an empty action at column 7 is not understood here",
        ),
        ("{{ # }}", "`#` at column 4 is not understood here"),
        ("{{frob .ID}}", "there is no function frob"),
        ("{{$x}}", "there is no variable $x"),
        ("{{.Nope}}", "there is no field Nope in this value"),
        ("{{.State.Nope}}", "there is no field Nope in .State"),
        ("{{.ID.Nope}}", "there is no field Nope in .ID"),
        ("{{index .Env 2}}", "index 2 is outside of a list of 2"),
        ("{{len .Count}}", "len does not take a number"),
        ("{{upper .Env}}", "upper does not take a list"),
        ("{{range .ID}}{{end}}", "range does not take a string"),
        (
            "{{printf \"%d\" .ID}}",
            "printf's %d does not take a string",
        ),
        ("{{printf \"%s\"}}", "printf's %s does not take nothing"),
        ("{{.ID .Names}}", "field ID does not take arguments"),
    ];
    for (template, expected) in table {
        let error = render(template).expect_err(template);
        assert_eq!(error.to_string(), expected, "{template}");
    }
}

#[test]
fn an_unknown_field_comes_with_the_known_ones() {
    let error = render("{{.State.Nope}}").expect_err("unknown");
    assert_eq!(error.hint(), "fields here: Status Pid");
}

#[test]
fn methods_are_called_with_their_argument() {
    struct Labels;
    impl Methods for Labels {
        fn call(&self, name: &str, argument: &str) -> Option<Value> {
            (name == "Label").then(|| format!("<{argument}>").into())
        }
    }
    let template = Template::parse("{{.Label \"role\"}}").expect("parses");
    assert_eq!(template.render(&sample(), &Labels).as_deref(), Ok("<role>"));
}

proptest! {
    #[test]
    fn text_without_actions_is_copied(text in "[^{}]*") {
        prop_assert_eq!(render(&text), Ok(text));
    }

    #[test]
    fn no_input_makes_the_template_panic(text in "(\\{\\{|\\}\\}|[ .$|()\"a-zA-Z0-9%:=-]){0,40}") {
        let _ = render(&text);
    }

    #[test]
    fn strings_survive_quoting(text in "[a-z\"\\\\\n\t ]{0,20}") {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
        prop_assert_eq!(render(&format!("{{{{\"{quoted}\"}}}}")), Ok(text));
    }
}
