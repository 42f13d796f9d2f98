"""Tasks with options of every kind on real workers."""
