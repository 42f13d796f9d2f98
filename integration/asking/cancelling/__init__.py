"""Tasks that are cancelled on real workers."""
