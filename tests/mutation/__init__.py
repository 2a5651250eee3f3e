"""What the tests notice: every branch, need and remedy changed, one at a time (`python -m tests.mutation`)."""
