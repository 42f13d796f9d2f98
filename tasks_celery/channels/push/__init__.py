"""Both. How an event leaves its process: into the log first, in the caller; then, as a hint, through the channel layer.

`publisher` is the door. `delivery` is what one process has: the log, the `backlog` of what that did not take, and the `sender`
with its `outbox`. `old_groups` serves the consumers of a project's past.
"""
