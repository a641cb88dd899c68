#!/bin/sh
# Installs sysops-agent as a systemd service. Running it again upgrades; your configuration is never replaced.
set -eu

usage() {
    cat <<'END'
usage: install.sh [--binary FILE] [--sysctl] [--no-start]
  --binary FILE  the sysops-agent to install (default: the one beside this script, in dist/ or target/release/)
  --sysctl       also set kernel.perf_event_paranoid=2; only kernels without BTF want it (see 99-sysops-agent.conf)
  --no-start     install only
With DESTDIR set, only files are written, below that folder.
END
}

here=$(cd "$(dirname "$0")" && pwd)
dest=${DESTDIR:-}
user=sysops-agent
binary= sysctl=no start=yes
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=${2:?--binary needs a file}; shift ;;
        --sysctl) sysctl=yes ;;
        --no-start) start=no ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done

fail() { echo "install.sh: $*" >&2; exit 1; }
live() { [ -z "$dest" ]; }
# systemctl is there on images without a running systemd, too.
booted() { live && [ -d /run/systemd/system ]; }

if live && [ "$(id -u)" != 0 ]; then fail "must run as root: sudo $0"; fi
if [ -z "$binary" ]; then
    for candidate in "$here/sysops-agent" "$here/../dist/sysops-agent-$(uname -m)" "$here/../target/release/sysops-agent"; do
        if [ -f "$candidate" ]; then binary=$candidate; break; fi
    done
fi
[ -n "$binary" ] || fail "no sysops-agent found; build it with 'cargo xtask dist' or name it with --binary FILE"
[ -f "$binary" ] || fail "$binary does not exist"

owner=
if live; then
    getent group video >/dev/null || groupadd --system video
    getent group "$user" >/dev/null || groupadd --system "$user"
    getent passwd "$user" >/dev/null ||
        useradd --system --gid "$user" --no-create-home --home-dir /var/lib/sysops-agent --shell /usr/sbin/nologin \
            --comment "sysops-agent" "$user"
    owner="-o $user -g $user"
fi

bin=$dest/usr/local/bin/sysops-agent
conf=$dest/etc/sysops-agent
unit=$dest/etc/systemd/system/sysops-agent.service

# $owner holds separate words on purpose.
# shellcheck disable=SC2086
{
    install -d -m 0755 "$(dirname "$bin")" "$(dirname "$unit")"
    install -d -m 0750 $owner "$conf"
    # A rename, so that a running agent keeps its file and nobody ever sees half a binary.
    install -m 0755 "$binary" "$bin.new"
    mv -f "$bin.new" "$bin"
    [ -e "$conf/config.toml" ] || install -m 0600 $owner "$here/config.example.toml" "$conf/config.toml"
    install -m 0644 "$here/sysops-agent.service" "$unit"
}

# CAP_BPF has number 39 (linux/capability.h): ask the kernel whether it knows it, not which version it is.
if live && [ "$(cat /proc/sys/kernel/cap_last_cap)" -lt 39 ]; then
    install -d -m 0755 "$unit.d"
    install -m 0644 "$here/kernel-before-5.8.conf" "$unit.d/kernel-before-5.8.conf"
fi
if [ $sysctl = yes ]; then
    install -d -m 0755 "$dest/etc/sysctl.d"
    install -m 0644 "$here/99-sysops-agent.conf" "$dest/etc/sysctl.d/99-sysops-agent.conf"
    if live; then sysctl -q -p /etc/sysctl.d/99-sysops-agent.conf; fi
fi
live || exit 0

"$bin" --config "$conf/config.toml" --validate ||
    fail "the configuration has problems (above): mend $conf/config.toml, then: systemctl restart sysops-agent"
paranoid=$(cat /proc/sys/kernel/perf_event_paranoid 2>/dev/null || echo 0)
# With CAP_BPF (39) and BTF the agent needs no perf events; before, the unit gives CAP_SYS_ADMIN, which may have them.
if [ "$paranoid" -gt 2 ] && [ "$(cat /proc/sys/kernel/cap_last_cap)" -ge 39 ] && [ ! -e /sys/kernel/btf/vmlinux ]; then
    echo "kernel.perf_event_paranoid is $paranoid and this kernel has no BTF: eBPF cannot attach, the kernel log is"
    echo "watched instead. To have eBPF: $0 --sysctl"
fi
if booted; then
    systemctl daemon-reload
    if [ $start = yes ]; then
        systemctl enable --quiet sysops-agent
        systemctl restart sysops-agent
        echo "sysops-agent runs. What it sees: journalctl -fu sysops-agent    What works here: sysops-agent doctor"
    else
        echo "sysops-agent is installed. To start it: systemctl enable --now sysops-agent"
    fi
else
    echo "sysops-agent is installed; systemd does not run here, so nothing was started."
fi
