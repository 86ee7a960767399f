"""What makes the site: generators of pages, limits of examples, and checks of what was built."""
