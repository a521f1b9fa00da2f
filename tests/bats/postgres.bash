# SPDX-License-Identifier: Apache-2.0
#
# A PostgreSQL of the test's own: data, socket and port are its own, and it never syncs, because nobody
# will miss it. Local connections are trusted, those over TCP need a password, so that one can be wrong.

PGBIN=$(pg_config --bindir)
PGSECRET=pg-password-f3a91c # the sentinel that privacy.bats looks for
export PGBIN PGSECRET

postgres_start() {
	local data=$WORK/pg/data
	mkdir -p "$WORK/pg/socket"
	chown -R postgres:postgres "$WORK/pg"
	chmod 0777 "$WORK/pg/socket"
	as_user postgres "$PGBIN/initdb" --no-sync --auth-local=trust --auth-host=scram-sha-256 -E UTF8 \
		--locale=C -D "$data" >"$WORK/initdb.out" 2>&1 || { cat "$WORK/initdb.out" >&2; return 1; }
	PGPORT=${POSTGRES_PORT:-$(free_port)}
	PGHOST=$WORK/pg/socket
	PGUSER=postgres
	PGDATABASE=shop
	export PGPORT PGHOST PGUSER PGDATABASE
	postgres_up
	sql postgres "create database shop" "create role shop login password '$PGSECRET'" \
		"create role narrow login connection limit 0"
	SHOP_DATABASE="host=$PGHOST port=$PGPORT dbname=shop user=shop"
	export SHOP_DATABASE
}

# The server itself, on the data that postgres_start made. POSTGRES_IN="nsenter …" runs it elsewhere.
postgres_up() {
	# shellcheck disable=SC2086 # words
	process_start postgres ${POSTGRES_IN:-} setpriv --reuid postgres --regid postgres --init-groups \
		"$PGBIN/postgres" -D "$WORK/pg/data" -k "$PGHOST" -p "$PGPORT" -c listen_addresses=127.0.0.1 \
		-c fsync=off -c max_connections="${PGCONNECTIONS:-40}" -c shared_buffers=16MB -c max_parallel_workers=0
	wait_until 20 "$PGBIN/pg_isready" -q -d postgres
}

# postgres_signal SIGNAL: to the server and to its children, which have sessions of their own.
postgres_signal() {
	local server
	server=$(process_pid postgres)
	pgrep -P "$server" | xargs -r kill -"$1" "$server"
}

# Immediate: nothing in it is worth a checkpoint.
postgres_stop() {
	process_stop postgres QUIT 20
}

# sql DATABASE STATEMENT…
sql() {
	local database=$1 statement arguments=()
	shift
	for statement in "$@"; do arguments+=(-c "$statement"); done
	"$PGBIN/psql" -qAtX -v ON_ERROR_STOP=1 -d "$database" "${arguments[@]}"
}

# A port of the loopback that nobody listens on now.
free_port() {
	ruby --disable-gems -rsocket -e 's = TCPServer.new("127.0.0.1", 0); puts s.addr[1]'
}
