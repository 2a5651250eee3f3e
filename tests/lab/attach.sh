# Runs on a node with a driver on disk: GPUs on the bus, modules loaded, device nodes made, the CDI spec written.
driver=/usr/share/gpuready-lab/driver
$driver plug
$driver load nvidia
$driver load nvidia-uvm
$driver nodes
systemctl start nvidia-cdi-refresh.service
