"""Asking a running containerd over its socket, with whatever the node has, and decoding what it says.

- :mod:`.ask`: the commands, which run on the node; they write nothing there.
- :mod:`.transcript`: what a command printed, as calls and their outcomes.
- :mod:`.answers`: what the daemon said, typed: :func:`.answers.parse_answer`.
- :mod:`.grpcwire`, :mod:`.hpack`: the formats below.

Everything but the command itself is pure and runs on the controller.
"""
