"""One report of what many runs brought in: snapshots, judged anew by today's checks, and JSON reports, read back.

`python -m pytest_gpuready merge DIR`, without pytest being run. `find` looks for the files, `work` reads and judges
each of them in processes side by side, `pick` says which result counts for which node, `command` is the command line.
"""
