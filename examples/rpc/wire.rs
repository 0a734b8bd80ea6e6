//! What goes over the connection: a JSON object a line, requests one way, replies the other, in any order.
//!
//! ```text
//! {"id":1,"method":"add","params":[2,3]}      {"id":1,"result":5}
//! {"id":2,"method":"fail","params":"why"}     {"id":2,"error":"why"}
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;
use switchboard::Input;
use thiserror::Error;

/// Bytes of the longest line, its end not counted.
pub(crate) const LONGEST: usize = 64 * 1024;

/// A call.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// What the reply is known by, among those that are under way on its connection.
    pub(crate) id: u64,
    pub(crate) method: String,
    #[serde(default)]
    pub(crate) params: Value,
}

/// What became of it.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Reply {
    /// `None`: a line was no request; the connection ends.
    pub(crate) id: Option<u64>,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Result(Value),
    Error(String),
}

/// A line is longer than anybody needs.
#[derive(Debug, Error)]
#[error("a line of more than {LONGEST} bytes")]
pub(crate) struct TooLong;

/// Cuts input into lines, and looks at no byte twice.
#[derive(Default)]
pub(crate) struct Lines {
    /// Bytes at the beginning of what is left that hold no line's end.
    scanned: usize,
}

impl Lines {
    /// The next line without its end, if it is there.
    pub(crate) fn next<'a>(&mut self, input: &mut Input<'a>) -> Result<Option<&'a [u8]>, TooLong> {
        let end = input[self.scanned..].iter().position(|&byte| byte == b'\n').map(|at| self.scanned + at);
        if end.unwrap_or(input.len()) > LONGEST {
            return Err(TooLong);
        }
        self.scanned = if end.is_some() { 0 } else { input.len() };
        Ok(end.map(|end| &input.take(end + 1)[..end]))
    }
}
