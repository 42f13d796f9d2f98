"""What is asked for: enqueueing, its order, time and transaction, and the options and the end of what was enqueued."""
