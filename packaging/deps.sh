#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs from Debian what is missing to build tailrace (deps.sh build) or to test it as well (deps.sh test).
# Where all is there it does nothing and costs a few hundredths of a second. Says what it installs before it does.
# On a system without apt-get it prints what is missing and ends with 1.
set -u

# package:probe. A probe is pc=NAME (known to pkg-config), cmd=NAME (in PATH) or file=PATH; several are joined by "|",
# any of them will do; glob=PATTERN is for paths that hold a version.
build=(
    gcc:cmd=cc libc6-dev:file=/usr/include/stdlib.h
    make:cmd=make meson:cmd=meson ninja-build:cmd=ninja pkg-config:cmd=pkg-config
    libuv1-dev:pc=libuv "node-llhttp:pc=libllhttp|file=/usr/share/llhttp/llhttp.c"
    libcurl4-openssl-dev:pc=libcurl libssl-dev:pc=libcrypto libdeflate-dev:pc=libdeflate
    libsqlite3-dev:pc=sqlite3 libyaml-dev:pc=yaml-0.1 librocksdb-dev:pc=rocksdb libxxhash-dev:pc=libxxhash
    libwslay-dev:file=/usr/include/wslay/wslay.h libpq-dev:pc=libpq uthash-dev:file=/usr/include/uthash.h
    libcmocka-dev:pc=cmocka libcjson-dev:pc=libcjson scdoc:cmd=scdoc sqlite3:cmd=sqlite3
)
test=(
    g++:cmd=g++ clang:cmd=clang llvm:cmd=llvm-symbolizer clang-format:cmd=clang-format clang-tidy:cmd=clang-tidy
    python3:file=/usr/bin/python3 python3-boto3:file=/usr/lib/python3/dist-packages/boto3/__init__.py
    awscli:file=/usr/bin/aws nodejs:cmd=node npm:cmd=npm default-jre-headless:cmd=java
    util-linux:cmd=taskset "postgresql:glob=/usr/lib/postgresql/*/bin/initdb" chromium:cmd=chromium
)

case "${1:-build}" in
build) want=("${build[@]}") ;;
test) want=("${build[@]}" "${test[@]}") ;;
*) echo "usage: packaging/deps.sh [build|test]" >&2; exit 2 ;;
esac

# All pkg-config probes in one go, since each call costs; one by one only if something is missing.
all_pc=true
if command -v pkg-config >/dev/null; then
    names=()
    for entry in "${want[@]}"; do
        case "$entry" in
        *:pc=*"|"*) ;;
        *:pc=*) names+=("${entry#*:pc=}") ;;
        esac
    done
    pkg-config --exists "${names[@]}" || all_pc=false
fi

found() { # one probe
    case "$1" in
    cmd=*) command -v "${1#cmd=}" >/dev/null ;;
    file=*) [ -e "${1#file=}" ] ;;
    glob=*) compgen -G "${1#glob=}" >/dev/null ;;
    pc=*) command -v pkg-config >/dev/null && pkg-config --exists "${1#pc=}" ;;
    esac
}

missing=()
for entry in "${want[@]}"; do
    package=${entry%%:*} probes=${entry#*:}
    case "$probes" in
    pc=*"|"*) ;;
    pc=*) $all_pc && command -v pkg-config >/dev/null && continue ;;
    esac
    ok=false
    IFS='|' read -ra each <<<"$probes"
    for ((i = ${#each[@]} - 1; i >= 0; i--)); do # the cheap probes are written last
        if found "${each[i]}"; then ok=true; break; fi
    done
    $ok || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "missing (named as in Debian): ${missing[*]}" >&2
    echo "This is not Debian: install them by your system's means, then try again." >&2
    exit 1
fi
echo "installing from Debian: ${missing[*]}" >&2
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "not root and no sudo: run apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
install() { "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ install || { "${as_root[@]}" apt-get update -qq && install; }; } >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
