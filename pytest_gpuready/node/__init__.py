"""Asking a node: requests and facts, the one sh script, transports, snapshots, cleaning and redaction."""
