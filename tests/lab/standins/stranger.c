/* A program of a node's unprivileged user. It waits; with LISTEN it listens there and writes who connects to LOG.
 * It ignores its arguments, so that it can be started under any name with any command line. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(void) {
  const char *path = getenv("LISTEN"), *log = getenv("LOG");
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  if (path == NULL || log == NULL)
    for (;;) pause();
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  unlink(path);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 16) != 0) return 1;
  for (;;) {
    int peer = accept(listener, NULL, NULL);
    struct { int pid; unsigned uid, gid; } who = {0, 0, 0};
    socklen_t size = sizeof who;
    getsockopt(peer, SOL_SOCKET, 17 /* SO_PEERCRED */, &who, &size);
    FILE *out = fopen(log, "a");
    if (out != NULL) {
      fprintf(out, "connected: uid %u\n", who.uid);
      fclose(out);
    }
    close(peer);
  }
}
