"""Nodes of public reports, rebuilt as snapshots, and the answer that each must get."""
