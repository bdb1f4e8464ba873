#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs the pinned npm packages of package-lock.json where they are absent or of another lock, and a pinned Node
# where the system's is older than the SDK wants. Prints the node to use. Costs nothing where all is there.
set -eu
cd "$(dirname "$0")"
stamp=node_modules/.stamp
want=$(cat package-lock.json | cksum)
if [ "$(cat $stamp 2>/dev/null)" != "$want" ]; then
    echo "installing from npm: the packages of tests/compat/package.json" >&2
    npm ci --silent >&2 || npm ci >&2
    echo "$want" >$stamp
fi
node=$(command -v node || true)
major=$([ -n "$node" ] && "$node" -p 'process.versions.node.split(".")[0]' || echo 0)
if [ "$major" -lt 20 ]; then
    node=$PWD/runtime/node_modules/.bin/node
    if [ ! -x "$node" ]; then
        echo "installing from npm: node 22.23.3 (the AWS SDK needs Node 20 or newer, the system has $major)" >&2
        npm install --silent --no-save --prefix runtime node@22.23.3 >&2
    fi
fi
echo "$node"
