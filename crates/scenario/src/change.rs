//! Changes of policy in words, applied to the text form of the world so that they pass the same validation as a file.
//!
//! ```text
//! authorize|revoke sg:NAME ingress|egress RULE        a rule of a security group
//! add|replace acl:NAME ingress|egress ENTRY           an entry of a network ACL; `replace`: that of the same number
//! remove acl:NAME ingress|egress NUMBER|ENTRY
//! associate subnet:NAME acl:NAME                      the subnet's ACL; acl:default is the default one
//! add|remove pl:NAME CIDR                             an entry of a prefix list
//! attach|detach eni:NAME sg:NAME                      a group of an ENI
//! assign|unassign eni:NAME ADDRESS                    a secondary address, or one of IPv6
//! set KIND:NAME KEY VALUE                             any key of any object: KEY with dots, VALUE in TOML
//! create KIND:NAME { KEY = VALUE, … }                 a new object, in TOML
//! delete KIND:NAME                                    an object, with everything in it
//!
//! KIND  sg, acl, pl, eni, subnet, instance, service, tmt, tmf or tms; or the name of the table in a configuration file
//! ```
//!
//! A name is one word here; objects whose names have spaces are changed with `patch`.

use std::net::IpAddr;
use std::str::FromStr;

use toml::{Table, Value};

/// One change, as it was written.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    object: Object,
    what: What,
}

/// An object by its kind and name.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Object {
    kind: &'static Kind,
    name: String,
}

/// A kind of object: how a change names it, and its table in a configuration file.
#[derive(PartialEq, Eq, Debug)]
struct Kind {
    word: &'static str,
    table: &'static str,
}

const KINDS: [Kind; 10] = [
    Kind { word: "sg", table: "security_group" },
    Kind { word: "acl", table: "network_acl" },
    Kind { word: "pl", table: "prefix_list" },
    Kind { word: "eni", table: "eni" },
    Kind { word: "subnet", table: "subnet" },
    Kind { word: "instance", table: "instance" },
    Kind { word: "service", table: "service" },
    Kind { word: "tmt", table: "mirror_target" },
    Kind { word: "tmf", table: "mirror_filter" },
    Kind { word: "tms", table: "mirror_session" },
];

/// What is done to the object.
#[derive(Clone, PartialEq, Debug)]
enum What {
    /// Adds a text to a list.
    Add {
        list: String,
        text: String,
    },
    /// Removes a text from a list.
    Remove {
        list: String,
        text: String,
    },
    /// Removes the ACL entry of a number, and puts another in its place.
    Replace {
        list: String,
        number: String,
        entry: Option<String>,
    },
    Attach(String),
    Detach(String),
    Assign(IpAddr),
    Unassign(IpAddr),
    Set {
        key: String,
        value: Value,
    },
    Create(Table),
    Delete,
}

const FORMS: &str = "`authorize|revoke sg:NAME ingress|egress RULE`, `add|replace acl:NAME ingress|egress ENTRY`, \
                     `remove acl:NAME ingress|egress NUMBER|ENTRY`, `associate subnet:NAME acl:NAME`, `add|remove pl:NAME CIDR`, \
                     `attach|detach eni:NAME sg:NAME`, `assign|unassign eni:NAME ADDRESS`, `set KIND:NAME KEY VALUE`, \
                     `create KIND:NAME { … }` or `delete KIND:NAME`";

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is no change; one of: {FORMS}");
        let (verb, rest) = text.split_once(' ').ok_or_else(form)?;
        let (object, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let object = Object::read(object)?;
        let what = match (verb, object.kind.word) {
            ("authorize", "sg") | ("add", "acl") => rule(rest).map(|(list, text)| What::Add { list, text }),
            ("revoke", "sg") => rule(rest).map(|(list, text)| What::Remove { list, text }),
            ("replace", "acl") => rule(rest).map(|(list, entry)| replace(list, &entry, true)),
            ("remove", "acl") => rule(rest).map(|(list, entry)| {
                if entry.contains(' ') {
                    What::Remove { list, text: entry }
                } else {
                    replace(list, &entry, false)
                }
            }),
            ("add", "pl") => word(rest).map(|text| What::Add { list: "entries".to_owned(), text }),
            ("remove", "pl") => word(rest).map(|text| What::Remove { list: "entries".to_owned(), text }),
            ("associate", "subnet") => associate(rest)?,
            ("attach", "eni") => Some(What::Attach(named(rest, "sg")?)),
            ("detach", "eni") => Some(What::Detach(named(rest, "sg")?)),
            ("assign", "eni") => Some(What::Assign(address(rest)?)),
            ("unassign", "eni") => Some(What::Unassign(address(rest)?)),
            ("set", _) => set(rest)?,
            ("create", _) => Some(What::Create(toml_value(rest)?.try_into().map_err(|_| form())?)),
            ("delete", _) => rest.is_empty().then_some(What::Delete),
            _ => None,
        };
        what.map(|what| Self { object, what }).ok_or_else(form)
    }
}

