//! TCP and UDP echo for the Switchboard runtime.
