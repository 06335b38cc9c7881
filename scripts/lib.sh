# Shared by the scripts beside it: where things are, and what must be installed.
# Sourced by bash, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache

# Debian 12 packages, by what needs them.
build_packages=(
    gcc libc6-dev pkg-config meson ninja-build
    libmicrohttpd-dev libcjson-dev libcurl4-gnutls-dev libpq-dev libgnutls28-dev nettle-dev
    libpcre2-dev libstemmer-dev libzstd-dev
    libcmocka-dev
)
server_packages=(postgresql-15)
test_packages=(etcd-server python3 python3-venv curl openssl clang clang-format clang-tidy libclang-rt-14-dev)

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "error: $*"
    exit 1
}

# Prints those of its arguments that are not installed.
packages_missing() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            echo "$package"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 126
    fi
}

# Installs what is missing of its arguments; says and does nothing when all is there. The
# cluster that Debian's PostgreSQL package would make and start is not wanted: Orrery makes its own;
# nor is the server that etcd's package would start.
packages_need() {
    command -v dpkg-query >/dev/null || return 0 # not Debian: the build names what it misses
    local missing log status=0
    missing=$(packages_missing "$@")
    [ -n "$missing" ] || return 0
    say "installing:" $missing
    log=$(mktemp)
    {
        if ! dpkg-query -W postgresql-common &&
            [[ " $missing" == *postgresql* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
            as_root sh -c 'mkdir -p /etc/postgresql-common &&
                echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf'
        fi
        # Tests start etcd themselves.
        if [[ " $missing" == *etcd-server* ]] && [ ! -e /etc/systemd/system/etcd.service ]; then
            as_root sh -c 'mkdir -p /etc/systemd/system && ln -s /dev/null /etc/systemd/system/etcd.service'
        fi
        apt_quiet update && apt_quiet install --no-install-recommends $missing
    } >"$log" 2>&1 </dev/null || status=$?
    if [ $status != 0 ]; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        [ $status = 126 ] && say "(neither root nor a sudo that asks for no password)"
        die "could not install:" $missing
    fi
    rm -f "$log"
}

apt_quiet() {
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a \
        timeout 900 apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

# Packages for the commands that are not there: pairs of command and package. A newer
# tool that somebody installed by hand is left alone.
commands_need() {
    local wanted=()
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null || wanted+=("$2")
        shift 2
    done
    [ ${#wanted[@]} = 0 ] || packages_need "${wanted[@]}"
}

# Configures a build directory once and builds it: directory, targets or nothing, -- options of meson.
build() {
    local dir=$1 log targets=()
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        targets+=("$1")
        shift
    done
    [ $# = 0 ] || shift
    log=$(mktemp)
    if { [ -f "$dir/build.ninja" ] || meson setup "$dir" "$root" "$@"; } >"$log" 2>&1 </dev/null &&
        ninja -C "$dir" "${targets[@]}" >"$log" 2>&1 </dev/null; then
        rm -f "$log"
        return 0
    fi
    tail -n 60 "$log" >&2
    rm -f "$log"
    die "the build in $dir failed"
}
