"""A project that counts: what its schedules run is noted outside of records and rows."""
