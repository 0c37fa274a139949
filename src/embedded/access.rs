//! Which account may connect to PostgreSQL as which role: `pg_hba.conf` and `pg_ident.conf`.

use super::Account;

/// The superuser that `initdb` makes. The map of accounts in [`HBA`] and [`ident`] has the same name.
pub(super) const SUPERUSER: &str = "archive";

/// The role that the service and every command work as.
pub(super) const SERVICE: &str = "line_chat_archive";

/// Content of `pg_hba.conf`.
pub(super) const HBA: &str = "\
# Written at each start: changes are lost. Accounts are mapped to roles in pg_ident.conf.
local postgres,template1 line_chat_archive reject
local all all peer map=archive
host all all all reject
";

/// Content of `pg_ident.conf` for a server that runs as `postgres`, and a service that works as `service`; `None`: as
/// `postgres`.
pub(super) fn ident(postgres: &Account, service: Option<&Account>) -> String {
    let root = Account::of_uid(0);
    let superusers = root.iter().chain([postgres]);
    let services = root.iter().chain([service.unwrap_or(postgres)]);
    let roles = superusers.map(|account| (account, SUPERUSER));
    let roles = roles.chain(services.map(|account| (account, SERVICE)));
    let lines = roles.map(|(account, role)| format!("archive \"{}\" {role}\n", account.name()));
    format!(
        "# Written at each start: changes are lost.\n{}",
        lines.collect::<String>()
    )
}
