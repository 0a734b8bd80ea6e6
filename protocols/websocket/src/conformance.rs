//! What the RFCs require, and the test that shows it: [RFC 6455](rfc6455), [RFC 7692](rfc7692). There is nothing to call
//! here.

pub mod rfc6455 {
    #![doc = include_str!("../docs/rfc6455.md")]
}

pub mod rfc7692 {
    #![doc = include_str!("../docs/rfc7692.md")]
}
