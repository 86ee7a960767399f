"""Message passing: AMP and its relatives."""
