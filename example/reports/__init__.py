"""Both. Reports of orders: a person sends a CSV, a worker builds a page with its totals."""
