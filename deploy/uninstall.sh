#!/bin/sh
# Removes sysops-agent. Configuration and data stay, unless --purge is given. Running it again does no harm.
set -eu

dest=${DESTDIR:-}
purge=no
case ${1:-} in
    '') ;;
    --purge) purge=yes ;;
    *)
        echo "usage: uninstall.sh [--purge]    --purge also removes configuration, data and the user" >&2
        exit 2
        ;;
esac

live() { [ -z "$dest" ]; }
booted() { live && [ -d /run/systemd/system ]; }

if live && [ "$(id -u)" != 0 ]; then
    echo "uninstall.sh: must run as root: sudo $0" >&2
    exit 1
fi
if booted && [ -e /etc/systemd/system/sysops-agent.service ]; then
    systemctl disable --now --quiet sysops-agent
fi
rm -f "$dest/usr/local/bin/sysops-agent" "$dest/etc/systemd/system/sysops-agent.service"
rm -rf "$dest/etc/systemd/system/sysops-agent.service.d"
if [ -e "$dest/etc/sysctl.d/99-sysops-agent.conf" ]; then
    rm -f "$dest/etc/sysctl.d/99-sysops-agent.conf"
    echo "kernel.perf_event_paranoid gets its old value back at the next boot."
fi
if booted; then systemctl daemon-reload; fi

if [ $purge = yes ]; then
    rm -rf "$dest/etc/sysops-agent" "$dest/var/lib/sysops-agent"
    if live && getent passwd sysops-agent >/dev/null; then userdel sysops-agent; fi
    if live && getent group sysops-agent >/dev/null; then groupdel sysops-agent; fi
else
    echo "Kept: /etc/sysops-agent and /var/lib/sysops-agent. To remove them too: $0 --purge"
fi
