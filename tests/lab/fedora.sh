# Runs in the chroot of the layer "lab" after prepare.sh: what makes the node like Fedora. Its apt and dpkg go.
share=/usr/share/gpuready-lab

cat >/etc/os-release.new <<'END'
NAME="Fedora Linux"
VERSION="42 (Server Edition)"
ID=fedora
VERSION_ID=42
PRETTY_NAME="Fedora Linux 42 (Server Edition)"
VARIANT_ID=server
END
rm -f /etc/os-release
mv /etc/os-release.new /etc/os-release
echo 'Fedora release 42 (Adams)' >/etc/fedora-release
rm -f /etc/debian_version

# One database, where Fedora has it; Debian's rpm looks in a home directory.
mkdir -p /etc/rpm
printf '%%_dbpath /var/lib/rpm\n%%debug_package %%{nil}\n%%__os_install_post %%{nil}\n' >/etc/rpm/macros
mkdir -p /var/lib/rpm
rpm --initdb

containerd=$(containerd --version | sed 's/.* v\{0,1\}\([0-9.]*\)[^ ]* .*/\1/; s/[^0-9.].*//')
runc=$(runc --version | sed -n 's/^runc version \([0-9.]*\).*/\1/p')
sed -i "s/@CONTAINERD@/$containerd/; s/@RUNC@/$runc/" $share/rpm/system/*.spec
build() { # FOLDER-OF-SPECS FOLDER-OF-RPMS
    for spec in "$1"/*.spec; do
        rpmbuild -bb --quiet --define "_topdir /tmp/rpmbuild" --define "_rpmdir $2" --define "_build_name_fmt %%{NAME}.rpm" "$spec"
    done
}
mkdir -p /tmp/rpmbuild/BUILD $share/system-rpms $share/toolkit-rpms
build $share/rpm/system $share/system-rpms
rpm -i --justdb --nodeps $share/system-rpms/*.rpm
build $share/rpm $share/toolkit-rpms
createrepo_c --quiet $share/toolkit-rpms
rm -r $share/rpm

# What is set up in NVIDIA's name, as its own file is; on the node, and not signed.
mkdir -p /etc/yum.repos.d
cat >/etc/yum.repos.d/nvidia-container-toolkit.repo <<'END'
[nvidia-container-toolkit]
name=nvidia-container-toolkit
baseurl=file:///usr/share/gpuready-lab/toolkit-rpms
enabled=1
gpgcheck=0
END

# Where Fedora has the certificates that are trusted.
mkdir -p /etc/pki/tls/certs
ln -s /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt

rm -f /usr/bin/apt* /usr/bin/dpkg* /usr/sbin/dpkg* /sbin/dpkg*
rm -rf /etc/apt /var/lib/apt /var/cache/apt /var/lib/dpkg
