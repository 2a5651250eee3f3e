"""The checks, a module per family. `catalogue` has all of them, in the order in which they build on each other."""
