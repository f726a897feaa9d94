//! Changes of policy in words, applied to the text form of the world so that they pass the same validation as a file.

use toml::{Table, Value};

const FORM: &str = "a change is `authorize|revoke sg:NAME ingress|egress RULE` or `add|remove acl:NAME ingress|egress ENTRY`, or \
     `delete SECTION:NAME`";

/// Applies one change.
///
/// # Errors
///
/// Says what is wrong with the text, or that there is nothing to revoke or remove.
pub(crate) fn apply(world: &mut Table, change: &str) -> Result<(), String> {
    if let Some(object) = change.strip_prefix("delete ") {
        return delete(world, object);
    }
    let mut words = change.splitn(4, ' ');
    let (Some(verb), Some(object), Some(direction), Some(rule)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(FORM.to_owned());
    };
    let (section, name) = match object.split_once(':') {
        Some(("sg", name)) => ("security_group", name),
        Some(("acl", name)) => ("network_acl", name),
        _ => return Err(FORM.to_owned()),
    };
    let rules = rules(world, section, name, direction)?;
    match verb {
        "authorize" | "add" => rules.push(Value::from(rule)),
        "revoke" | "remove" => {
            let at = rules.iter().position(|known| known.as_str() == Some(rule));
            rules.remove(at.ok_or_else(|| format!("{object} has no {direction} rule `{rule}`"))?);
        }
        _ => return Err(FORM.to_owned()),
    }
    Ok(())
}

fn delete(world: &mut Table, object: &str) -> Result<(), String> {
    let (section, name) = object.split_once(':').ok_or_else(|| FORM.to_owned())?;
    let section = world.get_mut(section).and_then(Value::as_table_mut);
    let removed = section.and_then(|objects| objects.remove(name));
    removed.map(drop).ok_or_else(|| format!("the world has no {object}"))
}

fn rules<'a>(
    world: &'a mut Table,
    section: &str,
    name: &str,
    direction: &str,
) -> Result<&'a mut Vec<Value>, String> {
    if !matches!(direction, "ingress" | "egress") {
        return Err(FORM.to_owned());
    }
    let object =
        world.get_mut(section).and_then(Value::as_table_mut).and_then(|objects| objects.get_mut(name));
    let object =
        object.and_then(Value::as_table_mut).ok_or_else(|| format!("the world has no {section} `{name}`"))?;
    let rules = object.entry(direction).or_insert_with(|| Value::Array(Vec::new()));
    rules.as_array_mut().ok_or_else(|| format!("{section}.{name}.{direction} is not a list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> Table {
        toml::from_str("[security_group.b]\ningress = ['tcp 22 from 10.0.1.10/32']").unwrap()
    }

    #[test]
    fn revokes_what_is_there() {
        let mut world = world();
        apply(&mut world, "revoke sg:b ingress tcp 22 from 10.0.1.10/32").unwrap();
        assert_eq!(world["security_group"]["b"]["ingress"].as_array().unwrap().len(), 0);
    }

    #[test]
    fn deletes_what_is_there() {
        let mut world = world();
        apply(&mut world, "delete security_group:b").unwrap();
        assert!(apply(&mut world, "delete security_group:b").is_err());
    }

    #[test]
    fn refuses_what_is_not() {
        for change in [
            "revoke sg:b ingress tcp 23 from 10.0.1.10/32",
            "revoke sg:c ingress x",
            "grant sg:b ingress x",
            "revoke",
        ] {
            assert!(apply(&mut world(), change).is_err(), "{change}");
        }
    }
}
