//! From a profile to the kernel's program, by libseccomp.

use std::fs::File;
use std::io::{Read, Seek};

use libseccomp::error::{SeccompErrno, SeccompError};
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use crate::error::{CompileError, shown};
use crate::newer::{self, Highest};
use crate::profile::{Action, Comparison, Condition, Definition, Rule};
use crate::{Bpf, Capabilities, KernelVersion, catalogue, program};

/// Most instructions the kernel loads: `BPF_MAXINSNS`.
const LONGEST: usize = 4096;
const ENOSYS: u16 = 38;
/// A binary tree over the numbers, in place of one comparison after the other: compiling takes
/// longer, but that is done once, and loading is done for each process.
const TREE: u32 = 2;

/// Compiles the rules that hold.
pub(crate) fn compile(
    definition: &Definition,
    capabilities: Capabilities,
    kernel: KernelVersion,
) -> Result<Bpf, CompileError> {
    let mut context = context(definition)?;
    for rule in definition
        .rules
        .iter()
        .filter(|rule| rule.holds(capabilities, kernel))
    {
        // The library refuses rules that say what holds anyway.
        if rule.action != definition.default {
            add_rule(&mut context, rule, definition.default)?;
        }
    }
    let library = program::decode(&export(&context)?);
    let mut whole = if answers_newer(definition.default) {
        newer::prefix(&highest(definition))
    } else {
        Vec::new()
    };
    whole.extend(library);
    if whole.len() > LONGEST {
        return Err(CompileError::TooLong {
            instructions: whole.len(),
            limit: LONGEST,
        });
    }
    Ok(Bpf::of(&whole))
}

/// Says whether newer calls need an answer of their own: not where unlisted ones pass, or get it.
fn answers_newer(default: Action) -> bool {
    !default.lets_pass() && default != Action::Errno(ENOSYS)
}

fn context(definition: &Definition) -> Result<ScmpFilterContext, CompileError> {
    let failed = |step| move |source| CompileError::Library { step, source };
    let mut context = ScmpFilterContext::new(to_scmp(definition.default))
        .map_err(failed("begin with the default action"))?;
    for arch in definition.architectures().skip(1) {
        context
            .add_arch(arch.scmp)
            .map_err(failed("add an architecture"))?;
    }
    // The shim decides about no_new_privs.
    context
        .set_ctl_nnp(false)
        .map_err(failed("leave no_new_privs alone"))?;
    // A library before 2.5 cannot; its programs are right all the same.
    let _ = context.set_ctl_optimize(TREE);
    Ok(context)
}

fn add_rule(
    context: &mut ScmpFilterContext,
    rule: &Rule,
    default: Action,
) -> Result<(), CompileError> {
    let alternatives = alternatives(&rule.conditions);
    let action = to_scmp(rule.action);
    for name in &rule.names {
        let Ok(call) = ScmpSyscall::from_name(name) else {
            // Not known is not allowed, unless everything is that is not listed.
            if default.lets_pass() && !rule.action.lets_pass() {
                return Err(CompileError::UnknownCall { name: shown(name) });
            }
            continue;
        };
        for conditions in &alternatives {
            let added = if conditions.is_empty() {
                context.add_rule(action, call)
            } else {
                context.add_rule_conditional(action, call, conditions)
            };
            added
                .map(|_| ())
                .or_else(known_already)
                .map_err(|source| CompileError::Rule {
                    name: shown(name),
                    source,
                })?;
        }
    }
    Ok(())
}

/// Lets a rule pass that another one has said already.
fn known_already(error: SeccompError) -> Result<(), SeccompError> {
    if error.errno() == Some(SeccompErrno::EEXIST) {
        Ok(())
    } else {
        Err(error)
    }
}

/// Returns the conditions as the library takes them: all together; or each alone, if one argument
/// is tested twice, which other runtimes take for "any of them" and the library takes not at all.
fn alternatives(conditions: &[Condition]) -> Vec<Vec<ScmpArgCompare>> {
    let twice = (0..6).any(|index| conditions.iter().filter(|c| c.index == index).count() > 1);
    if twice {
        return conditions
            .iter()
            .map(|condition| vec![compare(condition)])
            .collect();
    }
    vec![conditions.iter().map(compare).collect()]
}

fn compare(condition: &Condition) -> ScmpArgCompare {
    let operator = match condition.comparison {
        Comparison::NotEqual => ScmpCompareOp::NotEqual,
        Comparison::Less => ScmpCompareOp::Less,
        Comparison::LessOrEqual => ScmpCompareOp::LessOrEqual,
        Comparison::Equal => ScmpCompareOp::Equal,
        Comparison::GreaterOrEqual => ScmpCompareOp::GreaterEqual,
        Comparison::Greater => ScmpCompareOp::Greater,
        Comparison::Masked { mask } => ScmpCompareOp::MaskedEqual(mask),
    };
    ScmpArgCompare::new(condition.index, operator, condition.value)
}

fn to_scmp(action: Action) -> ScmpAction {
    match action {
        Action::Allow => ScmpAction::Allow,
        Action::Log => ScmpAction::Log,
        Action::Errno(errno) => ScmpAction::Errno(i32::from(errno)),
        Action::Trace(value) => ScmpAction::Trace(value),
        Action::Trap => ScmpAction::Trap,
        Action::KillThread => ScmpAction::KillThread,
        Action::KillProcess => ScmpAction::KillProcess,
    }
}

/// Returns the program through a file in memory: older libraries know no other way.
fn export(context: &ScmpFilterContext) -> Result<Vec<u8>, CompileError> {
    let failed = |source| CompileError::Export { source };
    let memory = rustix::fs::memfd_create("seccomp", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|errno| failed(errno.into()))?;
    context
        .export_bpf(&memory)
        .map_err(|source| CompileError::Library {
            step: "write the program",
            source,
        })?;
    let mut file = File::from(memory);
    let mut bytes = Vec::new();
    file.rewind().map_err(failed)?;
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Returns the highest number for each architecture of all the calls that the profile or the
/// default one names, as far as the library knows them. The default one is counted in because a
/// short profile does not make old calls new.
fn highest(definition: &Definition) -> Vec<Highest> {
    let ours = catalogue::definition();
    let names: Vec<&str> = definition.names().chain(ours.names()).collect();
    let number = |name: &str, arch| {
        let call = ScmpSyscall::from_name_by_arch(name, arch).ok()?;
        // Negative numbers stand for calls that the architecture lacks.
        u32::try_from(call.as_raw_syscall()).ok()
    };
    definition
        .architectures()
        .map(|arch| {
            let known = names.iter().filter_map(|name| number(name, arch.scmp));
            Highest {
                arch,
                number: known.max().unwrap_or(u32::MAX).max(arch.first),
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