impl Object {
    fn read(text: &str) -> Result<Self, String> {
        let kind = |word: &str| KINDS.iter().find(|kind| kind.word == word || kind.table == word);
        let read = text.split_once(':').and_then(|(word, name)| Some((kind(word)?, name)));
        let (kind, name) = read.filter(|(_, name)| !name.is_empty()).ok_or_else(|| {
            let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.word).collect();
            format!("`{text}` is not KIND:NAME with a KIND of: {}", kinds.join(", "))
        })?;
        Ok(Self { kind, name: name.to_owned() })
    }
}

fn rule(text: &str) -> Option<(String, String)> {
    let (direction, rule) = text.split_once(' ')?;
    matches!(direction, "ingress" | "egress").then(|| (direction.to_owned(), rule.to_owned()))
}

fn replace(list: String, entry: &str, anew: bool) -> What {
    let number = entry.split(' ').next().unwrap_or_default().to_owned();
    What::Replace { list, number, entry: anew.then(|| entry.to_owned()) }
}

fn word(text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains(' ')).then(|| text.to_owned())
}

fn named(text: &str, kind: &str) -> Result<String, String> {
    let object = Object::read(text)?;
    if object.kind.word == kind { Ok(object.name) } else { Err(format!("`{text}` is not {kind}:NAME")) }
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an IP address"))
}

fn associate(text: &str) -> Result<Option<What>, String> {
    let value = Value::String(named(text, "acl")?);
    Ok(Some(What::Set { key: "network_acl".to_owned(), value }))
}

fn set(text: &str) -> Result<Option<What>, String> {
    let Some((key, value)) = text.split_once(' ') else { return Ok(None) };
    Ok(Some(What::Set { key: key.to_owned(), value: toml_value(value)? }))
}

fn toml_value(text: &str) -> Result<Value, String> {
    let table: Table = toml::from_str(&format!("value = {text}"))
        .map_err(|error| format!("`{text}` is not a value in TOML: {}", error.message()))?;
    table.into_iter().next().map(|(_, value)| value).ok_or_else(|| format!("`{text}` is not a value in TOML"))
}

impl Change {
    /// Applies it to a world.
    ///
    /// # Errors
    ///
    /// Says that there is no such object, nothing to revoke or remove, or something in the way of what is created.
    pub(crate) fn apply(&self, world: &mut Table) -> Result<(), String> {
        let Object { kind, name } = &self.object;
        let section = section(world, kind.table)?;
        match &self.what {
            What::Create(_) if section.contains_key(name) => {
                return Err(format!("the world has {}:{name} already", kind.word));
            }
            What::Create(table) => {
                section.insert(name.clone(), Value::Table(table.clone()));
                return Ok(());
            }
            What::Delete => return section.remove(name).map(drop).ok_or_else(|| self.absent()),
            _ => {}
        }
        let object = section.get_mut(name).and_then(Value::as_table_mut).ok_or_else(|| self.absent())?;
        self.what.apply(object).map_err(|why| format!("{}:{name} {why}", kind.word))
    }

    fn absent(&self) -> String {
        format!("the world has no {}:{}", self.object.kind.word, self.object.name)
    }
}

fn section<'a>(world: &'a mut Table, name: &str) -> Result<&'a mut Table, String> {
    let section = world.entry(name).or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut().ok_or_else(|| format!("{name} is not a table"))
}

