/* Stands for: a kubelet of release 1.30, or k3s, RKE2 and k0s, as a process: its name, its command line, its --version;
 * with LAB_CHILD in its environment, the command that it runs beside itself, such as a containerd of its own.
 * Cannot show: anything that a kubelet does; its socket, its API, its devices (tests write the checkpoint). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "--version")) return puts("Kubernetes v1.30.14") < 0;
    const char *child = getenv("LAB_CHILD");
    if (child && !fork()) return execl("/bin/sh", "sh", "-c", child, (char *)0);
    for (;;) pause();
}
