"""containerd's configuration, read as containerd reads it."""
