//! JSON as a tree that borrows from its text, within a budget.
//!
//! Python writes `NaN` and `Infinity` for numbers that JSON does not have, and scores of words often are. They are read
//! as null, which is what they mean.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Budget, SegmentsError, SEGMENT};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<'t> {
    /// Also true, false, and what is no number.
    Null,
    Number(f64),
    /// Kept apart: as f64, large ids would lose their last digits.
    Integer(i128),
    Text(Cow<'t, str>),
    List(Vec<Node<'t>>),
    Object(Vec<(Cow<'t, str>, Node<'t>)>),
}

impl<'t> Node<'t> {
    /// The value of a key; of a key that comes twice, the last.
    pub(super) fn get(&self, key: &str) -> Option<&Node<'t>> {
        match self {
            Self::Object(entries) => entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
        .filter(|value| **value != Self::Null)
    }

    /// The first of these keys that has a value.
    pub(super) fn any(&self, keys: &[&str]) -> Option<&Node<'t>> {
        keys.iter().find_map(|key| self.get(key))
    }

    /// The value at the end of a path of keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Node<'t>> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The list under a key.
    pub(super) fn list(&self, key: &str) -> Option<&[Node<'t>]> {
        self.get(key)?.items()
    }

    pub(super) fn items(&self) -> Option<&[Node<'t>]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn entries(&self) -> Option<&[(Cow<'t, str>, Node<'t>)]> {
        match self {
            Self::Object(entries) => Some(entries),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number, also one that is written as a string.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Integer(number) => Some(*number as f64),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
        .filter(|number: &f64| number.is_finite())
    }

    /// An id or a label: 1 and 1.0 are the same. An empty one names nothing.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Integer(number) => Some(number.to_string()),
            Self::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some((*number as i64).to_string()),
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.replace('\0', "")),
            _ => None,
        }
        .filter(|name| !name.trim().is_empty())
    }
}

/// Reads a whole text: one value, or several one after the other (JSON lines), which are a list.
pub(super) fn parse<'t>(text: &'t str, budget: &mut Budget) -> Result<Node<'t>, SegmentsError> {
    let mut values = Vec::new();
    let mut json = serde_json::Deserializer::from_str(text);
    loop {
        let value = Seed(budget).deserialize(&mut json).map_err(|error| refusal(&error, budget))?;
        values.push(value);
        match json.end() {
            Ok(()) => break,
            // Only objects come in lines: behind anything else it is a mistake.
            Err(_) if matches!(values.last(), Some(Node::Object(_))) => {}
            Err(error) => return Err(refusal(&error, budget)),
        }
    }
    Ok(match <[Node; 1]>::try_from(values) {
        Ok([value]) => value,
        Err(values) => Node::List(values),
    })
}

fn refusal(error: &serde_json::Error, budget: &Budget) -> SegmentsError {
    if budget.is_exhausted() {
        return budget.refusal();
    }
    let (line, column) = (error.line(), error.column());
    let detail = error.to_string();
    let place = format!(" at line {line} column {column}");
    SegmentsError::Json { line, column, detail: detail.strip_suffix(&place).unwrap_or(&detail).into() }
}

/// The same text with null for what Python writes and JSON does not have, outside of strings.
pub(super) fn without_nan<'t>(text: &'t str, budget: &mut Budget) -> Result<Cow<'t, str>, SegmentsError> {
    let mut out = String::new();
    let mut copied = 0;
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'N' | b'I' if !in_string => {
                let from = at - usize::from(text[..at].ends_with('-'));
                for word in ["NaN", "Infinity"] {
                    if text[at..].starts_with(word) {
                        if copied == 0 {
                            budget.take(2 * text.len() as u64)?;
                        }
                        out.push_str(&text[copied..from]);
                        out.push_str("null");
                        copied = at + word.len();
                    }
                }
            }
            _ => {}
        }
    }
    if copied == 0 {
        return Ok(Cow::Borrowed(text));
    }
    out.push_str(&text[copied..]);
    Ok(Cow::Owned(out))
}

struct Seed<'b>(&'b mut Budget);

impl Seed<'_> {
    fn take<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.0.take(bytes as u64).map_err(|_| E::custom("more memory than is allowed"))
    }

    fn value<'t, E: Error>(&mut self, value: Node<'t>) -> Result<Node<'t>, E> {
        // Three times: the list that it is in grows by doubling, and is copied then.
        self.take(3 * size_of::<Node>()).map(|()| value)
    }
}

impl<'t> DeserializeSeed<'t> for Seed<'_> {
    type Value = Node<'t>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Node<'t>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Seed<'_> {
    type Value = Node<'t>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(mut self) -> Result<Node<'t>, E> {
        self.value(Node::Null)
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<Node<'t>, E> {
        self.value(Node::Null)
    }

    fn visit_f64<E: Error>(mut self, number: f64) -> Result<Node<'t>, E> {
        self.value(Node::Number(number))
    }

    fn visit_i64<E: Error>(mut self, number: i64) -> Result<Node<'t>, E> {
        self.value(Node::Integer(number.into()))
    }

    fn visit_u64<E: Error>(mut self, number: u64) -> Result<Node<'t>, E> {
        self.value(Node::Integer(number.into()))
    }

    fn visit_borrowed_str<E: Error>(mut self, text: &'t str) -> Result<Node<'t>, E> {
        self.value(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<Node<'t>, E> {
        self.take(text.len())?;
        self.value(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'t>>(mut self, mut list: A) -> Result<Node<'t>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Seed(self.0))? {
            items.push(item);
        }
        items.shrink_to_fit();
        self.take(SEGMENT)?;
        self.value(Node::List(items))
    }

    fn visit_map<A: MapAccess<'t>>(mut self, mut map: A) -> Result<Node<'t>, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(Seed(self.0))? {
            let Node::Text(key) = key else { return Err(A::Error::custom("a key is not a string")) };
            entries.push((key, map.next_value_seed(Seed(self.0))?));
        }
        entries.shrink_to_fit();
        self.take(SEGMENT)?;
        self.value(Node::Object(entries))
    }
}
