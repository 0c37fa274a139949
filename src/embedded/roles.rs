//! The database roles: which account may connect as which role, and what the roles may do.
//!
//! The server asks the kernel which account is at the other end of its socket (`peer`). PostgreSQL's account and root
//! may connect as the superuser, which runs the statements in this file. The service's account may connect only as the
//! service's role, which owns the database and can neither run programs nor read files of the server.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{EmbeddedError, access::SERVICE, cluster::Cluster};

/// Makes or repairs the roles of the whole cluster. `line_chat_archive_app` cannot change the ledger; the migrations,
/// which may not make roles, grant it its rights.
const ROLES: &str = "
do $$
declare held name;
begin
    if not exists (select from pg_roles where rolname = 'line_chat_archive') then
        create role line_chat_archive login;
    end if;
    if not exists (select from pg_roles where rolname = 'line_chat_archive_app') then
        create role line_chat_archive_app nologin;
    end if;
    alter role line_chat_archive login nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
    alter role line_chat_archive_app nologin nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
    if not pg_has_role('line_chat_archive', 'line_chat_archive_app', 'member') then
        grant line_chat_archive_app to line_chat_archive;
    end if;
    for held in
        select r.rolname from pg_auth_members m join pg_roles r on r.oid = m.roleid
        where m.member in ('line_chat_archive'::regrole, 'line_chat_archive_app'::regrole)
            and r.rolname <> 'line_chat_archive_app'
    loop
        execute format('revoke %I from line_chat_archive, line_chat_archive_app', held);
    end loop;
end $$";

/// Makes the service's role the owner of everything in the database: in databases that are older than this role, the
/// superuser owns everything. Sequences of identity columns follow their table, and members of an extension stay with
/// it.
const OWN: &str = "
do $$
declare service oid := 'line_chat_archive'::regrole; target text;
begin
    for target in
        select format('schema %I', nspname) from pg_namespace
        where nspname = 'public' and pg_get_userbyid(nspowner) not in ('line_chat_archive', 'pg_database_owner')
        union all
        select format('%s %s', case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then
            'foreign table' when 'S' then 'sequence' else 'table' end, c.oid::regclass)
        from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
            and c.relowner <> service
            and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
                and d.deptype in ('a', 'i', 'e'))
        union all
        select format('routine %s', p.oid::regprocedure) from pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proowner <> service
            and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid
                and d.deptype = 'e')
        union all
        select format('%s %s', case t.typtype when 'd' then 'domain' else 'type' end, t.oid::regtype) from pg_type t
        where t.typnamespace = 'public'::regnamespace and t.typowner <> service and t.typtype in ('c', 'd', 'e', 'r')
            and (t.typrelid = 0 or exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
            and not exists (select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid
                and d.deptype = 'e')
    loop
        execute format('alter %s owner to line_chat_archive', target);
    end loop;
    alter default privileges for role line_chat_archive in schema public
        grant select, insert, update, delete on tables to line_chat_archive_app;
    alter default privileges for role line_chat_archive in schema public
        grant usage, select on sequences to line_chat_archive_app;
end $$";

/// Resets the settings of a database and of the service's role. That role can change both: a `statement_timeout` of 1
/// ms, or a limit of no connections, would lock out everybody, the superuser included.
fn defaults(database: &str) -> String {
    format!(
        "alter database {database} with allow_connections true connection limit -1 is_template false;
         alter database {database} reset all;
         alter role {SERVICE} reset all;
         alter role {SERVICE} in database {database} reset all"
    )
}

impl Cluster {
    /// Makes or repairs the roles.
    pub(super) async fn make_roles(&self) -> Result<(), EmbeddedError> {
        self.with_answer_timeout(async {
            let mut connection = self.connect().await?;
            run(&mut connection, ROLES).await?;
            end(connection).await
        })
        .await
    }

    /// Makes a database that belongs to the service's role; gives an existing one, with everything in it, to that role.
    pub(super) async fn make_database(&self, name: &str) -> Result<(), EmbeddedError> {
        self.with_answer_timeout(self.make_owned(name)).await
    }

    async fn make_owned(&self, name: &str) -> Result<(), EmbeddedError> {
        let mut connection = self.connect().await?;
        let owner: Option<String> = sqlx::query_scalar(
            "select pg_get_userbyid(datdba)::text from pg_database where datname = $1",
        )
        .bind(name)
        .fetch_optional(&mut connection)
        .await
        .map_err(|e| EmbeddedError::refused(&e))?;
        let quoted = quoted(name);
        match owner.as_deref() {
            None => {
                run(
                    &mut connection,
                    &format!("create database {quoted} owner {SERVICE}"),
                )
                .await?;
            }
            Some(SERVICE) => {}
            Some(_) => {
                run(
                    &mut connection,
                    &format!("alter database {quoted} owner to {SERVICE}"),
                )
                .await?;
            }
        }
        run(&mut connection, &defaults(&quoted)).await?;
        end(connection).await?;
        let mut connection = self.connect_to(name).await?;
        run(&mut connection, OWN).await?;
        end(connection).await
    }

    /// Makes the server read `pg_hba.conf` and `pg_ident.conf` again: a server that was found running has those of its
    /// own start.
    pub(super) async fn reload(&self) -> Result<(), EmbeddedError> {
        self.with_answer_timeout(async {
            let mut connection = self.connect().await?;
            run(&mut connection, "select pg_reload_conf()").await?;
            end(connection).await
        })
        .await
    }
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), EmbeddedError> {
    let done = connection.execute(AssertSqlSafe(sql.to_owned())).await;
    done.map(drop).map_err(|e| EmbeddedError::refused(&e))
}

async fn end(connection: PgConnection) -> Result<(), EmbeddedError> {
    let closed = connection.close().await;
    closed.map_err(|e| EmbeddedError::refused(&e))
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
