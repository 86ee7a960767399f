"""Power: states of grids, estimated from meters and forecast."""
