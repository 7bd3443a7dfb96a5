#!/usr/bin/env bash
# Does a job under a lock, of which one at a time has it, with curl and jq: URL USER PASSWORD NAME.
set -euo pipefail
url=$1 user=$2 password=$3 name=$4
etcd() { curl -fsS -u "$user:$password" "$@"; }

lease=$(etcd "$url/locks/worker" -d '{"ttl":"15s","wait":"10m"}' | jq -r .lease)
trap 'kill "$renewal" 2> /dev/null || true; etcd -o /dev/null -X DELETE "$url/locks/worker?lease=$lease"' EXIT
while sleep 5; do etcd -o /dev/null "$url/locks/worker/keepalive" -d "{\"lease\":\"$lease\"}"; done &
renewal=$!

for job in 0 1 2; do
  etcd -o /dev/null -X PUT -d "$name" "$url/keys/jobs/$job"
  echo "$name did $job"
done
