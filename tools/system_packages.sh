#!/usr/bin/env bash
# Installs the system programs that tests use and that are missing: with apt when root, else it says what will skip.
# Knows package names. Starts no service: the tests start their own on free ports.
set -euo pipefail

# program (or a pattern of places) | Debian package | what skips without it
programs=(
    "redis-server|redis-server|the Redis cache"
    "openssl|openssl|the certificates of the tests that fetch over TLS"
    "/usr/lib/postgresql/*/bin/postgres|postgresql|PostgreSQL as the database"
    "chromium|chromium|the browser tests and screenshots"
    "g++|g++|DeepSpeed, which compiles one operator"
)

present() {
    if [[ $1 == /* ]]; then compgen -G "$1" >/dev/null; else command -v "$1" >/dev/null; fi
}

missing=()
for line in "${programs[@]}"; do
    IFS='|' read -r program package _ <<<"$line"
    present "$program" || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    echo "==> installing ${missing[*]}"
    # RUNLEVEL=1 tells Debian's packages to leave their services stopped.
    apt-get update -qq || true
    # One by one: a name that this distribution does not know must not keep the others out.
    for package in "${missing[@]}"; do
        RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$package" >/dev/null </dev/null ||
            echo "==> apt could not install $package"
    done
fi

for line in "${programs[@]}"; do
    IFS='|' read -r program package skips <<<"$line"
    present "$program" || echo "==> without $package these tests skip: $skips"
done
