#!/usr/bin/env bash
# The main job from end to end: an engine in a durable directory, a table with a stream, a writer, and a live replica of the
# table in SQLite. In the middle of it the engine is killed (SIGKILL) and started again; afterwards table and replica
# are compared, key by key.
#
#   examples/quickstart/run.sh [DIRECTORY]      (a fresh temporary one without; USERS=10000 users are made up)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tailrace=${TAILRACE:-$here/build/tailrace}
users=${USERS_MADE:-10000}
dir=${1:-$(mktemp -d "${TMPDIR:-/tmp}/tailrace-run.XXXXXX")}
table=local-dynamodb-logs
mkdir -p "$dir"
data=$dir/data replica=$dir/replica.sqlite log=$dir/server.log
server='' writer='' follower=''

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
stop() {
    for pid in "$writer" "$follower" "$server"; do
        [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
}
trap stop EXIT

listen=127.0.0.1:0
start_server() {
    : >"$log"
    "$tailrace" serve --data "$data" --listen "$listen" 2>"$log" &
    server=$!
    for _ in $(seq 200); do
        endpoint=$(sed -n 's/.*listening on \(http:[^ ]*\).*/\1/p' "$log" | head -n 1)
        [ -z "$endpoint" ] || { listen=${endpoint#http://}; return 0; }
        kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
        sleep 0.02
    done
    echo "the server does not answer; see $log" >&2
    exit 1
}
rows() { sqlite3 -readonly "file:$replica?mode=ro" "SELECT count(*) FROM \"$table\"" 2>/dev/null || echo 0; }

say "1. An engine in $data"
start_server
echo "listening on $endpoint"
"$tailrace" log init --table "$table" --endpoint "$endpoint"

say "2. A replica of the table follows its stream into $replica"
"$tailrace" replicate "$table" --to "sqlite:$replica" --endpoint "$endpoint" &
follower=$!

say "3. $users made-up users sign up, add and verify a phone number, tell where they are"
began=$(date +%s.%N)
"$tailrace" log fake --users "$users" --table "$table" --endpoint "$endpoint" &
writer=$!

half=$((users * 4 / 2))
while [ "$(rows)" -lt "$half" ] && kill -0 "$writer" 2>/dev/null; do sleep 0.05; done
seen=$(rows)
kill -9 "$server" && wait "$server" 2>/dev/null || true
say "4. The engine was killed (SIGKILL) with $seen rows replicated, and is started again"
start_server
wait "$writer" || { echo "writing failed" >&2; exit 1; }
writer=''
written=$(date +%s.%N)

say "5. Everything is written; the replica catches up and is compared with the table"
while [ "$(rows)" -lt $((users * 4)) ] && kill -0 "$follower" 2>/dev/null; do sleep 0.05; done
caught=$(date +%s.%N)
kill -INT "$follower" 2>/dev/null || true
wait "$follower" 2>/dev/null || true
follower=''
"$tailrace" replicate "$table" --to "sqlite:$replica" --endpoint "$endpoint" --once --verify

awk -v b="$began" -v w="$written" -v c="$caught" -v n=$((users * 4)) 'BEGIN {
    printf "\n%d events in %.1f s (%.0f/s, the crash included); the replica had all of them %.2f s later.\n",
           n, w - b, n / (w - b), (c > w) ? c - w : 0 }'
kill -TERM "$server" && wait "$server" 2>/dev/null || true
server=''

say "What to try next"
cat <<EOF
  sqlite3 $replica 'SELECT type, count(*) FROM "$table" GROUP BY type'
  $tailrace serve --data $data &
  $tailrace tail $table --from trim-horizon --once --endpoint http://127.0.0.1:8000 | head -n 3
  $tailrace log read users \$(sqlite3 $replica "SELECT item ->> '\$.payload.id' FROM \"$table\" LIMIT 1") --endpoint http://127.0.0.1:8000
  aws dynamodb scan --table-name $table --max-items 1 --endpoint-url http://127.0.0.1:8000 --region us-east-1
EOF
