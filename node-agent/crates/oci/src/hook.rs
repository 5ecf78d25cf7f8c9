//! Programs run at points of a container's life.

use std::path::PathBuf;

use agent_types::HookStage;
use oci_spec::runtime::{Hook, Hooks};

use crate::HookPlan;
use crate::error::{PlanError, without_nul};

/// Seconds that a hook may take whose plan does not say.
const PATIENCE: u32 = 10;

/// Returns the specification's hooks; `None` where there are none.
pub(crate) fn to_spec(plans: &[HookPlan]) -> Result<Option<Hooks>, PlanError> {
    if plans.is_empty() {
        return Ok(None);
    }
    let mut hooks = Hooks::default();
    for plan in plans {
        let hook = one(plan)?;
        let list = match plan.stage {
            HookStage::Prestart => hooks.prestart_mut(),
            HookStage::CreateRuntime => hooks.create_runtime_mut(),
            HookStage::CreateContainer => hooks.create_container_mut(),
            HookStage::StartContainer => hooks.start_container_mut(),
            HookStage::Poststart => hooks.poststart_mut(),
            HookStage::Poststop => hooks.poststop_mut(),
        };
        list.get_or_insert_default().push(hook);
    }
    Ok(Some(hooks))
}

fn one(plan: &HookPlan) -> Result<Hook, PlanError> {
    without_nul("hook path", &plan.path)?;
    for text in plan.args.iter().chain(&plan.env) {
        without_nul("word of a hook", text)?;
    }
    let args = match plan.args.as_slice() {
        [] => vec![plan.path.clone()],
        given => given.to_vec(),
    };
    let mut hook = Hook::default();
    hook.set_path(PathBuf::from(&plan.path))
        .set_args(Some(args))
        .set_env(Some(plan.env.clone()))
        .set_timeout(Some(plan.timeout.unwrap_or(PATIENCE).into()));
    Ok(hook)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(stage: HookStage, path: &str, args: &[&str]) -> HookPlan {
        HookPlan {
            stage,
            path: path.to_owned(),
            args: args.iter().map(ToString::to_string).collect(),
            env: vec!["A=1".to_owned()],
            timeout: None,
        }
    }

    #[test]
    fn hooks_are_listed_by_stage_in_their_order() {
        let all = HookStage::ALL.map(|stage| plan(stage, stage.name(), &[]));
        let mut plans = all.to_vec();
        plans.push(HookPlan {
            timeout: Some(3),
            ..plan(HookStage::CreateContainer, "/x", &["x", "y"])
        });
        let hooks = serde_json::to_value(to_spec(&plans).unwrap()).unwrap();
        for stage in HookStage::ALL {
            let name = stage.name();
            let expected = json!({"path": name, "args": [name], "env": ["A=1"], "timeout": 10});
            assert_eq!(hooks[name][0], expected);
        }
        let second = json!({"path": "/x", "args": ["x", "y"], "env": ["A=1"], "timeout": 3});
        assert_eq!(hooks["createContainer"][1], second);
    }

    #[test]
    fn a_nul_is_refused_and_no_hooks_are_none() {
        assert_eq!(to_spec(&[]), Ok(None));
        for (path, args) in [("/a\0", &[][..]), ("/a", &["\0"])] {
            assert!(to_spec(&[plan(HookStage::Poststop, path, args)]).is_err());
        }
    }
}
