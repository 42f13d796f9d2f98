"""Tasks of five priorities, and a worker that takes one at a time."""
