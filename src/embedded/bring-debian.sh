# Installs the PostgreSQL server package named by $1 on Debian or Ubuntu, without the "main" cluster
# that Debian would otherwise make and start on port 5432. Runs as root.
set -e
export DEBIAN_FRONTEND=noninteractive
fetch() { apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$1"; }
fetch postgresql-common || { apt-get update && fetch postgresql-common; }
drop_in=/etc/postgresql-common/createcluster.d/line-chat-archive.conf
trap 'rm -f "$drop_in"' EXIT
mkdir -p "${drop_in%/*}"
echo 'create_main_cluster = false' >"$drop_in"
fetch "$1"
