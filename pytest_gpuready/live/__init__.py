"""The live proof: containers that are run on a node by each route, and what they saw there.

- :mod:`.plan`: which routes are run, and how each is asked for its GPUs. Pure.
- :mod:`.script`: the one script that does it; :mod:`.shell`, :mod:`.image`, :mod:`.cri` are its parts.
- :mod:`.transcript`, :mod:`.probe`: what came back, as sections and what a container saw. Pure.
- :mod:`.messages`: what a container that did not run ends with: its cause, and what mends it. Pure.
- :mod:`.client`: containers for people's own tests.

On the node one process, the guard, runs everything in a session of its own and cleans up after it, also when it is told
to stop, when its time is over, and when the login that started it is gone.
"""
