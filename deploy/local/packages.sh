# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# To be sourced: need_packages NAME... installs those of the named Debian packages that are missing.

# Returns 1, after a line on standard error, if something is missing and can't be installed. When nothing is
# missing it does not call apt and needs no rights.
need_packages() {
    local name missing=() as_root=() log
    for name in "$@"; do
        if [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) != installed ]]; then
            missing+=("$name")
        fi
    done
    if ((${#missing[@]} == 0)); then
        return 0
    fi
    if ! command -v apt-get >/dev/null; then
        echo "no apt-get here (this is made for Debian 12); please install what stands for: ${missing[*]}" >&2
        return 1
    fi
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            echo "no sudo here; as root, please run: apt-get install ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    echo "Installing ${missing[*]}"
    log=$(mktemp)
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120)
    # A fresh machine's package lists are empty or old. If they can't be renewed, the old ones may still do.
    if ! {
        "${as_root[@]}" update || true
        "${as_root[@]}" install --no-install-recommends "${missing[@]}"
    } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        echo "apt-get could not install: ${missing[*]}" >&2
        return 1
    fi
    rm -f "$log"
}
