"""Systems for pictures whose answer is a class for each pixel."""
