#!/bin/sh
# Installs a package on the board and judges it, from the first step to the last without whoever sent it: the connection may
# end at any time. Run as root, from a folder with `package.deb`.
#
#   job start VERSION [allow-unsigned]   takes the lock of the board's flashes and goes on by itself; exit code 75: another one
#                                        holds it
#   job run VERSION [allow-unsigned]     what it goes on with; allow-unsigned: whoever flashes allows the board, from now on, to
#                                        run what nobody signed
#
# How far it came, and how it ended, stands in `outcome` below /var/lib/repedge/flash, beside the log and the report of the
# self-test. An outcome that is there was read by nobody yet.
set -u
umask 022
trap '' HUP PIPE

here=$(dirname "$0")
root=${REPEDGE_ROOT:-}
state=$root/var/lib/repedge
flash=$state/flash
package=$root/usr/lib/repedge/package
unit=repedge-camera-demo.service

runs() { basename "$(readlink "$state/current" 2>/dev/null)" 2>/dev/null; }

# By the version that runs: what lies in the package's place may have been refused.
activate() { "$state/current/activate" "$@" </dev/null; }

# Writes the outcome as far as it is known: `ended` is empty while this runs. One that does not fit on the disk replaces none.
tell() { # ENDED
    printf 'ended=%s\nversion=%s\nbefore=%s\nruns=%s\ncode=%s\nway=%s\ntrust=%s\n' \
        "$1" "$version" "$before" "$(runs)" "$code" "$way" "$trust" >"$flash/.outcome" && sync &&
        mv "$flash/.outcome" "$flash/outcome" && return
    echo "cannot write $flash/outcome: make room on that disk" >&2
    return 1
}

# The package's own scripts go by this file.
allow_unsigned() {
    if [ -z "$unsigned" ]; then return 0; fi
    if [ -e "$root/etc/repedge/allow-unsigned" ]; then
        trust='there was /etc/repedge/allow-unsigned before: the board runs what nobody signed until that file is removed'
        return 0
    fi
    mkdir -p "$root/etc/repedge" && touch "$root/etc/repedge/allow-unsigned" && sync || return
    trust='this flash made /etc/repedge/allow-unsigned: the board runs what nobody signed until that file is removed'
    made=yes
}

has_owners_keys() {
    for key in "$root"/etc/repedge/keys/*.pub; do
        if [ -f "$key" ]; then return 0; fi
    done
    return 1
}

# What installs a package is the version that runs, and so are the keys. A first one nothing here could judge: it is trusted, but
# where the owner has put keys here whoever sent it has judged it by those.
verify() {
    if [ -n "$unsigned" ]; then return 0; fi
    if [ -z "$before" ] && [ ! -e "$root/etc/repedge/allow-unsigned" ] && has_owners_keys; then
        trust='no version runs yet that could verify the package: who flashes did, with the keys in /etc/repedge/keys'
        return 0
    fi
    if [ -z "$before" ]; then
        trust='no version runs yet that could verify the package: it is trusted on this first use'
        return 0
    fi
    said=$(activate --verify "$here/package.deb" 2>&1)
    code=$?
    printf '%s\n' "$said"
    [ $code = 0 ] || return 1
    trust=$(printf '%s\n' "$said" | tail -n 1 | sed 's/^activate: //')
}

# Whether the board has not moved on from the package, whoever vouches for it. Its self-test would refuse it too, but by then its
# scripts have run and its unit is in the place of the old version's.
is_recent() {
    if [ ! -e "$state/minimum-security-version" ]; then return 0; fi
    least=$(cat "$state/minimum-security-version")
    found=$(dpkg-deb --fsys-tarfile "$here/package.deb" |
        tar -xOf - ./usr/lib/repedge/package/security-version 2>/dev/null)
    if [ "${found:-0}" -ge "$least" ]; then return 0; fi
    echo "the package has security version ${found:-0}, expected at least $least, which this board has moved on to"
    return 1
}

install() {
    # The package commits a version whose service runs; here the whole self-test comes before that.
    env DEBIAN_FRONTEND=noninteractive REPEDGE_FLASH_COMMITS=1 \
        dpkg --install --force-confold "$here/package.deb" </dev/null
    code=$?
    if [ $code = 0 ] && [ "$(runs)" != "$version" ]; then
        "$package/activate" </dev/null
        code=$?
    fi
    [ $code = 0 ] && [ "$(runs)" = "$version" ]
}

# One that is disabled and did not run is left so.
start_service() {
    if [ -n "$wanted" ]; then activate --start; fi
}

go_back() {
    if [ "$(runs)" != "$version" ]; then
        way=other
    elif [ -z "$before" ]; then
        way=first
    elif [ "$before" = "$version" ]; then
        way=same
    elif activate --rollback "$version"; then
        way=back
    else
        way=stuck
    fi
    if ! start_service && [ "$way" = back ]; then way=down; fi
}

# What forbids older versions comes last, because a board that goes back needs one of them.
judge() {
    wanted=
    if systemctl is-enabled --quiet "$unit" || systemctl is-active --quiet "$unit"; then wanted=yes; fi
    systemctl stop "$unit"
    activate --self-test --json "$flash/report.json"
    code=$?
    if [ $code != 0 ]; then
        ended=self-test
        go_back
    elif ! start_service; then
        ended=service
        go_back
    elif ! activate --commit "$version"; then
        ended=commit
        [ "$(runs)" = "$version" ] || way=other
    else
        ended=passed
    fi
}

run() {
    if ! verify || ! is_recent || ! allow_unsigned; then
        ended=refused
        trust=
    elif ! install; then
        ended=install
        [ -z "$made" ] || trust="$trust, also now that version $version was not put into service"
    else
        judge
    fi
    # First, because a full disk may have room for the outcome then.
    rm -rf "$here"
    tell "$ended"
}

start() {
    mkdir -p "$flash"
    exec 9>>"$flash/lock"
    flock -n 9 || exit 75
    rm -f "$flash/report.json" "$flash/outcome"
    tell '' || exit 1
    # logind may end all that a user's session began, so where systemd runs the job is none of that.
    scope=
    if systemd-run --quiet --scope true 2>/dev/null; then scope='systemd-run --quiet --scope'; fi
    # A session of its own, which does not end with the connection's. The lock is held until it has ended, by it alone.
    $scope setsid sh "$0" run "$version" "$unsigned" >"$flash/log" 2>&1 </dev/null &
}

version=${2:?}
unsigned=${3:-}
before=$(runs)
code=0
way=
trust=
made=
case $1 in
    start) start ;;
    run) (run) 9>&- ;;
    *) exit 2 ;;
esac
