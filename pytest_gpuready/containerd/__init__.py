"""containerd's configuration, read as containerd reads it.

Given the files of a node and containerd's version: what that daemon would load, or why it would not start, and where
each value comes from. `load.load` answers, `files` says what a node's files are, `toml` reads TOML with lines.
"""
