"""Access tokens: whose are honoured, how they are verified, and how a development token is minted."""
