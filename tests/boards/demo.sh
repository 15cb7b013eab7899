# What the steps with camera-demo share: it runs as the service does on a board with systemd, as its user, until it is asked to
# end. Read by a step, in whose shell it runs.

# Nothing that a failed step leaves may be in the way of the next one.
trap '[ -z "$demo" ] || kill -KILL $demo 2>/dev/null' EXIT

# What it reads, unless a step says otherwise.
settings=/etc/repedge/camera-demo.toml

# Starts it with these arguments beside the service's own. /tmp/demo gets its lines, and what it says.
start_demo() {
    rm -rf /tmp/demo && mkdir /tmp/demo && chown repedge:repedge /tmp/demo || return 1
    # On boards udev gives cameras to a group that the user is in.
    for camera in /dev/video*; do
        [ ! -c "$camera" ] || chown repedge "$camera"
    done
    start-stop-daemon --start --chuid repedge:repedge --exec /var/lib/repedge/current/run -- \
        camera-demo --config $settings "$@" >/tmp/demo/lines 2>/tmp/demo/said &
    demo=$!
}

# Tries a command until it succeeds; fails, and shows what was said, when the demo ends before, or after minutes.
until_true() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        if [ $tries -gt 3000 ] || ! kill -0 $demo; then
            head -n 3 /tmp/demo/lines
            cat /tmp/demo/said
            return 1
        fi
        usleep 100000
    done
}

# Frames so far.
frames() {
    grep -c '^{"frame":' /tmp/demo/lines
}

has_frames() { # COUNT
    [ "$(frames)" -ge "$1" ]
}

has_found() { # COUNT, of frames on which there is something
    [ "$(grep -c '"detections":\[{' /tmp/demo/lines)" -ge "$1" ]
}

# Asks it to end; gives its exit code.
end_demo() {
    kill -TERM $demo && wait $demo
}

# Has the host take a picture of what the display shows; it says on the console when it has.
photograph_display() {
    printf '\n@repedge display\n'
    [ "$(timeout 60 head -n 1 </dev/console)" = taken ]
}