impl What {
    fn apply(&self, object: &mut Table) -> Result<(), String> {
        match self {
            Self::Add { list, text } => strings(object, list)?.push(Value::from(text.as_str())),
            Self::Remove { list, text } => {
                take(strings(object, list)?, |known| known == text)
                    .ok_or_else(|| format!("has no `{text}` in {list}"))?;
            }
            Self::Replace { list, number, entry } => {
                let entries = strings(object, list)?;
                take(entries, |known| known.split(' ').next() == Some(number))
                    .ok_or_else(|| format!("has no entry {number} in {list}"))?;
                entries.extend(entry.as_deref().map(Value::from));
            }
            Self::Attach(group) => groups(object)?.push(Value::from(group.as_str())),
            Self::Detach(group) => {
                take(groups(object)?, |known| known == group)
                    .ok_or_else(|| format!("does not have the group {group}"))?;
            }
            Self::Assign(address) => addresses(object, *address)?.push(Value::from(address.to_string())),
            Self::Unassign(address) => {
                take(addresses(object, *address)?, |known| known.parse() == Ok(*address))
                    .ok_or_else(|| format!("does not have the address {address} besides its primary one"))?;
            }
            Self::Set { key, value } => set_key(object, key, value)?,
            Self::Create(_) | Self::Delete => {}
        }
        Ok(())
    }
}

/// The list of a key, which is made if it is not there.
fn strings<'a>(object: &'a mut Table, key: &str) -> Result<&'a mut Vec<Value>, String> {
    let list = object.entry(key).or_insert_with(|| Value::Array(Vec::new()));
    list.as_array_mut().ok_or_else(|| format!("has a {key} that is not a list"))
}

/// Groups of an ENI; one that names none has the default group (SG-7).
fn groups(object: &mut Table) -> Result<&mut Vec<Value>, String> {
    object.entry("groups").or_insert_with(|| Value::from(vec!["default"]));
    strings(object, "groups")
}

/// The list that an address belongs to. A single IPv6 address becomes the first of the list.
fn addresses(object: &mut Table, address: IpAddr) -> Result<&mut Vec<Value>, String> {
    if address.is_ipv4() {
        return strings(object, "secondary_addresses");
    }
    let single = object.remove("ipv6_address");
    let list = strings(object, "ipv6_addresses")?;
    list.splice(..0, single);
    Ok(list)
}

/// Takes out the first text, or rule with a text, that is wanted.
fn take(list: &mut Vec<Value>, wanted: impl Fn(&str) -> bool) -> Option<Value> {
    let text = |value: &Value| value.get("rule").unwrap_or(value).as_str().is_some_and(&wanted);
    let at = list.iter().position(text)?;
    Some(list.remove(at))
}

