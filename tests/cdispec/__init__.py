"""Tests of the reading of CDI specs."""
