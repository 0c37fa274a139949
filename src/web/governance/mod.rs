//! Erasures, orders to erase, retention rules, legal holds and subject requests: the pages for compliance staff.

pub(in crate::web) mod erasure;
pub(in crate::web) mod erasures;
pub(in crate::web) mod erasures_csv;
pub(in crate::web) mod holds;
pub(in crate::web) mod orders;
pub(in crate::web) mod requests;
pub(in crate::web) mod retention;
