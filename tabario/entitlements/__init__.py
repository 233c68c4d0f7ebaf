"""Which tier a user has a right to: what the access token says, else the database, else what was last known."""
