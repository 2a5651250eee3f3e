# What makes a bare node one that can run GPU containers, typed as a user would; the hardware comes after (hardware.py).
# Runs in the chroot of the layer "ready", and on a booted node by hardware.make_ready.

# The driver, as its installer leaves it.
/usr/share/gpuready-lab/driver install

if command -v apt-get >/dev/null; then
    apt-get install -y nvidia-container-toolkit
else
    dnf install -y nvidia-container-toolkit
fi
# The real programs, where GPUREADY_LAB_TOOLKIT gave some.
if [ -d /usr/share/gpuready-lab/real ]; then
    install -m 755 /usr/share/gpuready-lab/real/* /usr/bin/
fi

# Debian's file names no runtime; nvidia-ctk copies from what is there.
containerd config default >/etc/containerd/config.toml
# A machine without CAP_SYS_RESOURCE cannot lower a pod's OOM score; with it this changes nothing that is tested.
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml
nvidia-ctk runtime configure --runtime=containerd