fn set_key(object: &mut Table, key: &str, value: &Value) -> Result<(), String> {
    let Some((outer, inner)) = key.split_once('.') else {
        object.insert(key.to_owned(), value.clone());
        return Ok(());
    };
    let table = object.entry(outer).or_insert_with(|| Value::Table(Table::new()));
    let table = table.as_table_mut().ok_or_else(|| format!("has a {outer} that is not a table"))?;
    set_key(table, inner, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: &str = r#"
[security_group.b]
ingress = ["tcp 22 from 10.0.1.10/32", { rule = "udp 53 from ::/0", id = "sgr-0123456789abcdef0" }]
[network_acl.n]
ingress = ["100 allow all from 0.0.0.0/0"]
[prefix_list.p]
entries = ["10.0.0.0/8"]
[subnet.s]
cidr = "10.0.1.0/24"
[eni.e]
subnet = "s"
ipv6_address = "2001:db8::1"
"#;

    fn after(change: &str) -> Result<Table, String> {
        let mut world = toml::from_str(WORLD).unwrap();
        change.parse::<Change>()?.apply(&mut world).map(|()| world)
    }

    /// The object after a change, as TOML in one line.
    fn object(change: &str, kind: &str, name: &str) -> String {
        after(change).unwrap()[kind][name].to_string()
    }

    #[test]
    fn rules_and_entries() {
        let group = |change| object(change, "security_group", "b");
        assert!(group("authorize sg:b egress tcp 1 to ::/0").contains(r#"egress = ["tcp 1 to ::/0"]"#));
        assert!(!group("revoke sg:b ingress tcp 22 from 10.0.1.10/32").contains("tcp 22"));
        assert!(!group("revoke sg:b ingress udp 53 from ::/0").contains("sgr-"), "a rule with an id, too");
        let acl = |change| object(change, "network_acl", "n");
        assert!(acl("add acl:n ingress 90 deny all from ::/0").contains("90 deny"));
        assert_eq!(acl("remove acl:n ingress 100"), "{ ingress = [] }");
        assert_eq!(acl("remove acl:n ingress 100 allow all from 0.0.0.0/0"), "{ ingress = [] }");
        assert_eq!(
            acl("replace acl:n ingress 100 deny all from ::/0"),
            r#"{ ingress = ["100 deny all from ::/0"] }"#
        );
        assert!(object("associate subnet:s acl:n", "subnet", "s").contains(r#"network_acl = "n""#));
        assert_eq!(object("remove pl:p 10.0.0.0/8", "prefix_list", "p"), "{ entries = [] }");
    }

    #[test]
    fn interfaces() {
        let eni = |change| object(change, "eni", "e");
        assert!(eni("attach eni:e sg:b").contains(r#"groups = ["default", "b"]"#), "SG-7");
        assert!(eni("detach eni:e sg:default").contains("groups = []"));
        assert!(eni("assign eni:e 10.0.1.20").contains(r#"secondary_addresses = ["10.0.1.20"]"#));
        assert!(
            eni("assign eni:e 2001:db8::2").contains(r#"ipv6_addresses = ["2001:db8::1", "2001:db8::2"]"#)
        );
        assert!(eni("unassign eni:e 2001:db8:0::1").contains("ipv6_addresses = []"));
        let mut both: Table = toml::from_str(WORLD).unwrap();
        let list = Value::from(vec!["2001:db8::2"]);
        both["eni"]["e"].as_table_mut().unwrap().insert("ipv6_addresses".to_owned(), list);
        "unassign eni:e 2001:db8::2".parse::<Change>().unwrap().apply(&mut both).unwrap();
        assert!(both["eni"]["e"].to_string().contains(r#"ipv6_addresses = ["2001:db8::1"]"#), "{both}");
        let time_out = eni(r#"set eni:e connection_tracking.udp "60s""#);
        assert!(time_out.contains(r#"connection_tracking = { udp = "60s" }"#), "{time_out}");
    }

    #[test]
    fn objects_come_and_go() {
        let world = after(r#"create instance:i { enis = ["e"], max_tracked = 2 }"#).unwrap();
        assert_eq!(world["instance"]["i"]["max_tracked"].as_integer(), Some(2));
        assert!(after("delete eni:e").unwrap()["eni"].as_table().unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_told() {
        for (change, why) in [
            ("grant sg:b ingress x", "is no change; one of: "),
            ("revoke", "is no change; one of: "),
            ("revoke sg:b sideways x", "is no change; one of: "),
            ("attach eni:e acl:n", "`acl:n` is not sg:NAME"),
            ("delete group:b", "a KIND of: sg, acl, pl, eni"),
            (
                "remove acl:n ingress 100 allow all from ::/0",
                "acl:n has no `100 allow all from ::/0` in ingress",
            ),
            ("assign eni:e ten", "`ten` is not an IP address"),
            ("set eni:e mtu ninety", "`ninety` is not a value in TOML"),
            ("revoke sg:b ingress tcp 23 from ::/0", "sg:b has no `tcp 23 from ::/0` in ingress"),
            ("remove acl:n ingress 7", "acl:n has no entry 7 in ingress"),
            ("detach eni:e sg:b", "eni:e does not have the group b"),
            ("revoke sg:c ingress x", "the world has no sg:c"),
            ("delete eni:f", "the world has no eni:f"),
            ("create eni:e {}", "the world has eni:e already"),
        ] {
            let error = after(change).unwrap_err();
            assert!(error.contains(why), "{change}: {error}");
        }
    }
}
