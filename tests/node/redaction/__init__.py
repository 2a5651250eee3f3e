"""Secrets in every form that nodes hold, and lines that only look alike; both stand in files of their own."""
