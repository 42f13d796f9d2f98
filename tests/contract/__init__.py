"""DEP-0014, point by point: each test is named after the point it shows, and asks through the public API alone."""
