"""Tests of the way in which a running containerd is asked."""
