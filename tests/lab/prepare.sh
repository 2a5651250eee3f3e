# Runs in the chroot of the layer "lab": what every node has beyond Debian's packages.

# Units that a node under test has no use for; without them it boots in half a second.
for unit in apt-daily-upgrade.timer apt-daily.timer console-getty.service dev-hugepages.mount dev-mqueue.mount \
    dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer getty.target getty@tty1.service \
    ldconfig.service modprobe@.service remote-fs.target sys-kernel-debug.mount sys-kernel-tracing.mount \
    systemd-firstboot.service systemd-journal-catalog-update.service systemd-journal-flush.service \
    systemd-logind.service systemd-machine-id-commit.service systemd-modules-load.service systemd-network-generator.service systemd-pstore.service \
    systemd-networkd.service systemd-networkd.socket systemd-sysusers.service systemd-tmpfiles-clean.timer systemd-udev-trigger.service systemd-udevd.service \
    systemd-update-done.service systemd-update-utmp-runlevel.service systemd-update-utmp.service; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done

# systemd refuses a unit that is restarted often; tests do just that.
mkdir -p /etc/systemd/system/containerd.service.d
printf '[Unit]\nStartLimitIntervalSec=0\n' >/etc/systemd/system/containerd.service.d/50-lab.conf

# Three who may log in: root, one with sudo, one without.
useradd --create-home --shell /bin/sh ops
useradd --create-home --shell /bin/sh guest
printf 'ops ALL=(ALL) NOPASSWD: ALL\n' >/etc/sudoers.d/ops
chmod 440 /etc/sudoers.d/ops
for home in /root /home/ops /home/guest; do
    install -d -m 700 -o "$(stat -c %u $home)" -g "$(stat -c %g $home)" "$home/.ssh"
    install -m 600 -o "$(stat -c %u $home)" -g "$(stat -c %g $home)" \
        /usr/share/gpuready-lab/authorized_keys "$home/.ssh/authorized_keys"
done
printf 'UseDNS no\nPrintMotd no\nPrintLastLog no\nMaxStartups 100\n' >/etc/ssh/sshd_config.d/lab.conf
[ -s /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -A

# No network beyond the lab: apt has the repository on the node and nothing else.
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/resolv.conf
: >/etc/resolv.conf
cat >/etc/apt/sources.list.d/lab.list <<'EOF'
deb [trusted=yes] file:/usr/share/gpuready-lab/debian ./
EOF
cat >/etc/apt/sources.list.d/nvidia-container-toolkit.list <<'EOF'
deb [trusted=yes] file:/usr/share/gpuready-lab/toolkit ./
EOF
# NVIDIA's modules are files without code here: modprobe and rmmod know them, and pass the rest to kmod.
mkdir -p /usr/share/gpuready-lab/kmod
for program in modprobe rmmod; do
    ln -s /bin/kmod "/usr/share/gpuready-lab/kmod/$program"
    rm "/sbin/$program"
    cp /usr/share/gpuready-lab/driver-files/modprobe "/sbin/$program"
done

# GPUs are plugged in after the boot here; before that a spec would be made of nothing.
mkdir -p /etc/systemd/system/nvidia-cdi-refresh.service.d
printf '[Unit]\nConditionPathExists=/run/gpuready-lab/pci\n' >/etc/systemd/system/nvidia-cdi-refresh.service.d/50-lab.conf

printf 'force-unsafe-io\n' >/etc/dpkg/dpkg.cfg.d/lab
printf 'uninitialized\n' >/etc/machine-id
apt-get -qq update
