"""Tests on a real GPU; they skip where there is none."""
